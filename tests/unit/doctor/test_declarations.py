"""Declarations: what is declared, and has no effect."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from celery_redislock.doctor.configuration import Configuration

from ...support.applications import shared_tasks_forgotten
from .looking import configured, found_by, task_of


def test_lock_options_of_a_plain_task_are_found(app: Celery) -> None:
    def body() -> None: ...

    app.task(body, name="plain", lock_ttl=5, lock_args=())
    app.task(body, name="without")
    task_of(app, lock_ttl=5)

    (found,) = found_by("RL108", configured(app))

    assert found.message == "Task plain has lock_args, lock_ttl, but is not locked"


def test_options_for_all_tasks_do_not_make_those_of_celery_locked(app: Celery) -> None:
    task_of(app)

    assert not found_by("RL108", configured(app, task_annotations={"*": {"lock_ttl": 5}}))


@pytest.mark.parametrize(
    ("policy", "is_on", "is_found"),
    [("replace", False, True), ("replace", True, False), ("skip", False, False)],
)
def test_a_replaced_run_that_cannot_be_terminated_is_found(
    app: Celery, policy: str, is_on: bool, is_found: bool
) -> None:
    task_of(app, lock_on_conflict=policy)

    assert bool(found_by("RL109", configured(app, worker_enable_remote_control=is_on))) is is_found


@pytest.mark.parametrize(
    "setting",
    [
        {"redislock_beat_ttl": 5},
        {"redislock_beat_name": "a"},
        {"redislock_beat_scheduler": "celery.beat:Scheduler"},
    ],
)
def test_a_beat_that_is_told_nothing_is_told_as_an_info(app: Celery, setting: dict[str, Any]) -> None:
    (found,) = found_by("RL110", configured(app, **setting))

    assert found.level == "info"
    assert next(iter(setting)) in found.message
    exec(found.cure, {"app": app})
    assert not found_by("RL110", configured(app))


@pytest.mark.parametrize(
    "settings",
    [{}, {"redislock_beat_ttl": 5, "beat_scheduler": "celery_redislock.beat.LockedScheduler"}],
    ids=str,
)
def test_one_kind_of_beat_is_left_alone(app: Celery, settings: dict[str, Any]) -> None:
    assert not found_by("RL110", configured(app, **settings))


def test_a_setting_is_named_as_it_is_written_in_a_django_project() -> None:
    with shared_tasks_forgotten():
        app = Celery("shop", set_as_current=False)
        app.config_from_object(SimpleNamespace(CELERY_REDISLOCK_BEAT_TTL=5), namespace="CELERY")

        (found,) = found_by("RL110", Configuration(app))

    assert found.message.startswith("CELERY_REDISLOCK_BEAT_TTL is set, but beat_scheduler is ")
