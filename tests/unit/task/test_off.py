"""Locks that are off: nothing of ours looks for a Redis, and none need be there."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery

from celery_redislock import ConfigurationError
from celery_redislock.config import provider
from celery_redislock.pending.rescue import Rescuer
from celery_redislock.worker.start import LockStep

from ...support.applications import application, locked, shared_tasks_forgotten

#: How it is switched off: settings, options of the task, options of the call.
OFF: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "setting": ({"redislock_mode": "off"}, {}, {}),
    "option": ({}, {"lock_mode": "off"}, {}),
    "call": ({}, {}, {"lock": {"mode": "off"}}),
}

#: No Redis anywhere; one that cannot be reached.
STORES = {"none": None, "away": "redis://127.0.0.1:1/0"}


@pytest.fixture(params=STORES)
def off(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """Give an app on which the first question for a Redis is an error."""

    def asked(*_: Any, **__: Any) -> Any:
        raise AssertionError("a Redis was looked for")

    monkeypatch.setattr(provider.LockProvider, "__init__", asked)
    with shared_tasks_forgotten():
        app = application("", task_default_queue=uuid4().hex)
        app.conf.redislock_url = STORES[request.param]
        # Shared tasks of other modules that were imported, which have locks.
        for name in [name for name in app.tasks if not name.startswith("celery.")]:
            app.tasks.unregister(name)
        yield app
        app.close()


def body(a: int) -> int:
    return a


@pytest.mark.parametrize("scope", ["run", "queue", "task"])
@pytest.mark.parametrize("how", OFF)
def test_calls_need_no_redis(how: str, scope: str, off: Celery) -> None:
    settings, options, call = OFF[how]
    off.conf.update(settings)
    task = locked(off, body, name="t", lock_scope=scope, **options)

    assert task.apply((1,), **call).get() == 1
    for is_eager in (True, False):
        off.conf.task_always_eager = is_eager
        for _ in range(2):
            assert task.apply_async((1,), **call).id
    if not call:
        assert task.delay(1).id
        assert task.lock_name(1).startswith("redislock:t:")


def test_the_check_tells_a_task_whose_lock_is_on(off: Celery) -> None:
    task = locked(off, body, name="t")

    result = task.apply((1,)).result
    assert isinstance(result, AssertionError)
    assert "a Redis was looked for" in str(result)


@pytest.mark.parametrize("how", ["setting", "option"])
def test_a_worker_starts_with_a_warning(how: str, off: Celery, caplog: pytest.LogCaptureFixture) -> None:
    settings, options, _ = OFF[how]
    off.conf.update(settings)
    locked(off, body, name="t", **options)

    LockStep(SimpleNamespace(app=off))

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "locks: lock_mode is off for every task of this worker" in caplog.text


def test_nobody_looks_for_wanted_runs(off: Celery) -> None:
    locked(off, body, name="t", lock_mode="off")

    assert Rescuer(off).look() > 0


def test_a_worker_of_which_one_task_has_a_lock_looks_for_a_redis(off: Celery) -> None:
    locked(off, body, name="off", lock_mode="off")
    locked(off, body, name="on")

    with pytest.raises(AssertionError, match="a Redis was looked for"):
        LockStep(SimpleNamespace(app=off))
    with pytest.raises(AssertionError, match="a Redis was looked for"):
        Rescuer(off).look()


def test_a_wrong_setting_stops_the_worker_all_the_same(off: Celery) -> None:
    off.conf.update(redislock_mode="off", redislock_tll=5)
    locked(off, body, name="t")

    with pytest.raises(ConfigurationError, match="redislock_tll"):
        LockStep(SimpleNamespace(app=off))
