"""Fleet: the locks of all workers by task, within bounds, also while Redis is away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from prometheus_client import CollectorRegistry

from celery_redislock import RedisLock, limits
from celery_redislock.config.provider import provider_of
from celery_redislock.observing import fleet
from celery_redislock.observing.fleet import Fleet, Look, Row, largest, look

from ...support.applications import application
from ...support.deadlines import eventually
from ...support.waiting_threads import Waiting


@pytest.fixture
def held(client: redis.Redis) -> Iterator[list[RedisLock]]:
    """Have three locks held: two of a task, and one of another program."""
    locks = [
        RedisLock(client, f"redislock:{name}", expire=30, metadata=metadata)
        for name, metadata in (("a", {"task": "t"}), ("b", {"task": "t"}), ("c", {}))
    ]
    leader = RedisLock(client, "redislock:beat", metadata={"task": "celery beat", "role": "leader"})
    for lock in (*locks, leader):
        assert lock.acquire()
    yield locks
    for lock in (*locks, leader):
        lock.release()


@pytest.mark.usefixtures("held")
def test_held_locks_are_counted_by_task(app: Celery) -> None:
    found = look(provider_of(app), ["t", "idle"])

    assert found.is_whole
    assert found.rows is not None
    assert {task: row.held for task, row in found.rows.items()} == {"t": 2, "idle": 0, "unknown": 1}
    assert found.rows["t"].oldest_hold_s >= 0


def test_who_waits_is_counted_and_the_oldest_is_timed(
    app: Celery, client: redis.Redis, held: list[RedisLock]
) -> None:
    def row() -> Row:
        return (look(provider_of(app), []).rows or {})["t"]

    waiting = Waiting(RedisLock(client, held[0].name, expire=30))
    eventually(lambda: row().waiters == 1 and row().oldest_wait_s > 0)
    held[0].release()

    assert waiting.answer()
    assert row().waiters == row().oldest_wait_s == 0
    waiting.lock.release()


def test_a_paused_lock_is_not_held_and_who_waits_for_it_is_counted(app: Celery, client: redis.Redis) -> None:
    limits.pause(app, "a")
    waiter = RedisLock(client, "redislock:a", metadata={"task": "t"})
    waiting = Waiting(waiter, timeout=10, then=RedisLock.release)
    eventually(lambda: client.zcard("redislock.waiters:{redislock:a}") == 2)

    row = (look(provider_of(app), []).rows or {})["t"]

    assert (row.held, row.waiters, row.oldest_hold_s) == (0, 1, 0.0)
    limits.reset(app, "a")
    assert waiting.answer(within=10)


@pytest.mark.usefixtures("held")
def test_a_look_ends_in_time_and_says_so(app: Celery) -> None:
    assert not look(provider_of(app), [], longest_s=-1).is_whole


def test_the_smallest_are_shown_as_one() -> None:
    rows = {f"t{number}": Row(held=number, oldest_hold_s=number) for number in range(5)}

    assert largest(rows, most=2) == {
        "t4": Row(held=4, oldest_hold_s=4),
        "t3": Row(held=3, oldest_hold_s=3),
        "other": Row(held=3, oldest_hold_s=2),
    }


def values(collector: Fleet) -> dict[Any, float]:
    registry = CollectorRegistry()
    registry.register(collector)
    samples = (sample for family in registry.collect() for sample in family.samples)
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


@pytest.mark.usefixtures("held")
def test_what_is_found_is_served(app: Celery) -> None:
    served = values(Fleet(provider_of(app), lambda: ["t"]))

    assert served["redislock_up",] == served["redislock_looked_at_all",] == 1
    assert served["redislock_held", "t"] == 2
    assert served["redislock_waiters", "t"] == 0


def test_while_redis_is_away_that_is_all_that_is_served() -> None:
    away = application("redis://localhost:1")

    assert values(Fleet(provider_of(away), lambda: ["t"])) == {("redislock_up",): 0}


def test_there_is_a_rest_after_each_look(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, looks = [0.0], []

    def slow(*_: Any) -> Look:
        looks.append(clock[0])
        clock[0] += 1
        return Look({})

    monkeypatch.setattr(fleet, "now", lambda: clock[0])
    collector = Fleet(provider_of(app), list, slow)
    for _ in range(25):
        list(collector.collect())
        clock[0] += 1

    assert looks == [0, 10, 20]
