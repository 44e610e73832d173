"""Beat: many beats run, one leads and sends: ``celery beat -S celery_redislock.beat:LockedScheduler``.

That nothing is sent twice does not depend on the leader's lease: each due time is claimed in Redis first,
and only the leader can claim.

Its rooms:

* ``scheduler.py``: `LockedScheduler`: leads, or stands by.
* ``settings.py``: which scheduler it wraps, which beats are one group, how long the lease is.
* ``claiming.py``: any scheduler, made to claim each due time.
* ``tenure.py``: the time in which one beat leads.
* ``due.py``: which due time of a schedule is to be sent (pure).
* ``clock.py``: the Redis server's clock.
* ``ledger.py``: the record in Redis of what was sent when.
"""

from .scheduler import LockedScheduler

__all__ = ["LockedScheduler"]
