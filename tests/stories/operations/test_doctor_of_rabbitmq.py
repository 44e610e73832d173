"""Doctor of messages at RabbitMQ: a publish lock whose message was purged is found, one that waits is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from celery_redislock.doctor.configuration import Configuration
from celery_redislock.doctor.finding import Finding
from celery_redislock.doctor.live import Live
from celery_redislock.doctor.rules import RULES

from ...support.deadlines import eventually
from ...support.servers import Server
from ...support.workers import Worker, running_worker
from .publishing_app import BROKER, LOCKS, QUEUE, app, configure, import_csv


@pytest.fixture
def places(amqp_url: str, own_server: Server) -> Iterator[dict[str, str]]:
    """Have the app's messages wait in a queue of this test's own, which is gone at the end."""
    places = {BROKER: amqp_url, LOCKS: own_server.url, QUEUE: f"redislock.test.{uuid4().hex}"}
    configure(places)
    yield places
    with app.connection_for_write() as connection:
        for queue in (places[QUEUE], f"{places[QUEUE]}.idle"):
            connection.default_channel.queue_delete(queue)
    app.close()


@contextmanager
def worker_of(places: dict[str, str], queue: str) -> Iterator[Worker]:
    """Run a worker that takes messages from this queue alone."""
    with running_worker(
        "tests.stories.operations.publishing_app", env=places, pool="solo", args=("-Q", queue)
    ) as worker:
        yield worker


def found() -> list[Finding]:
    """Return what RL404 finds."""
    seen = Live(Configuration.of(app))
    return [finding for rule in RULES if rule.id == "RL404" for finding in rule.findings(seen)]


def in_rabbitmq(queue: str, do: str = "queue_declare", **options: Any) -> Any:
    """Ask RabbitMQ something of a queue."""
    with app.connection_for_write() as connection:
        return getattr(connection.default_channel, do)(queue, **options)


@pytest.mark.timeout(200)
def test_the_publish_lock_of_a_purged_message_is_found_and_one_whose_message_waits_is_left_alone(
    places: dict[str, str],
) -> None:
    queue = places[QUEUE]
    with worker_of(places, f"{queue}.idle"):
        result = import_csv.delay("a.csv")
        eventually(
            lambda: in_rabbitmq(queue, passive=True).message_count == 1, 10, "it should be in its queue"
        )
        while_it_waits = found()
        assert in_rabbitmq(queue, "queue_purge") == 1
        [problem] = found()

    assert while_it_waits == []
    assert f"kept for message {result.id}, which is in no queue and no worker" in problem.message
    assert problem.cure == f"celery -A APP locks release --force {import_csv.lock_name('a.csv')}"


@pytest.mark.timeout(200)
def test_a_message_that_a_worker_has_taken_from_rabbitmq_is_left_alone(places: dict[str, str]) -> None:
    queue = places[QUEUE]
    with worker_of(places, queue) as worker:
        import_csv.apply_async(["a.csv"], countdown=600)
        eventually(lambda: "received" in worker.log(), 10, "the worker should have the message")
        assert in_rabbitmq(queue, passive=True).message_count == 0
        assert found() == []
