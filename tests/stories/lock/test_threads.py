"""Threads that cannot be started, or that have died: no lock is left behind, and none is lost in silence."""

from __future__ import annotations

import ctypes
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis

from celery_redislock import LockLost, RedisLock
from celery_redislock.engine.lease import renewal
from celery_redislock.engine.threads import Bell

from ...support.deadlines import eventually
from .renewed import is_renewed

NAME = "short of threads"


@contextmanager
def no_thread_can_be_started() -> Iterator[None]:
    """Have CPython itself refuse, as at a limit of processes or memory."""
    before = threading.stack_size(1 << 44)
    try:
        yield
    finally:
        threading.stack_size(before)


@pytest.fixture
def fresh(client_factory: Callable[..., redis.Redis]) -> redis.Redis:
    """Give a client of whose locks none is renewed yet."""
    return client_factory()


def test_what_cannot_be_renewed_is_given_back(fresh: redis.Redis, caplog: pytest.LogCaptureFixture) -> None:
    lock = RedisLock(fresh, NAME, 30, renew=True)

    for take in (lock.acquire, lambda: lock.acquire(blocking=True, timeout=1), lock.__enter__):
        with no_thread_can_be_started(), pytest.raises(LockLost, match="no thread could be started"):
            take()
        assert lock.token is None
        assert not lock.lost
        assert not fresh.exists(NAME)

    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 3
    assert lock.acquire(), "the shortage is over"
    assert lock.release()


def test_the_next_lock_is_renewed_again(fresh: redis.Redis) -> None:
    with no_thread_can_be_started(), pytest.raises(LockLost):
        RedisLock(fresh, NAME, 30, renew=True).acquire()

    lock = RedisLock(fresh, NAME, 0.3, renew=True)
    assert lock.acquire()

    is_renewed(lock)
    assert lock.release()


def test_a_lock_that_is_renewed_goes_on_through_a_shortage(fresh: redis.Redis) -> None:
    lock, other = (RedisLock(fresh, NAME + each, 0.3, renew=True) for each in "12")
    assert lock.acquire()

    with no_thread_can_be_started():
        assert other.acquire(), "the thread is there"
        is_renewed(lock)

    assert lock.release()
    assert other.release()


def test_a_loss_is_told_and_said_as_ever_when_no_thread_can_be_started(fresh: redis.Redis) -> None:
    for notice in (RedisLock.renew, RedisLock.release):
        told: list[RedisLock] = []
        lock = RedisLock(fresh, NAME, 30, renew=True, on_lost=told.append)
        assert lock.acquire()
        fresh.delete(NAME)
        with no_thread_can_be_started():
            assert notice(lock) is False
        assert told == [lock]
        assert lock.lost

    lock.__enter__()
    fresh.delete(NAME)
    with no_thread_can_be_started(), pytest.raises(LockLost, match="when it was released"):
        lock.__exit__(None, None, None)


def test_a_loss_that_the_renewal_notices_is_told_when_no_thread_can_be_started(fresh: redis.Redis) -> None:
    told: list[RedisLock] = []
    lock = RedisLock(fresh, NAME, 0.3, renew=True, on_lost=told.append)
    assert lock.acquire()

    with no_thread_can_be_started():
        fresh.delete(NAME)
        eventually(lambda: told == [lock], within=2)

    assert lock.acquire()
    is_renewed(lock)
    assert lock.release()


def renewing() -> set[threading.Thread]:
    """Return the threads that renew."""
    return {thread for thread in threading.enumerate() if thread.name == "redislock-renewal"}


def test_a_thread_that_dies_is_told_of_and_replaced(
    fresh: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    before, lock = renewing(), RedisLock(fresh, NAME, 0.6, renew=True)
    assert lock.acquire()
    (thread,) = eventually(lambda: renewing() - before)

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
    eventually(lambda: not thread.is_alive(), within=2)

    assert "has stopped" in caplog.text
    is_renewed(lock)
    assert lock.release()


def test_a_thread_that_hangs_is_told_of_and_replaced(
    fresh: redis.Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "LATE_S", 0.2)
    goes_on = threading.Event()
    wait, of_others = Bell.wait, renewing()
    hung: list[threading.Thread] = []

    def hang_once(bell: Bell, seconds: float) -> bool:
        thread = threading.current_thread()
        if not hung and thread in renewing() - of_others:
            hung.append(thread)
            goes_on.wait(20)
        return wait(bell, seconds)

    monkeypatch.setattr(Bell, "wait", hang_once)
    first = RedisLock(fresh, NAME, 0.3, renew=True)
    assert first.acquire()
    eventually(lambda: first.lost)

    second = RedisLock(fresh, NAME + "2", 0.3, renew=True)
    assert second.acquire()

    assert "s late" in caplog.text
    is_renewed(second)
    goes_on.set()
    hung[0].join(5)
    assert not hung[0].is_alive(), "one thread renews"
    second.ensure_held()
    assert second.release()


@pytest.mark.parametrize("renew", [True, False])
def test_a_lock_can_be_asked_for_at_the_very_end_of_the_interpreter(client: redis.Redis, renew: bool) -> None:
    """From Python 3.12 on no thread can be started there."""
    code = (
        "import atexit, sys, redis\n"
        "from celery_redislock import LockLost, RedisLock\n"
        "client = redis.Redis(port=int(sys.argv[1]))\n"
        "def lock():\n"
        f"    lock = RedisLock(client, {NAME!r}, 30, renew={renew})\n"
        "    try:\n"
        "        with lock: print('held', flush=True)\n"
        "    except LockLost as error: print(error, flush=True)\n"
        f"    print(client.exists({NAME!r}), flush=True)\n"
        "atexit.register(lock)\n"
    )
    port = str(client.connection_pool.connection_kwargs["port"])

    ended = subprocess.run(
        [sys.executable, "-c", code, port], check=True, timeout=30, capture_output=True, text=True
    )

    said, left = ended.stdout.splitlines()
    assert left == "0"
    assert said == "held" or (renew and "no thread could be started" in said)


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("gevent", "from gevent import monkey; monkey.patch_all()\n"),
        ("eventlet", "import eventlet; eventlet.monkey_patch()\n"),
    ],
)
def test_greenlets_are_renewed_and_told_of_a_loss_too(kind: str, patch: str, client: redis.Redis) -> None:
    pytest.importorskip(kind)
    code = patch + (
        "import sys, time, redis\n"
        "from celery_redislock import RedisLock\n"
        "client, told = redis.Redis(port=int(sys.argv[1])), []\n"
        "kept = RedisLock(client, 'kept', 0.5, renew=True)\n"
        "lost = RedisLock(client, 'lost', 0.5, renew=True, on_lost=told.append)\n"
        "watched = RedisLock(client, 'watched', 0.5, on_lost=told.append)\n"
        "assert kept.acquire() and lost.acquire() and watched.acquire()\n"
        "client.delete('lost')\n"
        "time.sleep(1.2)\n"
        "assert kept.owned(), kept\n"
        "assert set(told) == {lost, watched}, told\n"
        "assert kept.release()\n"
    )
    port = str(client.connection_pool.connection_kwargs["port"])

    subprocess.run([sys.executable, "-c", code, port], check=True, timeout=30)


def test_a_bell_wakes_once_for_however_often_it_was_rung() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()

    assert bell.wait(0)
    assert not bell.wait(0)
    assert not bell.wait(-1)
