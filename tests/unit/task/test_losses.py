"""Losses: each loss of a run's lock is told once, with the word that is right for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import Celery

from celery_redislock import RedisLock, events
from celery_redislock.engine.protocol.keys import keys_of
from celery_redislock.events import LOSS_REASONS, Lost

from ...support.applications import locked
from ...support.deadlines import eventually

NAME = "redislock:t"


@pytest.fixture
def told() -> Iterator[list[Lost]]:
    """Listen."""
    told: list[Lost] = []
    events.listen(Lost, told.append)
    yield told
    events.unlisten(Lost, told.append)


def force(client: redis.Redis, _: RedisLock) -> None:
    """Take the lock by force."""
    assert RedisLock(client, NAME).force_release()


def delete(client: redis.Redis, _: RedisLock) -> None:
    """Delete its key."""
    client.delete(NAME)


def ask_to_stop(client: redis.Redis, lock: RedisLock) -> None:
    """Ask the holder to stop, as a run does that is to take its place."""
    client.hset(keys_of(NAME).pending, "stop", f"{lock.token} another 0")


def cut_off(client: redis.Redis, lock: RedisLock) -> None:
    """Have its renewals refused until its lease is over."""
    # A key of another type: each script fails on it.
    client.delete(NAME)
    client.rpush(NAME, "no lock")


#: What befalls the lock of a run -> which loss is told; and the options of its task.
LOSSES: dict[str, tuple[Callable[[redis.Redis, RedisLock], object], dict[str, Any]]] = {
    "forced": (force, {}),
    "taken": (delete, {}),
    "cut_off": (cut_off, {}),
    "replaced": (ask_to_stop, {"lock_on_conflict": "replace"}),
    "max_hold": (lambda client, lock: None, {"lock_max_hold": 0.5}),
}


@pytest.mark.parametrize("reason", LOSSES)
def test_a_loss_is_told_with_its_word(
    reason: str, app: Celery, client: redis.Redis, told: list[Lost]
) -> None:
    befall, options = LOSSES[reason]

    def function(self: Any) -> None:
        befall(client, self.lock)
        eventually(lambda: told, within=10, message="the loss should be told")

    task = locked(
        app, function, name="t", bind=True, **{"lock_ttl": 1, "lock_on_lost": "continue", **options}
    )
    result = task.apply()
    client.delete(NAME)

    assert [(loss.reason, loss.task_id) for loss in told] == [(reason, result.id)]
    assert reason in LOSS_REASONS


@pytest.mark.parametrize(("befall", "reason"), [(force, "forced"), (delete, "taken")])
def test_a_loss_that_the_release_notices_is_told_with_its_word(
    befall: Callable[[redis.Redis, RedisLock], object],
    reason: str,
    app: Celery,
    client: redis.Redis,
    told: list[Lost],
) -> None:
    task = locked(app, lambda self: befall(client, self.lock), name="t", bind=True)

    result = task.apply()

    eventually(lambda: told, within=5, message="the loss should be told")
    assert [(loss.reason, loss.task_id) for loss in told] == [(reason, result.id)]
