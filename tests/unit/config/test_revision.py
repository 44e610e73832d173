"""Revision: settings that an app gets after it was used hold from then on; none of them is ignored."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import Any

import pytest
import redis
from celery import Celery

from celery_redislock import ConfigurationError, LockedTask, locked_task
from celery_redislock.config.provider import provider_of


def name_of_lock(self: Any) -> str:
    """Return the Redis key of the lock that is held."""
    name: str = self.lock.name
    return name


@pytest.fixture
def task(app: Celery) -> Any:
    """Give a task that has run once: what its app's settings said has been read."""
    task = locked_task(app=app, bind=True, name="t", lock_args=[])(name_of_lock)
    task.apply().get()
    return task


def database_of(app: Celery) -> int:
    """Return the number of the database that keeps the locks."""
    number: int = provider_of(app).client.connection_pool.connection_kwargs["db"]
    return number


def test_locks_move_with_the_setting(
    app: Celery, task: Any, redis_url: str, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client.flushall()
    caplog.set_level(logging.WARNING, "celery_redislock")

    app.conf.redislock_url = redis_url.rpartition("/")[0] + "/7"
    task.apply().get()

    assert client.keys("redislock*") == []
    assert database_of(app) == 7
    assert [record.message for record in caplog.records if "have changed" in record.message]
    assert task.lock_for().redis_client.connection_pool.connection_kwargs["db"] == 7


def test_locks_move_with_the_result_backend_that_names_them(app: Celery, task: Any, redis_url: str) -> None:
    app.conf.update(redislock_url=None, result_backend=redis_url.rpartition("/")[0] + "/8")

    assert database_of(app) == 8


def test_what_celery_gives_its_connection_counts(app: Celery, task: Any, redis_url: str) -> None:
    app.conf.update(redislock_url=None, result_backend=redis_url)
    provider_of(app)

    app.conf.redis_backend_health_check_interval = 7

    assert provider_of(app).client.connection_pool.connection_kwargs["health_check_interval"] == 7


def test_names_and_options_follow_too(app: Celery, task: Any) -> None:
    app.conf.update(redislock_prefix="late:", redislock_on_conflict="fail", redislock_ttl=7)

    assert task.apply().get().startswith("late:")
    assert (task.plan_for().options.on_conflict, task.plan_for().options.ttl_ms) == ("fail", 7000)


def test_a_configuration_that_is_read_anew_counts(app: Celery, task: Any, redis_url: str) -> None:
    app.config_from_object({"redislock_url": redis_url, "redislock_prefix": "anew:"}, force=True)

    assert task.lock_name().startswith("anew:")


@pytest.mark.parametrize("wrong", [{"redislock_ttl": "soon"}, {"redislock_urll": "redis://localhost"}])
def test_a_wrong_one_is_refused_by_name(app: Celery, task: Any, wrong: dict[str, Any]) -> None:
    app.conf.update(redislock_keep="latest", **wrong)

    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        task.lock_for()


def test_the_client_stays_where_the_locks_stay(app: Celery, task: Any) -> None:
    before = provider_of(app)

    app.conf.redislock_ttl = 9

    assert provider_of(app) is before
    assert provider_of(app) is before


def test_an_app_that_is_dropped_is_not_kept() -> None:
    app = Celery(set_as_current=False, broker="memory://")
    app.conf.redislock_url = "redis://localhost:1/0"
    provider_of(app)
    seen = weakref.ref(app)
    app.close()

    del app
    gc.collect()

    assert seen() is None


def test_a_subclass_has_a_plan_of_its_own(app: Celery) -> None:
    app.conf.redislock_ttl = 5
    first = app.register_task(type("First", (LockedTask,), {"name": "first", "run": name_of_lock})())
    second = app.register_task(
        type("Second", (LockedTask,), {"name": "second", "lock_ttl": 6, "run": name_of_lock})()
    )

    app.conf.redislock_ttl = 4

    assert (first.plan_for().options.ttl_ms, second.plan_for().options.ttl_ms) == (4000, 6000)
