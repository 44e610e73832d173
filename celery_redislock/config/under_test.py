"""Under test: what stands in place of the settings of this process while a test goes on.

Nothing is imported here: pytest's plugin is loaded in every run of pytest, also of those who use no locks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["UnderTest", "now"]


class UnderTest(NamedTuple):
    """What holds while a test goes on.

    Attributes:
        mode: "off": no task takes a lock, whatever its options are. Empty: the options hold.
        prepare: Called with the configuration of an app before it is found out where the locks of the app are
            kept: it may put a store in memory there. None: nothing is prepared.
        memory: The `MemoryRedis` that keeps the locks of all apps, whatever their settings are. None: the
            settings hold.
    """

    mode: str = ""
    prepare: Callable[[Any], object] | None = None
    memory: Any = None


#: Another object for each test: what was found out about an app holds for one test.
now = UnderTest()
