"""Journal: what processes report, in the order in which it reached a Redis that stays healthy."""

from __future__ import annotations

import json
import time
from typing import Any

import redis

Entry = dict[str, Any]

#: The list in Redis.
KEY = "journal"

#: Entries that are read at once.
_BATCH = 2000


def clock() -> float:
    """Return seconds on a clock that all processes of a machine share and nobody sets."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def written(what: str, **facts: Any) -> str:
    """Return an entry as it stands in the journal; `at` is now unless it is given."""
    return json.dumps({"what": what, "at": clock(), **facts})


class Journal:
    """One process's access to the journal: to write, or to read what is new."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url)
        self._read = 0

    def write(self, what: str, **facts: Any) -> None:
        """Append an entry."""
        self.client.rpush(KEY, written(what, **facts))

    def new(self) -> list[Entry]:
        """Return the entries that were not returned before."""
        entries: list[Entry] = []
        while batch := self.client.lrange(KEY, self._read, self._read + _BATCH - 1):
            self._read += len(batch)
            entries += map(json.loads, batch)
        return entries
