"""Testing: for those who test their own locked tasks, with pytest, unittest or Django.

A store in memory takes the place of Redis, and the lock scripts are the real ones. Assertions say what
differs. pytest loads the plugin in each of its runs: so nothing is imported here until it is used.

* ``plugin.py`` pytest's plugin: the fixture `redislock`, its mark, and what a test has left
* ``lock_store.py`` `LockStore`: the locks of one test
* ``records.py`` what a test sees of them, as plain data
* ``assertions.py`` what a test asks
* ``checked_call.py`` a call of a locked task, as an assertion looks at it
* ``seen_runs.py`` which calls of a task began meanwhile, and which of them ran their body
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assertions import (
        assert_lock_required,
        assert_locked,
        assert_other_lock,
        assert_ran_once,
        assert_same_lock,
        assert_skipped,
    )
    from .lock_store import LockStore
    from .records import HeldLock, SeenConflict, Tick

__all__ = [
    "HeldLock",
    "LockStore",
    "SeenConflict",
    "Tick",
    "assert_lock_required",
    "assert_locked",
    "assert_other_lock",
    "assert_ran_once",
    "assert_same_lock",
    "assert_skipped",
]

_ROOMS = {
    **dict.fromkeys(__all__, ".assertions"),
    "LockStore": ".lock_store",
    "HeldLock": ".records",
    "SeenConflict": ".records",
    "Tick": ".records",
}

# To a type checker the names above are all that there are.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _ROOMS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(importlib.import_module(_ROOMS[name], __name__), name)
        return found


def __dir__() -> list[str]:
    return sorted(__all__)
