"""Plugin: pytest's plugin `redislock`: each test has its own locks in memory, and none may be left.

pytest loads it in every environment that has this package. So it imports neither redis nor Celery, and makes
no store until a locked task asks for its Redis or a test for the fixture. ``-p no:redislock`` turns it off.
"""

from __future__ import annotations

import threading
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from ..config import under_test
from ..config.under_test import UnderTest

if TYPE_CHECKING:
    from .lock_store import LockStore

__all__ = ["pytest_configure", "pytest_runtest_setup", "pytest_runtest_teardown", "redislock"]

_MODES = ("memory", "real", "off")
#: What a store in memory is made of. Where it is not installed, the settings hold.
_NEEDED = ("fakeredis", "lupa")

#: A worker stores a result a moment before it gives the lock back: how long that is waited for, seconds.
_RELEASED_S, _LOOK_S = 1.0, 0.01


class TestLocks:
    """Where the locks of one test are.

    Args:
        item: The test.
    """

    __test__ = False

    def __init__(self, item: pytest.Item) -> None:
        self.item = item
        self.mode = _mode_of(item)
        self._store: LockStore | None = None
        self._entering = threading.RLock()
        self._has_ended = False

    def begin(self) -> None:
        """Have locked tasks ask here where their locks are."""
        self._before = under_test.now
        mode = "off" if self.mode == "off" else ""
        under_test.now = UnderTest(mode, None if self.mode in ("off", "real") else self.prepare)

    def prepare(self, conf: Any) -> None:
        """Make the store, if an app of this test needs no other process, and the test has made none."""
        if self._has_ended or under_test.now.memory is not None:
            return
        if self.mode == "memory" or _is_in_this_process(conf):
            self.store()

    def store(self) -> LockStore:
        """Return the store of this test, which is made when it is first asked for."""
        from . import LockStore

        with self._entering:
            if self._store is None:
                self._store = LockStore()
                self._store.__enter__()
            return self._store

    def end(self) -> list[str]:
        """Forget the store; return the names of the locks that are still held."""
        with self._entering:
            self._has_ended, store = True, self._store
        try:
            return [] if store is None else _left_in(store)
        finally:
            if store is not None:
                store.__exit__(None, None, None)
            under_test.now = self._before


#: The tests that go on: one, unless a test runs pytest.
_running: list[TestLocks] = []


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line(
        "markers",
        'redislock(mode): where the locks of this test are: mode="memory": in this process; "real": in the '
        'Redis of the settings; "off": nowhere',
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before the fixtures of a test: they may start a worker."""
    locks = TestLocks(item)
    locks.begin()
    _running.append(locks)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """After the fixtures of a test: report the locks that it has left."""
    if not _running or _running[-1].item is not item:
        return
    left = _running.pop().end()
    if left:
        names = ", ".join(map(repr, left))
        pytest.fail(
            f"{item.nodeid} has left {'a lock' if len(left) == 1 else 'locks'}: {names}; release it, or end "
            "what holds it, before the test ends",
            pytrace=False,
        )


@pytest.fixture
def redislock() -> LockStore:
    """Give the locks of this test: a `celery_redislock.testing.LockStore`, empty at its begin."""
    locks = _running[-1]
    if locks.mode in ("real", "off"):
        _refuse(
            locks.item,
            f'the fixture redislock has its locks in memory, and the mark says mode="{locks.mode}"',
        )
    return locks.store()


def _is_in_this_process(conf: Any) -> bool:
    """Whether an app runs its tasks where they are called, or has its messages in memory."""
    broker = conf.broker_url or conf.get("broker_transport") or ""
    urls = broker.split(";") if isinstance(broker, str) else broker
    is_in_memory = all(str(url).partition("://")[0] == "memory" for url in urls)
    return bool(conf.task_always_eager or is_in_memory) and all(map(find_spec, _NEEDED))


def _mode_of(item: pytest.Item) -> str:
    """Return what the mark of a test says; empty: it has none."""
    mark = item.get_closest_marker("redislock")
    if mark is None:
        return ""
    mode = mark.kwargs.get("mode", mark.args[0] if mark.args else None)
    if mode not in _MODES:
        _refuse(item, f"the mark redislock needs mode={', '.join(map(repr, _MODES))}, not {mode!r}")
    return str(mode)


def _refuse(item: pytest.Item, what: str) -> NoReturn:
    pytest.fail(f"{item.nodeid}: {what}", pytrace=False)


def _left_in(store: LockStore) -> list[str]:
    until = time.monotonic() + _RELEASED_S
    while (left := list(store.left())) and time.monotonic() < until:
        time.sleep(_LOOK_S)
    return [str(getattr(each, "name", each)) for each in left]
