"""Sheet: what a process has counted and not written yet; however much that is, it stays small (pure)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sized
from itertools import islice
from typing import TypeVar

from .counting import LAST_BUCKET, bucket_of
from .statistics_record import ALL_LOCKS, LOOKED, MOST_CONFLICTS, Batch, Key, Owner

#: So many numbers are added in one step of the server, which serves nobody else meanwhile.
IN_A_BATCH = 200
#: Different numbers that wait to be written: more are not counted.
MOST_NUMBERS = 50_000
#: Locks of one task that are looked at in one batch, and of all tasks that wait to be written.
LOCKS_OF_A_TASK, MOST_LOCKS = 1000, 20_000

#: The word of each bucket.
_WORDS = [str(bucket) for bucket in range(LAST_BUCKET + 1)]

K = TypeVar("K")
V = TypeVar("V")
S = TypeVar("S", bound=Sized)


class Sheet:
    """The numbers of one process, for one thread."""

    def __init__(self) -> None:
        self._counts: dict[Key, int] = {}
        self._latest: dict[Key, int] = {}
        self._times: dict[Key, int] = {}
        self._locks: dict[str, set[str]] = {}
        self._conflicts: dict[str, deque[str]] = {}
        self._locks_in_all = 0
        #: What was asked to be written last, and may be written.
        self._pending: Batch | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        kinds = (self._counts, self._latest, self._times, self._locks, self._conflicts)
        return self._pending is None and not any(kinds)

    def add(self, owner: Owner, kind: str, word: str = "", number: int = 1) -> None:
        """Count something."""
        counts, key = self._counts, (owner, kind, word)
        if key in counts:
            counts[key] += number
        else:
            self._add_new(counts, key, number)

    def add_time(self, owner: Owner, kind: str, seconds: float) -> None:
        """Count a length of time."""
        times, key = self._times, (owner, kind, _WORDS[bucket_of(seconds)])
        if key in times:
            times[key] += 1
        else:
            self._add_new(times, key, 1)

    def set_latest(self, owner: Owner, kind: str, value: int) -> None:
        """Note a value of which the latest counts."""
        if len(self._latest) < MOST_NUMBERS:
            self._latest[owner, kind, ""] = value

    def add_lock(self, owner: Owner, lock_name: str) -> None:
        """Look at a lock that a task took, for how many different ones it takes."""
        locks = self._locks.get(owner[1])
        if locks is None:
            locks = self._locks[owner[1]] = set()
        if lock_name not in locks:
            if len(locks) >= LOCKS_OF_A_TASK or self._locks_in_all >= MOST_LOCKS:
                return
            locks.add(lock_name)
            self._locks_in_all += 1
        times, key = self._times, (owner, LOOKED, "")
        if key in times:
            times[key] += 1
        else:
            self._add_new(times, key, 1)

    def add_conflict(self, task: str, written: str) -> None:
        """Keep one of the last conflicts of a task."""
        if task in self._conflicts or len(self._conflicts) < MOST_NUMBERS:
            self._conflicts.setdefault(task, deque(maxlen=MOST_CONFLICTS)).append(written)

    def next_batch(self) -> Batch:
        """Return what is to be written next: the same again, until it `is_written`."""
        if self._pending is None:
            self._pending = Batch(
                _taken(self._counts, IN_A_BATCH),
                _taken(self._latest, IN_A_BATCH),
                _taken(self._times, IN_A_BATCH),
                {task: sorted(locks) for task, locks in _taken_by_size(self._locks, 2 * IN_A_BATCH).items()},
                {task: list(met) for task, met in _taken_by_size(self._conflicts, IN_A_BATCH).items()},
            )
            self._locks_in_all -= sum(map(len, self._pending.locks.values()))
        return self._pending

    def is_written(self, batch: Batch) -> None:
        """Forget what is in Redis now."""
        if batch is self._pending:
            self._pending = None

    def _add_new(self, numbers: dict[Key, int], key: Key, number: int) -> None:
        if len(numbers) < MOST_NUMBERS:
            numbers[key] = number
        else:
            dropped = (ALL_LOCKS, "dropped", "")
            self._counts[dropped] = self._counts.get(dropped, 0) + number


def _taken(numbers: dict[K, V], most: int) -> dict[K, V]:
    """Take some away, and return them."""
    return {key: numbers.pop(key) for key in list(islice(numbers, most))}


def _taken_by_size(groups: dict[K, S], most: int) -> dict[K, S]:
    """Take groups away until they have so many members together, and return them; at least one."""
    taken: dict[K, S] = {}
    room = most
    while groups and room > 0:
        key = next(iter(groups))
        taken[key] = groups.pop(key)
        room -= len(taken[key])
    return taken
