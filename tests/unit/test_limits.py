"""Limits of an app's locks: what is refused, what runs that meet a pause are told, what a reset starts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis
from celery import Celery, states
from kombu.transport import memory

from celery_redislock import ConfigurationError, LockBusy, RedisLock, limits

from ..support.applications import locked

NAME = "redislock:api"


def api(app: Celery, **options: Any) -> Any:
    """Return a task on the lock."""
    return locked(app, lambda: "done", **{"name": "api", "lock_key": "api", **options})


def published() -> int:
    """How many messages wait."""
    return sum(queue.qsize() for queue in memory.Channel.queues.values())


@pytest.mark.parametrize("n", [0, -1, 1.0, "3", True, None])
def test_a_number_that_is_none_is_refused(app: Celery, n: Any) -> None:
    with pytest.raises(ConfigurationError, match="n must be an int of at least 1"):
        limits.set(app, "api", n)
    assert not limits.get(app, "api").is_set


def set_to_three(*arguments: Any, **options: Any) -> limits.Limit:
    """Let three share a lock."""
    return limits.set(*arguments, 3, **options)


@pytest.mark.parametrize("change", [set_to_three, limits.pause])
def test_what_else_is_wrong_is_refused(app: Celery, change: Callable[..., Any]) -> None:
    for duration in (0, -1, "5m", float("nan")):
        with pytest.raises(ConfigurationError, match="for_ must be"):
            change(app, "api", for_=duration)
    for note in (None, 7, "n" * 201):
        with pytest.raises(ConfigurationError, match="note must be a str of at most 200 characters"):
            change(app, "api", note=note)
    assert not limits.get(app, "api").is_set


def test_a_name_may_have_its_prefix(app: Celery) -> None:
    made = limits.pause(app, NAME, for_=timedelta(minutes=5), note="why")

    assert made == limits.get(app, "api")
    assert (made.name, made.paused, made.note) == (NAME, True, "why")
    assert "@" in (made.by or "")
    assert limits.reset(app, "api") == limits.get(app, NAME)


def test_a_run_that_meets_a_pause_is_told_of_it(app: Celery) -> None:
    made = limits.pause(app, "api", note="a migration")

    skipped = api(app).apply()
    failed = api(app, lock_on_conflict="fail", name="other").apply()

    told = (
        f"lock '{NAME}' is busy, paused by {made.by}: a migration; `celery -A APP locks show {NAME}` shows it"
    )
    assert skipped.state == states.REVOKED
    assert told in str(skipped.result)
    assert isinstance(failed.result, LockBusy)
    assert failed.result.holder is not None
    assert failed.result.holder.is_pause


@pytest.mark.parametrize("policy", [{"lock_on_conflict": "retry"}, {"lock_wait": 5}], ids=str)
def test_a_run_that_can_wait_runs_when_the_pause_has_ended(app: Celery, policy: dict[str, Any]) -> None:
    task = api(app, **policy)
    limits.pause(app, "api", for_=0.3)

    assert task.apply().get() == "done"


def test_a_pause_publishes_one_coalesced_run_when_it_is_reset(app: Celery) -> None:
    task = api(app, lock_on_conflict="coalesce")
    limits.pause(app, "api")
    assert task.apply().state == states.RETRY
    assert published() == 0

    limits.reset(app, "api")

    assert published() == 1


def test_a_message_may_be_published_while_nobody_may_run(app: Celery) -> None:
    task = api(app, lock_scope="task")
    limits.pause(app, "api")

    first = task.delay()

    assert task.delay().id == first.id, "two of them wait"
    assert published() == 1


def test_a_run_that_goes_on_gives_its_lock_back(app: Celery, client: redis.Redis) -> None:
    body: list[bool] = []

    def work() -> None:
        limits.pause(app, "work")
        body.append(RedisLock(client, "redislock:work").holder() is not None)

    task = locked(app, work, lock_key="work")

    assert task.apply().state == states.SUCCESS
    assert body == [True]
    assert RedisLock(client, "redislock:work").holder() is None
    assert task.apply().state == states.REVOKED
