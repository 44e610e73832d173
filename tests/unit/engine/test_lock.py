"""RedisLock: what its holder is told, and what nobody sets from outside."""

from __future__ import annotations

import gc
import logging
import threading
from typing import Any
from weakref import WeakMethod

import pytest
import redis

from celery_redislock import ConfigurationError, RedisLock
from celery_redislock.engine import Loss
from celery_redislock.engine.protocol.keys import keys_of

NAME = "told"


def ask_to_stop(client: redis.Redis, lock: RedisLock) -> None:
    """Ask the holder to stop, as a run does that is to take its place."""
    client.hset(keys_of(NAME).pending, "stop", f"{lock.token} another 0")


class Listener:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[RedisLock] = []
        self.heard = threading.Event()

    def __call__(self, lock: RedisLock) -> None:
        self.told.append(lock)
        self.heard.set()


def test_a_holder_is_told_once_that_it_is_to_stop(client: redis.Redis) -> None:
    listener = Listener()
    lock = RedisLock(client, NAME, 30, renew=True, on_stop_wanted=listener, stop_within=0.1)
    assert lock.acquire()
    ask_to_stop(client, lock)

    assert listener.heard.wait(5)
    assert lock.renew(), "it still has the lock"

    assert lock.release()
    assert listener.told == [lock]


def test_a_method_is_told_while_its_object_lives(client: redis.Redis) -> None:
    listener = Listener()
    lock = RedisLock(
        client, NAME, 30, renew=True, on_stop_wanted=WeakMethod(listener.__call__), stop_within=0.1
    )
    assert lock.acquire()
    told = listener.told
    del listener
    gc.collect()

    lock._holding.report_stop_wanted(lock.token or "")

    assert told == []
    assert lock.release()


@pytest.mark.parametrize("name", ["on_lost", "on_stop_wanted"])
def test_what_fails_when_it_is_told_is_named_in_the_log(
    name: str, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    told = threading.Event()

    def fails(_: RedisLock) -> None:
        told.set()
        raise RuntimeError("no")

    options: dict[str, Any] = {name: fails}
    lock = RedisLock(client, NAME, 30, **options)
    assert lock.acquire()
    report: tuple[Any, ...] = {
        "on_lost": ("report_lost", Loss("taken", "gone")),
        "on_stop_wanted": ("report_stop_wanted",),
    }[name]
    with caplog.at_level(logging.ERROR):
        getattr(lock._holding, report[0])(lock.token, *report[1:])
        assert told.wait(5)
        for thread in threading.enumerate():
            if thread.name == "redislock-tell":
                thread.join(5)

    assert [record.getMessage() for record in caplog.records] == [
        f"{name} of lock {NAME!r} raised an exception"
    ]
    lock.release()


@pytest.mark.parametrize("name", ["on_lost", "on_stop_wanted"])
def test_what_cannot_be_called_is_refused(name: str, client: redis.Redis) -> None:
    options: dict[str, Any] = {name: "stop"}

    with pytest.raises(ConfigurationError, match=f"{name} must be callable, not str"):
        RedisLock(client, NAME, **options)


def test_how_soon_is_a_duration(client: redis.Redis) -> None:
    with pytest.raises(ConfigurationError, match="stop_within"):
        RedisLock(client, NAME, stop_within=-1)


def test_what_redis_said_of_it_cannot_be_set(client: redis.Redis) -> None:
    with pytest.raises(AttributeError):
        RedisLock(client, NAME).has_pending = True


def test_whether_runs_are_pending_is_known_when_it_is_taken_and_released(client: redis.Redis) -> None:
    lock = RedisLock(client, NAME)
    client.hset(keys_of(NAME).pending, "next task", "1 task id lasts message")

    assert lock.acquire()
    assert lock.has_pending
    client.delete(keys_of(NAME).pending)
    assert lock.release()
    assert not lock.has_pending
