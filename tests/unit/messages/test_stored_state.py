"""Ending: a task that does not run has an end that its caller, its chain and its chord can see."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery, states
from celery.app.task import Context

from celery_redislock.messages.stored_state import StandsForOthers, request_of, revoke, store_end

OPTIONS: dict[str, Any] = {
    "task_id": "a",
    "group_id": "g",
    "group_index": 3,
    "root_id": "r",
    "parent_id": "p",
    "chain": [{"task": "next"}],
    "chord": {"task": "body"},
    "headers": {"tenant": "acme"},
    "reply_to": "here",
    "link": [{"task": "callback"}],
}


class Ends(list[dict[str, Any]]):
    """Stands for a result backend: what is stored."""

    def mark_as_failure(self, task_id: str, error: Exception, **rest: Any) -> None:
        self.append({"id": task_id, "error": error, **rest})


@pytest.fixture
def ends() -> Ends:
    return Ends()


def task_of(app: Celery, ends: Ends, **options: Any) -> Any:
    def body() -> None:
        """Never run."""

    task: Any = app.task(name="t", shared=False, **options)(body)
    task.backend = ends
    return task


def test_the_request_of_a_call_is_that_of_its_message() -> None:
    request = request_of(OPTIONS, "t", (1,), {"b": 2})

    assert (request.id, request.task, request.args, request.kwargs) == ("a", "t", (1,), {"b": 2})
    assert (request.group, request.group_index, request.root_id, request.parent_id) == ("g", 3, "r", "p")
    assert (request.chain, request.chord) == (OPTIONS["chain"], OPTIONS["chord"])
    assert (request.headers, request.reply_to) == ({"tenant": "acme"}, "here")
    assert request.delivery_info == {}


@pytest.mark.parametrize(("given", "listed"), [(None, None), ("e", ["e"]), (["e"], ["e"]), ({}, [{}])])
def test_errbacks_are_a_list(given: Any, listed: Any) -> None:
    assert request_of({"task_id": "a", "link_error": given}).errbacks == listed


@pytest.mark.parametrize(
    ("of_the_task", "of_the_call", "chain", "stored"),
    [
        (False, None, None, True),
        (True, None, None, False),
        (True, False, None, True),
        (False, True, None, False),
        (False, True, [{"task": "next"}], True),
    ],
)
def test_an_ignored_result_is_stored_only_for_the_rest_of_a_chain(
    app: Celery, ends: Ends, of_the_task: bool, of_the_call: Any, chain: Any, stored: bool
) -> None:
    task = task_of(app, ends, ignore_result=of_the_task)

    revoke(task, request_of({"task_id": "a", "ignore_result": of_the_call, "chain": chain}), "why")

    (end,) = ends
    assert end["store_result"] is stored
    assert (end["id"], end["state"], end["error"].args) == ("a", "REVOKED", ("why",))


@pytest.mark.parametrize(("state", "calls"), [(states.FAILURE, True), (states.REVOKED, False)])
def test_only_a_failure_calls_the_errbacks(app: Celery, ends: Ends, state: str, calls: bool) -> None:
    store_end(task_of(app, ends), request_of(OPTIONS), ValueError("why"), state)

    assert ends[0]["call_errbacks"] is calls


class Publisher(StandsForOthers):
    abstract = True

    def end_others(self, request: Any, reason: str) -> None:
        ended.append((request.id, reason))


ended: list[tuple[str, str]] = []


def test_those_for_whom_a_task_stands_end_in_its_place(app: Celery, ends: Ends) -> None:
    ended.clear()

    revoke(task_of(app, ends, base=Publisher), Context(id="a"), "why")

    assert ended == [("a", "why")]
    assert ends == []
