"""Quorum queues of RabbitMQ with Celery's native delayed delivery: all ends as on any other queue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import chain
from celery.result import AsyncResult

from celery_redislock import RedisLock, locked_batch

from ...support.deadlines import eventually
from ...support.servers import Server, available_kinds
from ...support.workers import Worker, running_worker
from .quorum_app import QUORUM, app, coalesce, configure, names, plain, replace, retry, step

pytest.importorskip("celery.utils.quorum_queues", reason="Celery before 5.5 has no delay queues")

# Celery's own, with redis-py 8, where a result is stored.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


class Crew:
    """A worker on quorum queues, and the server that its locks are on."""

    def __init__(self, worker: Worker, locks: Server, queues: list[str]) -> None:
        self.worker, self.locks, self.queues = worker, locks, queues

    def says(self, result: AsyncResult[Any], text: str, times: int = 1) -> None:
        """Return when the worker has said something of a task, so many times."""
        line = f"[{result.id}] {text}"
        eventually(lambda: self.worker.log().count(line) >= times, 30, f"{line!r}, {times} times")


@pytest.fixture(scope="module")
def crew(amqp_url: str, store: str) -> Iterator[Crew]:
    """Give a worker of its own on queues of its own."""
    name = f"test-{uuid4().hex}"
    with Server(available_kinds()[0]) as locks:
        where = (amqp_url, f"{store}/2", locks.url, name)
        configure(*where)
        try:
            with running_worker(
                "tests.stories.run.quorum_app", env={QUORUM: " ".join(where)}, concurrency=3
            ) as worker:
                yield Crew(worker, locks, names(name))
        finally:
            app.backend.result_consumer.stop()
            with app.connection_for_write() as connection:
                for queue in names(name):
                    connection.default_channel.queue_delete(queue)
                    connection.default_channel.exchange_delete(queue)
            app.close()


def test_a_plain_task_retries_here(crew: Crew) -> None:
    assert plain.delay().get(timeout=30) == 3


@pytest.mark.parametrize(
    ("other", "delay_s", "times"), [(False, 0.1, 3), (True, 0.1, 2), (True, 4, 2)], ids=str
)
def test_a_conflict_comes_again_until_the_lock_is_free(
    crew: Crew, other: bool, delay_s: float, times: int
) -> None:
    queue, key = crew.queues[other], uuid4().hex
    with retry.lock_for(key):
        result = retry.apply_async((key,), queue=queue, lock={"retry_delay": [delay_s, delay_s]})
        crew.says(result, "retry: lock", times)
    assert result.get(timeout=30) == queue


@pytest.mark.parametrize("task", [coalesce, replace], ids=["coalesce", "replace"])
def test_a_wanted_run_is_published_to_where_its_trigger_came_from(crew: Crew, task: Any) -> None:
    queue, key = crew.queues[1], uuid4().hex
    with task.lock_for(key):
        # Delayed by the broker: its message comes from the exchange of the delay queues.
        result = task.apply_async((key,), queue=queue, countdown=1)
        crew.says(result, f"{task.name}: lock")
    assert result.get(timeout=30) == queue


def test_an_outage_is_survived(crew: Crew) -> None:
    crew.locks.kill()
    result = retry.apply_async((uuid4().hex,), queue=crew.queues[1])
    crew.says(result, "is published again", times=2)
    crew.locks.start()
    assert result.get(timeout=30) == crew.queues[1]


def test_a_batch_comes_again_until_its_lock_is_free(crew: Crew) -> None:
    key = uuid4().hex
    with crew.locks.client() as client, RedisLock(client, f"redislock:{key}"):
        result = locked_batch(chain(step.si(1), step.si(2)), lock_key=key, lock_on_conflict="retry").delay()
        eventually(lambda: crew.worker.log().count(f"retry: lock 'redislock:{key}'") >= 2, 30)
    assert result.get(timeout=30) == 2
