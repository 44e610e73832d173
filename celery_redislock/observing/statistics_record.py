"""StatisticsRecord: the numbers of all processes in Redis, by the hour and the day; each is kept eight days.

Of each hour there is a hash of counts, of each day one of lengths of time. A field is
``<owner>:<name>|<kind>|<word>``; the owner is ``t`` (a task), ``e`` (an entry of the schedule), ``b`` (a task
that two beats send) or nothing (all locks). In the hash of a day the word is the number of a bucket, see
``counting.py``. Of each task there are also a HyperLogLog of its locks for each day, and a list of its last
conflicts. All keys are in one slot.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, TypeAlias
from uuid import uuid4

from ..engine.companion import CALL_S, Client, Record, load_scripts, statistics_of

(COUNT,) = load_scripts(__package__, "count")

HOUR_S, DAY_S = 3600.0, 86400.0
#: How long after its last change a key is kept, seconds.
KEPT_S = 8 * DAY_S
#: How many conflicts of a task are kept.
MOST_CONFLICTS = 20
#: Fields that are read in one step of the server.
_AT_ONCE = 1000

#: Who a number is of: "t" a task, "e" an entry, "b" a task that two beats send, "" all locks; and its name.
Owner: TypeAlias = tuple[str, str]
#: Of whom, which kind, which word.
Key: TypeAlias = tuple[Owner, str, str]

ALL_LOCKS: Owner = ("", "")
#: Kinds of counts of the hour of which the latest value counts.
LATEST = frozenset({"interval_ms", "ahead_ms", "idle_ms"})
#: How often a task's lock was added to the HyperLogLog: kept by the day, as that is.
LOOKED = "looked"


def of_task(name: str) -> Owner:
    """Return the owner of a task's numbers."""
    return ("t", name)


def of_entry(name: str) -> Owner:
    """Return the owner of an entry's numbers."""
    return ("e", name)


def of_beats(task: str) -> Owner:
    """Return the owner of what is known of the beats that send a task."""
    return ("b", task)


@dataclass
class Batch:
    """Numbers that are added in one go.

    Attributes:
        counts: Of an hour.
        latest: Values of an hour.
        times: Of a day; the word is the bucket.
        locks: Names of locks by task.
        conflicts: As JSON, by task.
        at_s: When they were counted, seconds since 1970: to which hour and day they are added.
        token: Of this batch: sent twice, it is added once.
    """

    counts: dict[Key, int] = field(default_factory=dict)
    latest: dict[Key, int] = field(default_factory=dict)
    times: dict[Key, int] = field(default_factory=dict)
    locks: dict[str, Sequence[str]] = field(default_factory=dict)
    conflicts: dict[str, Sequence[str]] = field(default_factory=dict)
    at_s: float = field(default_factory=time.time)
    token: str = field(default_factory=lambda: uuid4().hex[:16])


@dataclass
class Counted:
    """What was counted of one owner.

    Attributes:
        counts: By kind and word.
        times: Of each kind: how many by bucket.
        latest: By kind.
        looked: How many locks were looked at, for the number of different ones.
    """

    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    times: dict[str, dict[int, int]] = field(default_factory=dict)
    latest: dict[str, int] = field(default_factory=dict)
    looked: int = 0


