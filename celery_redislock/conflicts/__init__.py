"""Conflicts: a task cannot begin, and ends in an exception that Celery understands.

Another holds the lock, an earlier delivery of the same task may run still, or Redis is away.

* ``conflict.py`` `Conflict`, and what each policy does
* ``retrying.py`` how often it was tried, since when, and how long until the next try
* ``redelivery.py`` a second delivery of the same task
* ``outage.py`` Redis is away
"""
