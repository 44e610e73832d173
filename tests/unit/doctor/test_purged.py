"""Purged: publish locks whose messages are gone."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from celery import Celery

from celery_redislock.doctor import purged, queues
from celery_redislock.doctor.configuration import Configuration
from celery_redislock.doctor.live import Live
from celery_redislock.doctor.rule import CannotLook
from celery_redislock.publish_lock.record import PublishLock, all_waiting

from ...support.applications import application, locked, shared_tasks_forgotten, with_own_tasks


def body(path: str = "a") -> None: ...


@pytest.fixture(params=["memory://", "redis"])
def app(request: pytest.FixtureRequest, redis_url: str, client: redis.Redis) -> Any:
    with shared_tasks_forgotten():
        app = application(redis_url)
        if request.param == "redis":
            app.conf.broker_url = redis_url
        yield with_own_tasks(app)
        app.close()


@pytest.fixture
def in_a_worker(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Give what the only worker has; a test adds to it."""
    there: set[str] = set()
    monkeypatch.setattr(purged, "waits_in_a_worker", lambda _, ids: there & ids)
    return there


def found(app: Celery) -> list[Any]:
    return list(purged.message_is_gone(Live(Configuration(app))))


def purge(app: Celery) -> None:
    with app.connection_for_write() as connection:
        connection.default_channel.queue_purge("celery")


def test_a_publish_lock_without_its_message_is_found(app: Celery, in_a_worker: set[str]) -> None:
    result = locked(app, body, name="t", lock_scope="task").delay()
    purge(app)

    [problem] = found(app)

    assert f"kept for message {result.id}, which is in no queue and no worker" in problem.message
    assert problem.cure == f"celery -A APP locks release --force {app.tasks['t'].lock_name()}"


def test_a_message_that_waits_in_its_queue_is_left_alone(app: Celery, in_a_worker: set[str]) -> None:
    locked(app, body, name="t", lock_scope="task").delay()

    assert not found(app)


def test_a_message_that_a_worker_has_is_left_alone(app: Celery, in_a_worker: set[str]) -> None:
    in_a_worker.add(locked(app, body, name="t", lock_scope="task").delay().id)
    purge(app)

    assert not found(app)


def test_a_message_in_a_queue_of_its_task_is_left_alone(app: Celery, in_a_worker: set[str]) -> None:
    task = locked(app, body, name="t", lock_scope="task")
    app.conf.task_routes = {"t": {"queue": "imports"}}
    task.delay()

    assert not found(app)


def test_without_a_worker_it_is_not_looked(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "ANSWER_S", 1)
    locked(app, body, name="t", lock_scope="task").delay()
    purge(app)

    with pytest.raises(CannotLook, match="no worker answers"):
        found(app)


def test_without_publish_locks_nobody_is_asked(app: Celery) -> None:
    assert not found(app)


def test_many_publish_locks_are_seen_in_few_round_trips(app: Celery, client: redis.Redis) -> None:
    names = [f"redislock:shop.import_csv:{number}" for number in range(500)]
    for name in names:
        assert PublishLock(client, name).take("0" * 32, f"of {name}", 60_000) is None
    before = client.info("stats")["total_reads_processed"]

    waiting = {name: holder.metadata["id"] for name, holder in all_waiting(client, "redislock:")}

    assert client.info("stats")["total_reads_processed"] - before < 50
    assert waiting == {name: f"of {name}" for name in names}
