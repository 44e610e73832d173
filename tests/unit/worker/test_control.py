"""Control: the commands that a running worker is told, without a worker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state as worker_state
from celery.worker.control import Panel

from celery_redislock.worker import control


def test_a_worker_and_the_command_line_know_the_commands_however_often_they_are_installed() -> None:
    control.install()
    control.install()

    assert Panel.data["redislock_terminate"] is control.terminate
    assert Panel.data["locks"] is control.locks
    assert Panel.meta["locks"].type == "inspect"


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], set[str]]:
    """Give the requests and the revoked ids of a worker, both empty."""
    requests: dict[str, Any] = {}
    revoked: set[str] = set()
    monkeypatch.setattr(worker_state, "requests", requests)
    monkeypatch.setattr(worker_state, "revoked", revoked)
    return requests, revoked


def test_a_run_is_terminated_where_it_goes_on(known: tuple[dict[str, Any], set[str]]) -> None:
    requests, revoked = known
    pools: list[str] = []
    requests["run"] = SimpleNamespace(terminate=pools.append)

    control.terminate(SimpleNamespace(consumer=SimpleNamespace(pool="its pool")), "run")

    assert pools == ["its pool"]
    assert revoked == {"run"}


def test_a_run_of_another_worker_is_only_dropped_if_it_comes_again(
    known: tuple[dict[str, Any], set[str]],
) -> None:
    control.terminate(SimpleNamespace(consumer=SimpleNamespace(pool=None)), "elsewhere")

    assert known[1] == {"elsewhere"}


def test_a_pool_that_cannot_terminate_does_not_fail_the_command(
    known: tuple[dict[str, Any], set[str]],
) -> None:
    def refuse(_pool: object) -> None:
        raise NotImplementedError

    known[0]["run"] = SimpleNamespace(terminate=refuse)

    control.terminate(SimpleNamespace(consumer=SimpleNamespace(pool=None)), "run")
