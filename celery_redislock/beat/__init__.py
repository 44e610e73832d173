"""Beat: many beats run, one leads and sends: ``celery beat -S celery_redislock.beat:LockedScheduler``.

That nothing is sent twice does not depend on the leader's lease: each due time is claimed in Redis first,
and only the leader can claim.

Rooms:
    scheduler: `LockedScheduler`: leads, or stands by.
    settings: Which scheduler it wraps, which beats are one group, how long the lease is.
    claiming: Any scheduler, made to claim each due time.
    tenure: The time in which one beat leads.
    due: Which due time of a schedule is to be sent (pure).
    clock: The Redis server's clock.
    ledger: The record in Redis of what was sent when.
"""

from .scheduler import LockedScheduler

__all__ = ["LockedScheduler"]
