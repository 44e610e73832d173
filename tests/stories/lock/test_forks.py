"""Forks: a lock belongs to the process that took it; a child begins with none, and with all that it needs."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import util

import pytest
import redis

from celery_redislock import LockLost, RedisLock, StoreUnavailable

from ...support.deadlines import eventually
from .renewed import is_renewed

# eventlet, once another test has imported it, warns of every fork.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Using fork"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NAME = "forked"

#: Seconds for a child to end.
WITHIN = 15.0


def in_a_child(work: Callable[[], object]) -> None:
    """Do something in the child of a fork; an error there is one here."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    ended: list[int] = []

    def has_ended() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        ended.append(status)
        return pid == child

    try:
        eventually(has_ended, WITHIN, "the child should end")
    except AssertionError:
        os.kill(child, 9)
        os.waitpid(child, 0)
        raise
    assert os.waitstatus_to_exitcode(ended[-1]) == 0, "see the child's traceback"


@pytest.fixture(params=[True, False], ids=["renewed", "not renewed"])
def held(request: pytest.FixtureRequest, client: redis.Redis) -> RedisLock:
    """Give a lock that this process holds."""
    lock = RedisLock(client, NAME, 30, renew=request.param)
    assert lock.acquire()
    return lock


def test_the_child_holds_nothing(held: RedisLock, client: redis.Redis) -> None:
    def look() -> None:
        assert (held.token, held.fencing_token, held.remaining, held.lost) == (None, None, 0.0, False)
        assert not held.owned()
        assert held.locked()
        assert "not held" in repr(held)
        assert held.renew() is False
        assert held.release() is False
        with pytest.raises(LockLost, match="forked"):
            held.ensure_held()

    in_a_child(look)

    held.ensure_held()
    assert held.owned()
    assert held.release()


class Left(Exception):
    """Of the child alone."""


def test_a_child_that_leaves_the_block_frees_nothing_and_raises_nothing_of_its_own(
    client: redis.Redis,
) -> None:
    here, lock = os.getpid(), RedisLock(client, NAME, 30, renew=True)

    def leave_by_an_error() -> None:
        lock.__exit__(Left, error := Left(), None)
        assert error.__context__ is None

    with lock:
        in_a_child(lambda: lock.__exit__(None, None, None))
        in_a_child(leave_by_an_error)
        assert os.getpid() == here
        assert not RedisLock(client, NAME).acquire()


def test_the_child_can_take_the_parents_object_anew_once_the_lock_is_free(
    held: RedisLock, client: redis.Redis
) -> None:
    def take() -> None:
        assert not held.acquire()
        client.delete(NAME)
        assert held.acquire()
        assert held.owned()
        assert held.release()

    in_a_child(take)


def test_a_loss_of_the_parents_is_not_told_in_the_child(client: redis.Redis) -> None:
    told: list[RedisLock] = []
    lock = RedisLock(client, NAME, 30, renew=True, on_lost=told.append)
    assert lock.acquire()

    def look() -> None:
        client.delete(NAME)
        assert not lock.release()
        assert not told

    in_a_child(look)

    assert not lock.release()
    eventually(lambda: told == [lock])


def _take_and_keep(port: int) -> None:
    with redis.Redis(port=port) as client, RedisLock(client, f"{NAME}:child", 0.3, renew=True) as lock:
        is_renewed(lock)


def test_a_process_of_multiprocessing_ends_and_leaves_the_lock_alone(
    held: RedisLock, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other tests have left connections of kombu: it would close them in the child, and wait there for the
    # reply to what the parent has asked.
    monkeypatch.setattr(util, "_afterfork_registry", {})
    port = client.connection_pool.connection_kwargs["port"]
    process = multiprocessing.get_context("fork").Process(target=_take_and_keep, args=(port,))

    process.start()
    process.join(WITHIN)

    assert process.exitcode == 0
    held.ensure_held()
    assert held.owned()


def keep_locking(own: RedisLock, shared: RedisLock, stop: threading.Event) -> None:
    """Take, renew and give back locks, one of which others wait for, and one whose object they use too."""
    while not stop.is_set():
        for lock in (own, shared):
            # On a busy machine a round trip may not fit into the timeout: then nothing is sent.
            with suppress(StoreUnavailable):
                if lock.acquire(blocking=lock is own, timeout=0.05):
                    lock.renew()
                    lock.release()


def test_a_child_can_lock_whatever_the_other_threads_of_its_parent_did(client: redis.Redis) -> None:
    shared, stop = RedisLock(client, f"{NAME}:shared", 0.5, renew=True), threading.Event()

    owns = [RedisLock(client, f"{NAME}:{number % 2}", 0.5, renew=True) for number in range(4)]

    def lock() -> None:
        own = RedisLock(client, f"{NAME}:child", 30, renew=True)
        assert own.acquire(blocking=True, timeout=5)
        assert own.release()
        assert isinstance(shared.acquire(), bool)
        shared.release()

    threads = [threading.Thread(target=keep_locking, args=(own, shared, stop)) for own in owns]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            in_a_child(lock)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_child_of_a_fork_in_the_last_moment_ends(client: redis.Redis) -> None:
    """``sys.exit`` in the child unwinds the parent's ``with``."""
    code = (
        "import os, sys, redis\n"
        "from celery_redislock import RedisLock\n"
        f"with RedisLock(redis.Redis(port=int(sys.argv[1])), {NAME!r}, 30, renew=True) as lock:\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        sys.exit(3)\n"
        "    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "    assert (status, lock.owned()) == (3, True)\n"
    )
    port = str(client.connection_pool.connection_kwargs["port"])

    subprocess.run([sys.executable, "-c", code, port], check=True, timeout=30)
