"""Testing: for the tests of those who write locked tasks; they need no Redis, and run the real scripts.

A store in memory takes the place of Redis.

* ``lock_store.py`` `LockStore`: the locks of one test
* ``records.py`` what a test sees of them, as plain data
"""

from .lock_store import LockStore
from .records import HeldLock, SeenConflict, Tick

__all__ = ["HeldLock", "LockStore", "SeenConflict", "Tick"]
