"""Start batch: a batch that is published later is published as it would have been at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery, chain

from celery_redislock import ConfigurationError, RedisLock, locked_batch
from celery_redislock.pending import runs as records
from celery_redislock.pending.publish import publish_pending

from ...support.applications import application, shared_tasks_forgotten
from ...support.broker import Broker, as_sent
from ...support.deadlines import eventually


@pytest.fixture
def app(redis_url: str, client: redis.Redis) -> Iterator[Celery]:
    """Give an app with a queue of its own, which takes whatever is written."""
    with shared_tasks_forgotten():
        app = application(redis_url, accept_content=["json", "pickle"], task_default_queue=uuid4().hex)
        yield app
        app.close()


@pytest.fixture
def broker(app: Celery) -> Iterator[Broker]:
    """Give the app's broker."""
    broker = Broker(app)
    yield broker
    broker.close()


def step(ids: Any, **_: Any) -> None:
    """Do nothing."""


def batch(app: Celery, policy: str, **task_options: Any) -> Any:
    """Return a batch whose arguments are no JSON."""
    task = app.task(step, name="step", shared=False, lazy=False, **task_options)
    return locked_batch(chain(task.si({1, 2}), task.si({3})), lock_key="b", lock_on_conflict=policy)


def members_message(app: Celery, client: redis.Redis, broker: Broker, policy: str, publish: Any) -> Any:
    """Publish a batch that meets a busy lock; return the message of its first member."""
    queue = app.conf.task_default_queue
    with RedisLock(client, "redislock:b") as lock:
        publish()
        if policy == "retry":
            started = broker.message(queue)
            broker.run(started)
            again = broker.message(queue)
            assert as_sent(again) == as_sent(started)
        lock.release()
    if policy == "coalesce":
        publish_pending(app, "redislock:b")
        again = broker.message(queue)
    broker.run(again)
    return broker.message(queue)


@pytest.mark.parametrize("policy", ["retry", "coalesce"])
def test_it_is_written_as_the_call_says(
    app: Celery, client: redis.Redis, broker: Broker, policy: str
) -> None:
    options = {"serializer": "pickle", "compression": "gzip", "priority": 0, "headers": {"mine": 1}}
    published = batch(app, policy)

    message = members_message(app, client, broker, policy, lambda: published.apply_async(**options))

    assert message.content_type == "application/x-python-serialize"
    assert message.headers["compression"] == "application/x-gzip"
    assert (message.headers["mine"], message.properties["priority"]) == (1, 0)
    assert list(message.payload[0]) == [{1, 2}]


def test_it_is_written_as_its_tasks_are(app: Celery, client: redis.Redis, broker: Broker) -> None:
    published = batch(app, "retry", serializer="pickle")

    message = members_message(app, client, broker, "retry", published.delay)

    assert list(message.payload[0]) == [{1, 2}]


@pytest.mark.parametrize("policy", ["retry", "coalesce"])
def test_its_times_count_from_when_it_was_called(
    app: Celery, client: redis.Redis, broker: Broker, policy: str
) -> None:
    published = batch(app, policy, serializer="pickle")
    moments: list[datetime] = []

    def publish() -> None:
        moments.append(datetime.now(timezone.utc))
        published.apply_async(countdown=100, expires=200)
        moments.append(datetime.now(timezone.utc))

    message = members_message(app, client, broker, policy, publish)

    called, returned = moments
    for header, after_s in (("eta", 100), ("expires", 200)):
        since = datetime.fromisoformat(message.headers[header]) - timedelta(seconds=after_s)
        assert called <= since <= returned, header


@pytest.fixture
def other(redis_url: str) -> Iterator[Celery]:
    """Give an app with the same locks and other queues, other tasks and no results."""
    other = application(redis_url, task_default_queue=uuid4().hex, result_backend="disabled://")
    yield other
    other.close()


@pytest.mark.parametrize(
    "publish",
    [
        lambda batch, **options: batch.apply_async(**options),
        lambda batch, **options: batch.apply(**options),
        lambda batch, **options: batch.set(**options).delay(),
    ],
    ids=["apply_async", "apply", "set"],
)
def test_an_option_of_a_task_is_refused_where_a_batch_is_published(
    app: Celery, client: redis.Redis, publish: Any
) -> None:
    whole = batch(app, "skip")

    with pytest.raises(ConfigurationError, match="lock_ttl would be ignored in a call of a locked batch"):
        publish(whole, lock_ttl=5)
    assert not client.exists("redislock:b")


def is_published(app: Celery, broker: Broker) -> bool:
    """Publish what an app can; return whether something is in its queue."""
    publish_pending(app, "redislock:b")
    return broker.count(app.conf.task_default_queue) > 0


def test_it_is_published_by_an_app_that_knows_its_tasks(
    app: Celery, other: Celery, client: redis.Redis, broker: Broker
) -> None:
    """Each app knows the task that publishes batches."""
    with RedisLock(client, "redislock:b"):
        batch(app, "coalesce", serializer="pickle").delay()

    assert not is_published(other, broker)
    assert is_published(app, broker), "at once: nobody else has claimed it"


def test_of_two_apps_each_ends_its_own_batches(
    app: Celery, other: Celery, client: redis.Redis, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all batches that meet one lock the last is pending, whichever app has it."""
    monkeypatch.setattr(records, "CLAIM_MS", 100)
    theirs = other.task(step, name="theirs", shared=False, lazy=False)
    with RedisLock(client, "redislock:b"):
        superseded = batch(app, "coalesce", serializer="pickle").delay()
        locked_batch(theirs.si(1), lock_key="b", lock_on_conflict="coalesce").delay()

    assert not is_published(app, broker)
    assert is_published(other, broker)
    broker_of_other = Broker(other)
    broker_of_other.run(broker_of_other.message(other.conf.task_default_queue))
    broker_of_other.close()

    assert superseded.state == "PENDING"
    eventually(lambda: not is_published(app, broker) and superseded.state == "REVOKED", 5, "it should end")


def test_what_means_something_in_one_process_only_is_left_out(
    app: Celery, client: redis.Redis, broker: Broker
) -> None:
    published = batch(app, "retry", serializer="pickle")

    def publish() -> None:
        with app.producer_pool.acquire() as producer:
            published.apply_async(producer=producer)

    assert list(members_message(app, client, broker, "retry", publish).payload[0]) == [{1, 2}]
