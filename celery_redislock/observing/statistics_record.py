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
from typing import Any, TypeAlias, TypeVar
from uuid import uuid4

from ..engine.companion import CALL_S, Client, Command, Record, load_scripts, statistics_of

T = TypeVar("T")

(COUNT,) = load_scripts(__package__, "count")

HOUR_S, DAY_S = 3600.0, 86400.0
#: How long after its last change a key is kept, seconds.
KEPT_S = 8 * DAY_S
#: How many conflicts of a task are kept.
MOST_CONFLICTS = 20
#: Fields that are read in one step of the server, and steps, or questions, that it is asked for at once: it
#: serves nobody else meanwhile, for a few milliseconds.
_FIELDS, _STEPS, _QUESTIONS = 1000, 10, 50

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
        hours = {self._of(_hour(at_s)): at_s for at_s in _steps(begin_s, end_s, HOUR_S)}
        days = [self._of(_day(at_s)) for at_s in _steps(begin_s, end_s, DAY_S)]
        found: dict[Owner, Counted] = {}
        with_any = set()
        for hash_key, (owner, kind, word), number in self._numbers([*hours, *days]):
            counted = found.setdefault(owner, Counted())
            if hash_key in hours:
                with_any.add(hash_key)
                _add_count(counted, kind, word, number)
            else:
                _add_time(counted, kind, word, number)
        return found, min((hours[key] for key in with_any), default=None)

    def different_locks(self, tasks: Sequence[str], begin_s: float, end_s: float) -> dict[str, int]:
        """Return how many different locks were added of each task, about."""
        days = [_day(at_s) for at_s in _steps(begin_s, end_s, DAY_S)]
        commands: list[Command] = [("PFCOUNT", *(self._locks(task, day) for day in days)) for task in tasks]
        return dict(zip(tasks, map(int, self._answers(commands)), strict=True))

    def last_conflicts(self, tasks: Sequence[str]) -> dict[str, list[Any]]:
        """Return the last conflicts of each task as they were added, oldest first."""
        answers = self._answers([("LRANGE", self._of("conflicts", task), 0, -1) for task in tasks])
        return {task: list(map(json.loads, found)) for task, found in zip(tasks, answers, strict=True)}

    def _answers(self, commands: Sequence[Command]) -> Iterator[Any]:
        """Yield the reply to each command; some are sent at once."""
        with self._record.in_bulk() as ask:
            for some in _parts(commands, _QUESTIONS):
                yield from ask(some)

    def _numbers(self, hash_keys: Sequence[bytes]) -> Iterator[tuple[bytes, Key, int]]:
        """Yield the numbers of some hashes, in the order of these: each may have ten thousands."""
        # Each hour has the same names as the hour before.
        read: dict[bytes, Key] = {}
        with self._record.in_bulk() as ask:
            for some in _parts(hash_keys, _STEPS):
                # Each field once: a hash that grows meanwhile may tell it twice.
                found: dict[bytes, dict[bytes, bytes]] = {key: {} for key in some}
                cursors: dict[bytes, Any] = dict.fromkeys(some, b"0")
                while cursors:
                    replies = ask([("HSCAN", key, at, "COUNT", _FIELDS) for key, at in cursors.items()])
                    told = dict(zip(cursors, replies, strict=True))
                    for key, (_, pairs) in told.items():
                        found[key].update(zip(pairs[::2], pairs[1::2], strict=True))
                    cursors = {key: at for key, (at, _) in told.items() if int(at)}
                for key, numbers in found.items():
                    for name, number in numbers.items():
                        if name not in read:
                            read[name] = _key(name.decode())
                        yield key, read[name], int(number)

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


def _parts(of: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Yield a sequence in parts of at most so many."""
    for begin in range(0, len(of), most):
        yield of[begin : begin + most]


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
