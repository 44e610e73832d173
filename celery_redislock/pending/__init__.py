"""Pending: one more run, later, for all the triggers that met a busy lock.

With `lock_on_conflict` "coalesce" or "replace" a trigger that meets a busy lock is recorded, and stands for
those before it. When the lock is free its run is published, by whoever releases the lock or, where nobody
did, by any worker. It is published again until it begins; of several messages of one run one counts.

* ``record.py`` a trigger meets a busy lock: its run is recorded
* ``message.py`` a run as it is kept, and back
* ``runs.py`` the records in Redis
* ``publish.py`` the lock is free: what is pending is published, what is superseded ends
* ``withdrawal.py`` a pending run ended before it began: the next stands in for it
* ``replacement.py`` the holder is asked to stop, and ended if it does not
* ``rescue.py`` any worker publishes where nobody did
* ``scripts/`` the Lua files
"""
