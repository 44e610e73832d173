"""Refusal: what ends a run before its body reaches whoever is around the call, and never the body."""

from __future__ import annotations

from typing import Any

import pytest
from celery import signals
from celery.app import trace
from celery.exceptions import Ignore

from celery_redislock import LockBusy, LockKeyError
from celery_redislock.messages.celery_exceptions import Skipped

from ...support.applications import application, locked
from ...support.servers import Server


class Watched:
    """A task, the calls that reached its body, and what a monitor around its call saw."""

    def __init__(self, server: Server, **options: Any) -> None:
        self.ran: list[Any] = []
        self.seen: list[BaseException] = []
        ran = self.ran

        def watched(value: Any) -> None:
            ran.append(value)

        self.task = locked(application(server.url), watched, name="watched", **options)
        # As sentry-sdk does it.
        cls, call = type(self.task), type(self.task).__call__

        def seeing(task: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return call(task, *args, **kwargs)
            except BaseException as error:
                self.seen.append(error)
                raise

        cls.__call__ = seeing

    def run(self, value: Any) -> Any:
        """Run it as a worker's process does, and return what Celery made of it."""
        request = {"id": "1", "delivery_info": {}, "is_eager": True, "called_directly": False}
        return trace.build_tracer("watched", self.task, app=self.task.app)("1", (value,), {}, request)


def test_a_call_without_a_name_is_seen(server: Server) -> None:
    watched = Watched(server)

    watched.run(object())

    assert [type(error) for error in watched.seen] == [LockKeyError]
    assert watched.ran == []


@pytest.mark.parametrize(("policy", "seen"), [("fail", LockBusy), ("skip", Skipped)])
def test_a_busy_lock_is_seen_as_what_it_is(server: Server, policy: str, seen: type[Exception]) -> None:
    watched = Watched(server, lock_on_conflict=policy)
    with watched.task.lock_for("a"):
        watched.run("a")
    watched.run("a")

    assert [type(error) for error in watched.seen] == [seen]
    assert issubclass(seen, Ignore) == (policy == "skip")
    assert watched.ran == ["a"]


def test_celery_tells_of_it_by_its_own_signal(server: Server) -> None:
    watched, told = Watched(server), []

    @signals.task_failure.connect(sender=watched.task)
    def note(exception: Exception, **_: Any) -> None:
        told.append(type(exception))

    watched.run(object())

    assert told == [LockKeyError]


def test_who_calls_the_hook_by_hand_gets_the_error_there(server: Server) -> None:
    watched = Watched(server)

    with pytest.raises(LockKeyError):
        watched.task.before_start("1", (object(),), {})
