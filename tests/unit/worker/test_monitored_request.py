"""Monitored request: the event of a task that was revoked says why, whoever revoked it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.worker.request import Request
from kombu import Message

from celery_redislock import LockedRequest
from celery_redislock.batch.launch import START_BATCH
from celery_redislock.batch.member_request import member_request
from celery_redislock.batch.start_later import StartRequest
from celery_redislock.messages.celery_exceptions import ComesAgain, Done, PutOff, Skipped

REASON = "lock 'redislock:a' is busy"


class Eventer:
    """Lists what a worker's own dispatcher is given."""

    enabled = True

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def send(self, type_: str, **fields: Any) -> None:
        self.told.append((type_, fields))


def nothing() -> None: ...


#: Each class of ours, also in the combinations that a worker makes.
CLASSES = [LockedRequest, StartRequest, member_request(Request), member_request(LockedRequest)]


@pytest.fixture(params=CLASSES, ids=lambda each: "+".join(base.__name__ for base in each.__mro__[:2]))
def request_(request: pytest.FixtureRequest, app: Celery) -> Any:
    """Give a request as it stands in a worker's parent."""
    name = START_BATCH if request.param is StartRequest else app.task(nothing, name="t").name
    headers = app.amqp.as_task_v2("3f1c", name).headers
    delivery = Message(headers=headers, content_type="application/json", content_encoding="utf-8")
    body: Any = (), {}, {}
    return request.param(
        delivery, app=app, eventer=Eventer(), body=body, headers=headers, decoded=True, on_ack=lambda *_: None
    )


def ended_by(request: Any, error: Exception) -> list[tuple[str, dict[str, Any]]]:
    """Have a run end in the child with this error, and return what monitors are told."""
    request.on_failure(SimpleNamespace(exception=error))
    events: list[tuple[str, dict[str, Any]]] = request._eventer.told
    return events


def test_a_skipped_run_is_told_as_revoked_once_with_the_reason(request_: Any) -> None:
    ((type_, fields),) = ended_by(request_, Skipped(REASON))

    assert (type_, fields["uuid"], fields["result"]) == ("task-revoked", "3f1c", REASON)


def test_a_run_that_comes_again_is_told_as_retried_once_with_the_reason(request_: Any) -> None:
    ((type_, fields),) = ended_by(request_, ComesAgain(REASON))

    assert (type_, fields["exception"]) == ("task-retried", REASON)


@pytest.mark.parametrize("error", [Done("done"), PutOff("later")])
def test_a_copy_whose_task_another_run_ends_is_told_as_nothing(request_: Any, error: Exception) -> None:
    assert ended_by(request_, error) == []


@pytest.mark.parametrize("reason", ["superseded by task 8f0c", "expired", "terminated"])
def test_what_the_worker_revokes_is_told_with_the_reason(
    request_: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celery_redislock.worker.request.LockedRequest._why_replaced", lambda self: None)

    request_._announce_revoked(reason, True, None, False)

    ((type_, fields),) = request_._eventer.told
    assert (type_, fields["result"], fields["terminated"]) == ("task-revoked", reason, True)
