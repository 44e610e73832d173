"""Worker: what it says at its start of options that its settings do not carry; what the log claims."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery

from celery_redislock import ConfigurationError, RedisLock
from celery_redislock.pending import replacement
from celery_redislock.pending.publish import runs_of
from celery_redislock.worker import start as worker

from ...support.applications import application, locked, with_own_tasks


@pytest.fixture
def app(app: Celery) -> Celery:
    """Give an app without the tasks that other tests share."""
    return with_own_tasks(app)


def said(app: Celery, caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    worker.log_findings(SimpleNamespace(app=app))
    return caplog.text


def test_replace_without_remote_control_is_said(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    locked(app, lambda: None, name="t", lock_on_conflict="replace")
    assert said(app, caplog) == ""

    app.conf.worker_enable_remote_control = False

    assert "a run of t that is replaced" in said(app, caplog)
    assert "is not terminated" in caplog.text


@pytest.mark.parametrize("options", [{"lock_on_conflict": "skip"}, {"lock_mode": "off"}])
def test_other_tasks_need_none(
    app: Celery, caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    locked(app, lambda: None, name="t", **options)
    app.conf.update(worker_enable_remote_control=False, result_backend="rpc://")

    assert said(app, caplog) == ""


def test_a_scope_beside_results_that_are_sent_is_said(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    locked(app, lambda: None, name="t", lock_scope="queue")
    app.conf.result_backend = "rpc://"

    assert "lock_scope of t" in said(app, caplog)


def test_a_scope_beside_results_that_are_kept_is_fine(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    locked(app, lambda: None, name="t", lock_scope="queue")

    assert said(app, caplog) == ""


@pytest.mark.parametrize("is_on", [True, False])
def test_the_log_does_not_claim_a_termination_that_nobody_is_told_of(
    app: Celery,
    client: redis.Redis,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    is_on: bool,
) -> None:
    app.conf.worker_enable_remote_control = is_on
    task = locked(app, lambda number: number, name="t", lock_args=(), lock_on_conflict="replace")
    told: list[Any] = []
    monkeypatch.setattr(app.control, "broadcast", lambda *args, **facts: told.append(facts))
    lock = task.lock_for(1)
    holder = RedisLock(client, lock.name, 30, metadata={"task": "t", "id": "old"})
    with holder:
        task.apply((1,), lock={"replace_after": 0.001})
        replacement.expel(app, lock.name)

    assert bool(told) is is_on
    assert ("is told to terminate it" in caplog.text) is is_on
    assert ("is not terminated" in caplog.text) is not is_on
    assert runs_of(app, lock.name).tasks() == {"t"}


def test_a_holder_is_terminated_by_an_app_that_knows_its_task(
    app: Celery, redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another app with the same prefix may have another broker, where nobody would hear of it."""
    other = application(redis_url)
    task = locked(app, lambda number: number, name="t", lock_args=(), lock_on_conflict="replace")
    told: list[Celery] = []
    for each in (app, other):
        monkeypatch.setattr(each.control, "broadcast", lambda *_, each=each, **__: told.append(each))
    lock = task.lock_for(1)
    with RedisLock(client, lock.name, 30, metadata={"task": "t", "id": "old"}):
        task.apply((1,), lock={"replace_after": 0.001})
        assert replacement.expel(other, lock.name), "it looks again"
        replacement.expel(app, lock.name)
    other.close()

    assert told == [app]


def test_an_error_of_the_configuration_is_logged_with_id_cure_and_page(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    locked(app, lambda: None, name="t", lock_max_hold=60, time_limit=100, acks_late=True)

    text = said(app, caplog)

    assert "locks: RL106: t may run for 100 s" in text
    assert "cure: lock_max_hold=110; see docs/reference/doctor.md#rl106" in text
    assert "RL103" not in text, "an info is for the doctor alone"


def test_what_is_ignored_is_not_logged(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    locked(app, lambda: None, name="t", lock_max_hold=60, time_limit=100)
    app.conf.redislock_doctor_ignore = {"RL106": "runs are short"}

    assert said(app, caplog) == ""


def test_a_wrong_setting_of_the_doctor_stops_the_worker(app: Celery) -> None:
    locked(app, lambda: None, name="t")
    app.conf.redislock_doctor_ignore = {"RL106": ""}

    with pytest.raises(ConfigurationError, match="redislock_doctor_ignore"):
        worker.LockStep(SimpleNamespace(app=app))


def test_an_unfit_server_is_logged_with_its_id(
    app: Celery, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    locked(app, lambda: None, name="t")
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        worker.LockStep(SimpleNamespace(app=app))
    finally:
        client.config_set("maxmemory-policy", "noeviction")

    assert "locks: RL201: Redis at " in caplog.text
    assert "maxmemory-policy is allkeys-lru" in caplog.text


def test_a_redis_that_is_away_does_not_stop_the_worker(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    locked(app, lambda: None, name="t")
    app.conf.redislock_url = "redis://127.0.0.1:1/0"

    worker.LockStep(SimpleNamespace(app=app))

    assert "cannot be reached" in caplog.text
    assert "the worker continues, but no locked task can run" in caplog.text
