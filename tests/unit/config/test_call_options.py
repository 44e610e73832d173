"""Lock options of a call that is published by name, from a process that does not know the task."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, Task, chain, signature
from celery.app.task import Context
from celery.beat import ScheduleEntry, Scheduler
from celery.worker.request import Request

from celery_redislock import ConfigurationError
from celery_redislock.config.call_options import take_from_properties, warn_of_what_nobody_reads
from celery_redislock.config.resolution import resolve
from celery_redislock.messages.headers import CALL_HEADER

from ...support.applications import locked


@pytest.fixture(autouse=True)
def queue_of_its_own(app: Celery) -> None:
    """All apps of a process share what is in memory."""
    app.conf.task_default_queue = uuid4().hex


def published(app: Celery) -> Any:
    """Return the message that was published last, as a worker would get it."""
    with app.connection_for_read() as connection:
        message = connection.default_channel.basic_get(app.conf.task_default_queue)
    assert message is not None
    return message


class Entries(Scheduler):
    """A beat's scheduler that has no file."""

    def setup_schedule(self) -> None: ...


def beat(app: Celery, **options: Any) -> None:
    entry = ScheduleEntry(name="e", task="elsewhere", schedule=timedelta(1), options=options, app=app)
    Entries(app, lazy=True).apply_async(entry, advance=False)


WAYS: dict[str, Callable[..., Any]] = {
    "send_task": lambda app, **options: app.send_task("elsewhere", ["a"], **options),
    "signature": lambda app, **options: signature("elsewhere", ["a"], app=app).set(**options).apply_async(),
    "signature's call": lambda app, **options: signature("elsewhere", ["a"], app=app).apply_async(**options),
    "chain": lambda app, **options: chain(
        signature("elsewhere", ["a"], app=app).set(**options), signature("next", app=app), app=app
    ).apply_async(),
    "beat": beat,
}


@pytest.mark.parametrize("way", WAYS)
def test_options_of_a_call_by_name_travel_as_those_of_apply_async(way: str, app: Celery) -> None:
    WAYS[way](app, lock={"ttl": timedelta(seconds=5), "retry_delay": (1, timedelta(seconds=9))})

    message = published(app)
    assert message.headers[CALL_HEADER] == {"ttl": 5.0, "retry_delay": [1, 9.0]}
    assert "lock" not in message.properties


@pytest.mark.parametrize("way", WAYS)
def test_a_call_without_options_of_its_own_carries_none(way: str, app: Celery) -> None:
    for options in ({}, {"lock": None}):
        WAYS[way](app, **options)

        message = published(app)
        assert CALL_HEADER not in message.headers
        assert message.properties.get("lock") is None


@pytest.mark.parametrize("wrong", [5, "x", ["ttl"], {"key": print}, {"on_conflict": print}, {1: print}])
def test_options_that_cannot_travel_are_refused_where_the_task_begins(
    wrong: Any, app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    app.send_task("elsewhere", lock=wrong)

    carried = json.loads(json.dumps(published(app).headers[CALL_HEADER]))
    with pytest.raises(ConfigurationError):
        resolve({}, "elsewhere", {}, carried)
    assert "the worker will refuse task" in caplog.text


@pytest.mark.parametrize("way", WAYS)
def test_an_option_as_a_task_spells_it_is_refused_where_the_task_begins(
    way: str, app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    WAYS[way](app, lock_key="mine", lock={"ttl": 5})

    message = published(app)
    with pytest.raises(ConfigurationError, match=r"lock_key.* did you mean 'key'"):
        resolve({}, "elsewhere", {}, message.headers[CALL_HEADER])
    assert "the worker will refuse task" in caplog.text
    assert "lock_key" not in message.properties


@pytest.mark.parametrize(
    "call",
    [
        lambda task, **options: task.apply_async(**options),
        lambda task, **options: task.apply(**options),
        lambda task, **options: task.s().set(**options).delay(),
        lambda task, **options: chain(task.si().set(**options), task.si()).apply_async(),
        lambda task, **options: task.signature_from_request(Context(id="1", args=(), kwargs={}), **options),
    ],
    ids=["apply_async", "apply", "set", "chain", "retry"],
)
@pytest.mark.parametrize("eager", [False, True])
def test_an_option_as_a_task_spells_it_is_refused_with_a_call(call: Any, eager: bool, app: Celery) -> None:
    app.conf.update(task_always_eager=eager, task_store_eager_result=False, task_eager_propagates=True)
    task = locked(app, lambda_of_nothing, name="ours", lock_mode="off")

    with pytest.raises(ConfigurationError, match=r"lock_ttl.*task 'ours'.*lock=\{\"ttl\": \.\.\.\}"):
        call(task, lock_ttl=5)


def test_options_that_a_publisher_left_as_a_property_are_found() -> None:
    message: dict[str, Any] = {"id": "1", "properties": {"lock": {"ttl": 5}}}

    take_from_properties(message)

    assert message[CALL_HEADER] == {"ttl": 5}


def test_options_that_travel_are_not_replaced() -> None:
    message: dict[str, Any] = {CALL_HEADER: {"ttl": 7}, "properties": {"lock": {"ttl": 5}}}

    take_from_properties(message)

    assert message[CALL_HEADER] == {"ttl": 7}


def test_a_worker_says_once_that_a_plain_task_was_called_with_lock_options(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    plain = app.task(name="plain", shared=False)(lambda_of_nothing)
    ours = locked(app, lambda_of_nothing, name="ours")
    plain.apply_async(lock={"ttl": 5})
    message = published(app)

    for task in (plain, plain, ours):
        named: Task[..., Any] = task
        message.headers["task"] = named.name
        request = Request(message, app=app, task=named)
        warn_of_what_nobody_reads(request=request)
    warn_of_what_nobody_reads(request=SimpleNamespace(request_dict={}, task=plain, name="other"))

    assert caplog.text.count("was called with lock={...}, but is not a locked task") == 1
    assert "Task plain was" in caplog.text


def lambda_of_nothing() -> None: ...
