"""Messages: all that we write into Celery's messages and results.

Celery knows a task by its message and its result. A task that comes again is the message that was sent
before, as it was. A task that will not run has an end, and so has whatever waits for it.

* ``headers.py`` every header of ours, its form, who writes and who reads it
* ``celery_exceptions.py`` what Celery is told in place of a result
* ``republish.py`` a task goes back to the broker as it was
* ``delivery.py`` how a message was sent and came
* ``delays.py`` for how long a broker can keep a message
* ``stored_state.py`` a task that will not run ends, and so does what waits for it
* ``replies.py`` results that are sent to who asked, as with ``rpc://``
* ``sentry.py`` what Sentry's integration for Celery cannot see
"""
