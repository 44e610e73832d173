"""Lease: what this process believes of a lock that it asked for, waits for, holds or has lost.

A grant is counted from before it was asked for, renewed every third of its length, and lost when the
count ends: nobody here believes in a lease for longer than Redis keeps it. Its rooms:

* ``terms.py``: the durations of a lock, checked.
* ``lease.py``: what one grant gave, and how long it can be believed.
* ``holding.py``: what one lock object holds, and who is told when it is lost.
* ``verbs.py``: sends the questions about one lock, and translates what goes wrong.
* ``waiting.py``: one attempt to get a lock, from the first question to grant, refusal or leave.
* ``mailroom.py``: waiters of one process, which sleep on one connection.
* ``watch.py``: one lease that is renewed or watched, and when it is due.
* ``renewal.py``: the thread that renews leases and reports the lost ones.
* ``per_client.py``: what a process keeps once for each client, and forgets after a fork.
"""
