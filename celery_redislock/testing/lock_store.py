"""LockStore: the locks of one test, in memory, and what may happen to them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import redis

from ..config import under_test
from ..config.memory import MemoryRedis
from ..config.plan import Planned
from ..config.sharing import is_limit
from ..durations import to_ms
from ..engine import Inspection, Limits, RedisLock, RedisLocks, inspect_all
from ..errors import ConfigurationError
from ..events import Conflicted, Lost, Ticked, listen, unlisten
from ..pending.publish import publish_pending
from ..task.run import current_lock
from .records import HeldLock, SeenConflict, Tick, conflict_of, held_by, tick_of

__all__ = ["LockStore"]

#: How long a loss may take until the run hears of it, seconds.
_TOLD_S = 5.0
#: Who sets limits.
_OPERATOR = "a test"


class LockStore:
    """Keeps the locks of all apps in memory, in place of their Redis, while it is entered.

    Use it as a context manager; the fixture `redislock` of pytest's plugin is one::

        with LockStore() as store:
            with store.busy(import_csv, "a.csv"):
                result = import_csv.apply(("a.csv",))
            assert_skipped(result)

    The lock scripts are the real ones. Time is real, and `advance` adds to it.

    Attributes:
        client: A `redis.Redis` of it.
        conflicts: The calls that have found a lock busy, in order.
        ticks: The due times of schedules that a `LockedScheduler` of this process has seen.

    Raises:
        ConfigurationError: fakeredis is not installed.
    """

    def __init__(self) -> None:
        self._memory = MemoryRedis()
        self.client: redis.Redis = self._memory.client
        self.conflicts: list[SeenConflict] = []
        self.ticks: list[Tick] = []
        self._others: list[RedisLock] = []
        self._grants_of_others: set[tuple[str, int | None]] = set()
        self._entered = ExitStack()

    def __enter__(self) -> LockStore:
        before = under_test.now
        under_test.now = before._replace(memory=self._memory)
        self._entered.callback(_put_back, before.memory)
        for kind, hear in ((Conflicted, self._conflicted), (Ticked, self._ticked)):
            listen(kind, hear)
            self._entered.callback(unlisten, kind, hear)
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.come_back()
        self._entered.close()

    @property
    def held(self) -> list[HeldLock]:
        """The locks that are held now, by name."""
        return sorted(held for seen in self._seen() for held in held_by(seen))

    def left(self) -> list[HeldLock]:
        """Return the locks that are held now, but for those of `busy`, whose holder may have been killed."""
        return sorted(
            held
            for seen in self._seen()
            for holder, held in zip(seen.holders, held_by(seen), strict=False)
            if (seen.name, holder.fencing_token) not in self._grants_of_others
        )

    def busy(
        self, task: Any, /, *args: Any, by: str = "worker2", for_: float | timedelta = 30, **kwargs: Any
    ) -> AbstractContextManager[LockStore]:
        """Have another worker hold the lock of a call, or of a name, from now on.

        Args:
            task: A locked task, whose lock or locks a call with these arguments takes; or a full Redis key.
            *args: Of the call.
            by: The host of the holder.
            for_: How long it holds it, seconds.
            **kwargs: Of the call.

        Returns:
            A context manager that releases it at its end, and publishes what waits for it, as a worker does.

        Raises:
            ConfigurationError: The lock is busy already, or `for_` is no duration.
            TypeError, LockKeyError: The arguments give no name.
        """
        locks = [self._of_another(name, kind, task, by, for_) for name, kind in _locks_of(task, args, kwargs)]
        taken = ExitStack()
        for lock in locks:
            if not lock.acquire():
                taken.close()
                raise ConfigurationError(f"lock {lock.name!r} is busy already, held by: {lock.holder()}")
            self._keep(lock)
            taken.callback(self._release, lock, getattr(task, "app", None))
        return _released_by(self, taken)

    def kill_holder(self) -> None:
        """Have those die that hold locks for `busy`: their locks end with their lease, unreleased."""
        self._others.clear()

    def advance(self, seconds: float | timedelta) -> None:
        """Let time pass at once, for the store: leases end that nobody renews, and publish locks.

        A run of this process goes on to hold its lock, for it renews it, and to wait for one. Celery's own
        clock does not change: a `countdown` is not shorter by that. Nor does a `RedisLock` of this process
        know, if it does not `renew`, that its lease has ended, until it asks.

        Args:
            seconds: At least 0.

        Raises:
            ConfigurationError: It is no duration.
        """
        self._memory.advance(to_ms(seconds, "seconds", minimum_ms=0) / 1000)

    def limit(self, name: str, n: int | None) -> None:
        """Have an operator let at most so many share a lock, as ``celery locks limit`` does.

        Args:
            name: The full Redis key.
            n: At least 1; None: what the tasks say counts again.

        Raises:
            ConfigurationError: It is no such number.
        """
        if n is not None and not is_limit(n):
            raise ConfigurationError(f"limit() needs an int of at least 1, or None, not {n!r}")
        limits = Limits(self.client, name)
        if n is None:
            limits.reset(_OPERATOR)
        else:
            limits.set(n, None, _OPERATOR, "")

    def down(self) -> AbstractContextManager[LockStore]:
        """Have the store be away from now on.

        Returns:
            A context manager at whose end it is there again.
        """
        self._memory.go_down()
        back = ExitStack()
        back.callback(self._memory.come_back)
        return _released_by(self, back)

    def lose(self, reason: str = "taken") -> None:
        """Have the run in whose body this is called lose its lock; of several locks the first.

        With `lock_on_lost` "abort" `LockLost` is raised in the body, here or soon after.

        Args:
            reason: "taken": another holder has it, or "forced": an operator has released it by force.

        Raises:
            ConfigurationError: No run goes on here that holds a lock, or the reason is another one.
        """
        lock: Any = current_lock()
        lock = lock.locks[0] if isinstance(lock, RedisLocks) else lock
        if not isinstance(lock, RedisLock) or lock.lost:
            raise ConfigurationError("lose() is for the body of a locked task that holds its lock")
        take = {"taken": self._take_from, "forced": RedisLock.force_release}.get(reason)
        if take is None:
            raise ConfigurationError(f'lose() takes the reasons "taken" and "forced", not {reason!r}')
        told = threading.Event()

        def hear(event: Lost) -> None:
            if event.lock is lock:
                told.set()

        listen(Lost, hear)
        try:
            take(lock)
            lock.renew()
            _wait(told)
        finally:
            unlisten(Lost, hear)

    def _seen(self) -> list[Inspection]:
        return list(inspect_all(self.client, ""))

    def _of_another(
        self, name: str, kind: dict[str, Any], task: Any, by: str, for_: float | timedelta
    ) -> RedisLock:
        metadata = {"task": getattr(task, "name", "another program"), "id": f"run-of-{by}", "host": by}
        return RedisLock(self.client, name, for_, metadata=metadata, **kind)

    def _keep(self, lock: RedisLock) -> None:
        self._others.append(lock)
        self._grants_of_others.add((lock.name, lock.fencing_token))

    def _release(self, lock: RedisLock, app: Any) -> None:
        if lock in self._others:
            self._others.remove(lock)
            lock.release()
            if app is not None and lock.has_pending:
                # In this thread: what the test has open, a database say, may be of this thread alone.
                publish_pending(app, lock.name)

    def _take_from(self, lock: RedisLock) -> None:
        self.client.delete(lock.name)
        other = self._of_another(lock.name, {}, None, "worker2", 30)
        other.acquire()
        self._keep(other)

    def _conflicted(self, event: Conflicted) -> None:
        self.conflicts.append(conflict_of(event))

    def _ticked(self, event: Ticked) -> None:
        self.ticks.append(tick_of(event))


def _put_back(memory: MemoryRedis | None) -> None:
    under_test.now = under_test.now._replace(memory=memory)


@contextmanager
def _released_by(store: LockStore, stack: ExitStack) -> Iterator[LockStore]:
    with stack:
        yield store


def _locks_of(task: Any, args: Any, kwargs: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the Redis keys of a call, or the one that was given, and how each is held."""
    if isinstance(task, str):
        return [(task, {})]
    found = task._get_current_object() if hasattr(task, "_get_current_object") else task
    if not isinstance(found, Planned):
        raise ConfigurationError("busy() needs a locked task, or the full Redis key of a lock")
    lock: Any = found.lock_for(*args, **kwargs)  # type: ignore[attr-defined]
    locks = lock.locks if isinstance(lock, RedisLocks) else (lock,)
    return [(each.name, {"shared": each.shared, "limit": each.limit}) for each in locks]


def _wait(told: threading.Event) -> None:
    # Not one long wait: an exception that is raised in this thread meanwhile comes between two steps.
    until = time.monotonic() + _TOLD_S
    while not told.is_set() and time.monotonic() < until:
        time.sleep(0.001)
