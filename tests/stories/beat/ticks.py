"""Ticks: the messages of beats as the broker has them, and what is wrong with them."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import redis

#: Name -> seconds between two ticks, for the entries with an interval.
INTERVALS = {"every second": 1.0, "every two": 2.0, "every five": 5.0}
#: The entry with a scheduled minute.
EVERY_MINUTE = "every minute"
#: The list in which the task of the schedule reports.
RUNS = "runs"

#: How much sooner than its interval a tick may be due: milliseconds are cut off.
_CUT_OFF_S = 0.002


@dataclass(frozen=True)
class Tick:
    """One message of a beat.

    Attributes:
        id: Of the task; Celery keeps it when a lost reply of the broker makes it publish once more.
        due: Its due time, seconds since 1970.
        arrived: When the broker had it, seconds on the tests' clock.
    """

    id: str
    entry: str
    due: float
    arrived: float


def tick_of(message: bytes, arrived: float) -> Tick:
    """Read a message as a Redis broker keeps it."""
    headers = json.loads(message)["headers"]
    said = headers["redislock_beat"]
    return Tick(headers["id"], said["entry"], datetime.fromisoformat(said["due"]).timestamp(), arrived)


def sent_twice(ticks: Sequence[Tick]) -> list[Tick]:
    """List the ticks whose due time had been sent before, in another message."""
    first: dict[tuple[str, float], str] = {}
    return [tick for tick in ticks if first.setdefault((tick.entry, tick.due), tick.id) != tick.id]


def published_again(ticks: Sequence[Tick]) -> int:
    """Count the copies that Celery and its broker's client made of one message, whose reply was lost."""
    return len(ticks) - len({tick.id for tick in ticks})


def sent_too_soon(ticks: Sequence[Tick], intervals: Mapping[str, float]) -> list[Tick]:
    """List the ticks that were due less than an interval after the one before: of two beats, each its own."""
    return [
        later
        for entry, own in _by_entry(list({tick.id: tick for tick in ticks}.values())).items()
        if entry in intervals
        for earlier, later in pairwise(sorted(own, key=lambda tick: tick.due))
        if later.due - earlier.due < intervals[entry] - _CUT_OFF_S
    ]


def longest_gap(ticks: Sequence[Tick], entry: str) -> float:
    """Return the longest time between two arrivals of an entry, seconds."""
    arrivals = [tick.arrived for tick in ticks if tick.entry == entry]
    return max((later - earlier for earlier, later in pairwise(arrivals)), default=0.0)


def _by_entry(ticks: Sequence[Tick]) -> dict[str, list[Tick]]:
    by_entry: dict[str, list[Tick]] = defaultdict(list)
    for tick in ticks:
        by_entry[tick.entry].append(tick)
    return by_entry


class Clerk:
    """Takes every message off the broker, and notes when it came."""

    def __init__(self, broker_url: str) -> None:
        self.ticks: list[Tick] = []
        self._client = redis.Redis.from_url(broker_url)
        self._stop = threading.Event()

    @contextmanager
    def at_work(self) -> Iterator[Clerk]:
        """Take messages for the length of a ``with`` block."""
        thread = threading.Thread(target=self._work)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()
            self._client.close()

    def of(self, entry: str) -> list[Tick]:
        """List the ticks of an entry so far."""
        return [tick for tick in list(self.ticks) if tick.entry == entry]

    def _work(self) -> None:
        while not self._stop.is_set():
            taken = self._client.brpop(["celery"], timeout=0.2)
            if taken is not None:
                self.ticks.append(tick_of(taken[1], time.monotonic()))
