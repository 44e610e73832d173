"""Messages: however a message ends, also under another version of its task, the next call is published."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery, Task
from celery.result import AsyncResult

from ...support.deadlines import eventually
from ...support.versions import not_with_5_4
from ...support.workers import Worker, running_worker
from .versions import FAILING, SCOPES, STORE, WORKERS, Order, publisher

#: Celery's Redis backend stores with a command that redis-py calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")

QUEUE = "versions"
#: So soon after the end of a message the next call is published, seconds.
SOON_S = 3


@pytest.fixture(scope="module")
def app(store: str) -> Iterator[Celery]:
    """Give the application of who publishes."""
    app = publisher(store, QUEUE)
    yield app
    app.backend.result_consumer.stop()
    app.close()


@pytest.fixture(scope="module")
def worker(store: str) -> Iterator[Worker]:
    """Give a worker that has another version of each task."""
    with running_worker(
        "tests.stories.publishing.versions", env={STORE: f"{store} {QUEUE}"}, args=("-Q", QUEUE)
    ) as worker:
        yield worker


@pytest.fixture
def locks(store: str) -> Iterator[redis.Redis]:
    """Give a client of the locks."""
    with redis.Redis.from_url(f"{store}/0", decode_responses=True) as client:
        yield client


@pytest.fixture
def broker(store: str) -> Iterator[redis.Redis]:
    """Give a client of the broker."""
    with redis.Redis.from_url(f"{store}/1", decode_responses=True) as client:
        yield client


def publish_locks(locks: redis.Redis, task: Any, *args: Any) -> int:
    """Count the publish locks of a call."""
    return int(locks.exists(f"redislock.reservation:{{{task.lock_name(*args)}}}"))


def freed(locks: redis.Redis, task: Any, first: AsyncResult[Any], *args: Any) -> None:
    """Return when the next call is published in place of being answered with the first."""
    eventually(lambda: not publish_locks(locks, task, *args), SOON_S, "the publish lock should be free")
    second = task.apply_async(args, countdown=3600)
    assert second.id != first.id
    locks.delete(f"redislock.reservation:{{{task.lock_name(*args)}}}")
    second.revoke()


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("case", WORKERS)
def test_the_next_call_is_published_whatever_a_worker_knows_of_the_task(
    app: Celery, worker: Worker, locks: redis.Redis, case: str, scope: str
) -> None:
    task = app.tasks[f"{case}, {scope}"]
    number = time.time_ns()
    first = task.delay(number, b=1)

    if case in FAILING:
        eventually(first.ready, 20)
        assert type(first.result).__name__ == FAILING[case]
    else:
        assert first.get(timeout=20) == number, "what the message says names its lock"

    freed(locks, task, first, number, 1)


@pytest.mark.parametrize("scope", SCOPES)
def test_the_next_call_is_published_after_content_that_is_refused(
    app: Celery, worker: Worker, locks: redis.Redis, scope: str
) -> None:
    task = app.tasks[f"scope task, {scope}"]
    number = time.time_ns()

    first = task.apply_async((number,), serializer="pickle")

    worker.wait_for_log("ContentDisallowed")
    freed(locks, task, first, number)


@pytest.mark.parametrize("scope", SCOPES)
def test_the_next_call_is_published_after_content_that_cannot_be_read(
    app: Celery, worker: Worker, locks: redis.Redis, broker: redis.Redis, scope: str
) -> None:
    task = app.tasks[f"scope task, {scope}"]
    number = time.time_ns()
    first = task.apply_async((number,), queue="nobody's")
    message = json.loads(str(broker.rpop("nobody's")))
    message["body"] = base64.b64encode(b"{").decode()

    broker.lpush(QUEUE, json.dumps(message))

    worker.wait_for_log("Can't decode message body")
    freed(locks, task, first, number)


@pytest.mark.parametrize("case", ["scope task", "not locked yet"])
@pytest.mark.parametrize("scope", SCOPES)
def test_the_next_call_is_published_after_one_that_was_revoked(
    app: Celery, worker: Worker, locks: redis.Redis, scope: str, case: str
) -> None:
    task = app.tasks[f"{case}, {scope}"]
    number = time.time_ns()
    first = task.apply_async((number,), countdown=1)

    first.revoke()

    eventually(first.ready, 20)
    freed(locks, task, first, number)


@not_with_5_4("it has no tasks of models")
@pytest.mark.parametrize("key", ["template", "arguments"])
@pytest.mark.parametrize("scope", ["run", "task"])
def test_a_model_has_one_lock_on_both_sides(
    app: Celery, worker: Worker, locks: redis.Redis, scope: str, key: str
) -> None:
    task, number = app.tasks[f"ship, {scope}, {key}"], time.time_ns()
    ways: list[Any] = [{"id": number}, {"id": str(number), "kind": "web"}]
    if hasattr(Task, "_dump_pydantic_arguments"):  # Celery 5.7 sends models too
        ways.append(Order(id=number))

    for way in ways:
        first = task.delay(way)
        assert first.get(timeout=20) == f"{task.lock_name(ways[0])} of {number}"
        eventually(lambda: not publish_locks(locks, task, ways[0]), SOON_S)
