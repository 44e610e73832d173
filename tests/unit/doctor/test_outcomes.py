"""Outcomes: ends of calls that nobody would learn of."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from .looking import configured, found_by, task_of


@pytest.mark.parametrize(("policy", "level"), [("fail", "error"), ("skip", "warning")])
def test_an_end_that_is_kept_nowhere_is_found_and_its_cure_is_one(
    app: Celery, policy: str, level: str
) -> None:
    task_of(app, lock_on_conflict=policy)

    (found,) = found_by("RL104", configured(app, result_backend="disabled://"))

    assert found.level == level
    exec(found.cure, {"app": app})
    assert not found_by("RL104", configured(app))


@pytest.mark.parametrize(("policy", "level"), [("fail", "error"), ("skip", "warning")])
def test_an_end_that_a_task_ignores_is_found(app: Celery, policy: str, level: str) -> None:
    task_of(app, lock_on_conflict=policy, ignore_result=True)
    task_of(app, "sound", lock_on_conflict=policy)

    (found,) = found_by("RL104", configured(app))

    assert found.level == level
    assert "sound" not in found.message


@pytest.mark.parametrize("options", [{"lock_on_conflict": "retry"}, {"lock_mode": "off"}])
def test_a_call_that_runs_in_the_end_needs_no_backend(app: Celery, options: dict[str, Any]) -> None:
    task_of(app, **options)

    assert not found_by("RL104", configured(app, result_backend="disabled://"))


@pytest.mark.parametrize(
    ("scope", "backend", "is_found"),
    [
        ("task", "rpc://", True),
        ("queue", "rpc://", True),
        ("run", "rpc://", False),
        ("task", "cache+memory://", False),
    ],
)
def test_a_result_that_another_process_gets_is_found(
    app: Celery, scope: str, backend: str, is_found: bool
) -> None:
    task_of(app, lock_scope=scope)

    assert bool(found_by("RL113", configured(app, result_backend=backend))) is is_found