class StatisticsRecord:
    """The numbers of all locks with one prefix.

    Every method raises `StoreUnavailable` when Redis refuses or cannot be reached in time.

    Args:
        client: As for a `RedisLock`.
        prefix: What the names of the locks begin with.
    """

    def __init__(self, client: Client, prefix: str) -> None:
        self._record = Record(client, f"statistics of {prefix}*")
        self._key = statistics_of(prefix)

    def add(self, batch: Batch, within_s: float = CALL_S) -> None:
        """Add numbers to those of their hour and day. Done twice with one batch, it adds once.

        Args:
            batch: The numbers.
            within_s: For how long to try, seconds.
        """
        day = _day(batch.at_s)
        keys = [self._of("mark", batch.token), self._of(_hour(batch.at_s)), self._of(day)]
        locks = {self._locks(task, day): names for task, names in batch.locks.items()}
        conflicts = {self._of("conflicts", task): met for task, met in batch.conflicts.items()}
        numbers = {
            "hour": _fields(batch.counts),
            "day": _fields(batch.times),
            "latest": _fields(batch.latest),
            "locks": _places(keys, locks),
            "conflicts": _places(keys, conflicts),
        }
        self._record.run(
            COUNT, tuple(keys), json.dumps(numbers), int(KEPT_S * 1000), MOST_CONFLICTS, within=within_s
        )

    def read(self, begin_s: float, end_s: float) -> tuple[dict[Owner, Counted], float | None]:
        """Return what was counted in the hours, and on the days, of a stretch of time.

        Args:
            begin_s: Its begin, seconds since 1970.
            end_s: Its end.

        Returns:
            The numbers, and when the first hour with any begins, seconds since 1970.
        """
        found: dict[Owner, Counted] = {}
        first_s = None
        for at_s in _steps(begin_s, end_s, HOUR_S):
            for (owner, kind, word), number in self._numbers(self._of(_hour(at_s))):
                first_s = at_s if first_s is None else first_s
                _add_count(found.setdefault(owner, Counted()), kind, word, number)
        for at_s in _steps(begin_s, end_s, DAY_S):
            for (owner, kind, word), number in self._numbers(self._of(_day(at_s))):
                _add_time(found.setdefault(owner, Counted()), kind, word, number)
        return found, first_s

    def different_locks(self, task: str, begin_s: float, end_s: float) -> int:
        """Return how many different locks were added of a task, about."""
        keys = [self._locks(task, _day(at_s)) for at_s in _steps(begin_s, end_s, DAY_S)]
        return int(self._record.call("PFCOUNT", *keys))

    def last_conflicts(self, task: str) -> list[Any]:
        """Return the last conflicts of a task as they were added, oldest first."""
        return [json.loads(each) for each in self._record.call("LRANGE", self._of("conflicts", task), 0, -1)]

    def _numbers(self, key: bytes) -> Iterator[tuple[Key, int]]:
        """Yield the numbers of a hash, some at a time: it may have ten thousands."""
        cursor, seen = b"0", set()
        while True:
            cursor, pairs = self._record.call("HSCAN", key, cursor, "COUNT", _AT_ONCE)
            for name, number in zip(pairs[::2], pairs[1::2], strict=True):
                # A hash that grows meanwhile may tell a field twice.
                if name not in seen:
                    seen.add(name)
                    yield _key(name.decode()), int(number)
            if cursor in (b"0", 0, "0"):
                return

    def _of(self, *words: str) -> bytes:
        return b":".join((self._key, *(word.encode() for word in words)))

    def _locks(self, task: str, day: str) -> bytes:
        return self._of("locks", day, task)


def _hour(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, timezone.utc).strftime("%Y-%m-%dT%H")


def _day(at_s: float) -> str:
    return _hour(at_s)[:10]


def _steps(begin_s: float, end_s: float, step_s: float) -> Iterator[float]:
    """Yield the begin of each hour or day of a stretch; one more, for processes whose clock is ahead."""
    at_s = begin_s - begin_s % step_s
    while at_s <= end_s + step_s:
        yield at_s
        at_s += step_s


def _fields(numbers: Mapping[Key, int]) -> dict[str, int]:
    return {
        f"{owner}:{name}|{kind}|{word}": number for ((owner, name), kind, word), number in numbers.items()
    }


def _key(written: str) -> Key:
    # A name may have any character; kinds and words have neither of the two that part them.
    owner_and_name, kind, word = written.rsplit("|", 2)
    owner, _, name = owner_and_name.partition(":")
    return (owner, name), kind, word


def _places(keys: list[bytes], values: Mapping[bytes, Sequence[str]]) -> list[list[Any]]:
    """Add keys to those of the script; return the number of each, with its values."""
    places = []
    for key, each in values.items():
        keys.append(key)
        places.append([len(keys), list(each)])
    return places


def _add_count(counted: Counted, kind: str, word: str, number: int) -> None:
    if kind in LATEST:
        counted.latest[kind] = number
    else:
        counted.counts[kind, word] = counted.counts.get((kind, word), 0) + number


def _add_time(counted: Counted, kind: str, word: str, number: int) -> None:
    if kind == LOOKED:
        counted.looked += number
        return
    buckets = counted.times.setdefault(kind, {})
    buckets[int(word)] = buckets.get(int(word), 0) + number
