"""Beat: many beats, one of them sends: ``celery beat -S celery_redislock.beat:LockedScheduler``.

One beat leads as long as it holds a lease. That nothing is sent twice does not hang on the lease: each due
time is claimed in Redis first, and only the leader can claim.

* ``lead_or_stand_by.py`` `LockedScheduler`: leads or stands by
* ``settings.py`` the settings of beat, checked
* ``claiming.py`` any scheduler, made to claim each due time before it sends
* ``tenure.py`` the time in which one beat leads
* ``due.py`` which due time is to be sent (pure)
* ``clock.py`` the Redis server's clock
* ``ledger.py`` what Redis keeps of each entry
* ``scripts/`` the Lua files: claim, recall
"""

from .lead_or_stand_by import LockedScheduler

__all__ = ["LockedScheduler"]
