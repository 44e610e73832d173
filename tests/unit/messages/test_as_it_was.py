"""What is published again arrives as it was, whichever way of ours brings it to its broker once more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery
from kombu import Exchange, Queue

from celery_redislock import RedisLock, locked_batch
from celery_redislock.batch.member_run import watch
from celery_redislock.messages.delivery import travelling_headers
from celery_redislock.messages.headers import BATCH_HEADER, DELIVERY_HEADER
from celery_redislock.pending.publish import publish_pending

from ...support.applications import application, busy, locked, shared_tasks_forgotten
from ...support.broker import Broker, as_sent
from ...support.servers import free_port

#: What brokers and workers write into a message, and what only tells a broker where to send copies.
BROKERS_OWN = {
    "x-death": [{"queue": "celery_delayed_2", "count": 1}],
    "x-first-death-exchange": "celery_delayed_2",
    "x-first-death-queue": "celery_delayed_2",
    "x-first-death-reason": "expired",
    "x-last-death-exchange": "celery_delayed_2",
    "x-last-death-queue": "celery_delayed_2",
    "x-last-death-reason": "expired",
    "x-delivery-count": 2,
    "x-acquired-count": 2,
    "x-delay": -5000,
    "CC": ["copies"],
    "BCC": ["copies"],
    "redelivered": True,
}


@pytest.fixture
def app(redis_url: str, client: redis.Redis) -> Iterator[Celery]:
    """Give an app with queues of its own, which takes whatever is written."""
    with shared_tasks_forgotten():
        app = application(redis_url, accept_content=["json", "pickle"])
        name = uuid4().hex
        app.conf.task_queues = [
            Queue(name, max_priority=9),
            Queue(f"topic-{name}", Exchange(f"topics-{name}", type="topic"), routing_key=f"a.b.{name}"),
        ]
        app.conf.task_default_queue = name
        yield app
        app.close()


@pytest.fixture
def broker(app: Celery) -> Iterator[Broker]:
    """Give the app's broker."""
    broker = Broker(app)
    yield broker
    broker.close()


def body(*args: Any, **kwargs: Any) -> None:
    """Do nothing."""


def everything_but_the_way(app: Celery) -> dict[str, Any]:
    """Return every option of a call that a message keeps, none of them the default."""
    other = app.signature("other", args=(1,), immutable=True)
    return {
        "args": ("k", {1, 2}, b"\xff"),
        "kwargs": {"word": datetime(2026, 1, 2, tzinfo=timezone.utc)},
        "task_id": uuid4().hex,
        "root_id": uuid4().hex,
        "group_id": uuid4().hex,
        "group_index": 3,
        "serializer": "pickle",
        "compression": "gzip",
        "priority": 4,
        "delivery_mode": 1,
        "expires": datetime.now(timezone.utc) + timedelta(hours=1),
        "link": [other],
        "link_error": [other.clone()],
        "chain": [other.clone()],
        "chord": other.clone(),
        "time_limit": 50,
        "soft_time_limit": 40,
        "ignore_result": True,
        "reply_to": uuid4().hex,
        "shadow": "seen as",
        "argsrepr": "(hidden)",
        "kwargsrepr": "{hidden}",
        "headers": {"mine": {"trace": "00-11"}},
        "stamped_headers": ["tenant"],
        "tenant": "acme",
        "retries": 2,
        "replaced_task_nesting": 1,
    }


def lost_before_it_began(client: redis.Redis) -> Callable[..., None]:
    """Have a task lose its lock before its body."""

    def before_start(self: Any, *_: Any) -> None:
        client.delete(self.lock.name)
        assert not self.lock.renew()

    return before_start


#: The ways in which a message comes to its broker once more, each with the policy of its task.
WAYS = ["retry", "coalesce", "replace", "outage", "redelivered", "lost"]


def sent_once_more(app: Celery, client: redis.Redis, broker: Broker, way: str, queue: str) -> tuple[Any, Any]:
    """Have a message with every option come back in one of the ways; return it before and after."""
    policy = way if way in ("retry", "coalesce", "replace") else "retry"
    hook = {"before_start": lost_before_it_began(client)} if way == "lost" else {}
    task = locked(app, body, name="t", lock_args=(), lock_on_conflict=policy, typing=False, **hook)
    call = everything_but_the_way(app)
    task.apply_async(**call, queue=queue)
    first = broker.message(queue)
    if way == "outage":
        app.conf.redislock_url = f"redis://127.0.0.1:{free_port()}/0"
        broker.run(first)
    elif way == "lost":
        broker.run(first)
    elif way == "redelivered":
        with RedisLock(client, task.lock_name(), metadata={"id": call["task_id"]}):
            broker.run(first, redelivered=True)
    else:
        with busy(task):
            broker.run(first)
        if way != "retry":
            publish_pending(app, task.lock_name())
    return first, broker.message(queue)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["direct", "topic"])
def test_a_message_comes_again_as_it_was(
    app: Celery, client: redis.Redis, broker: Broker, way: str, kind: str
) -> None:
    queues = list(app.amqp.queues)
    queue = next(name for name in queues if name.startswith("topic-") == (kind == "topic"))
    first, second = sent_once_more(app, client, broker, way, queue)
    first.headers.pop("redelivered", None)

    assert as_sent(second) == as_sent(first)
    left, given = (float(message.properties["expiration"]) for message in (second, first))
    assert 0 < left <= given, "it expires when it would have"


def test_a_member_of_a_batch_comes_again_as_it_was(app: Celery, client: redis.Redis, broker: Broker) -> None:
    """It is an ordinary task, and its batch has lost the lock to somebody else."""
    queue = app.conf.task_default_queue
    member = app.task(body, name="member", shared=False, lazy=False, typing=False)
    watch(app)
    call = {**everything_but_the_way(app), "chord": None, "group_id": None, "group_index": None}
    arguments = call.pop("args"), call.pop("kwargs")
    batch = locked_batch(member.signature(*arguments), lock_key="b", lock_on_conflict="retry")
    batch.apply_async(**call, queue=queue)
    first = broker.message(queue)
    client.delete("redislock:b")
    with RedisLock(client, "redislock:b"):
        broker.run(first)
    second = broker.message(queue)

    for message in (first, second):
        assert message.headers.pop(BATCH_HEADER)["lock"] == "redislock:b"
    assert second.content_type == first.content_type == "application/x-python-serialize"
    assert as_sent(second)["headers"] == as_sent(first)["headers"]
    assert as_sent(second)["body"][:2] == as_sent(first)["body"][:2]


@pytest.mark.parametrize("expires", [{"expires": 200}, {}], ids=["of the call", "of the task"])
def test_the_times_of_a_call_that_is_wanted_count_from_the_call(
    app: Celery, client: redis.Redis, broker: Broker, expires: dict[str, Any]
) -> None:
    """It met the lock when it was to be published, and is published once that is free."""
    task = locked(
        app, body, name="t", lock_args=(), lock_scope="task", lock_on_conflict="coalesce", expires=200
    )
    called = datetime.now(timezone.utc)
    with RedisLock(client, task.lock_name(), metadata={"id": "holder"}):
        task.apply_async(countdown=100, **expires)
        time.sleep(0.5)
    publish_pending(app, task.lock_name())
    headers = broker.message(app.conf.task_default_queue).headers

    for header, after_s in (("eta", 100), ("expires", 200)):
        late = datetime.fromisoformat(headers[header]) - called - timedelta(seconds=after_s)
        assert abs(late) < timedelta(seconds=0.4), header


def test_what_is_the_brokers_own_affair_does_not_travel_on(app: Celery, broker: Broker) -> None:
    task = locked(app, body, name="t", lock_on_conflict="retry", lock_args=(), typing=False)
    task.apply_async(headers={"mine": 1, "x-mine": 2})
    with busy(task):
        broker.run(broker.message(app.conf.task_default_queue), **BROKERS_OWN)
    again = broker.message(app.conf.task_default_queue).headers

    assert not again.keys() & {*BROKERS_OWN, DELIVERY_HEADER, "redislock_token"}
    assert (again["mine"], again["x-mine"]) == (1, 2)


def test_a_retry_of_the_users_takes_no_broker_header_along(app: Celery, broker: Broker) -> None:
    """Celery before 5.7 does, where it is given headers."""

    def retried(self: Any) -> None:
        raise self.retry(countdown=0)

    locked(app, retried, name="t", bind=True, lock_args=()).apply_async(headers={"mine": 1})
    broker.run(broker.message(app.conf.task_default_queue), **BROKERS_OWN)
    again = broker.message(app.conf.task_default_queue).headers

    assert (again["retries"], again["mine"]) == (1, 1)
    assert not again.keys() & BROKERS_OWN.keys()


def test_headers_that_only_look_like_a_brokers_travel_on() -> None:
    users = {"x-deadline": 1, "x-deliver": 2, "ccc": 3, "x-delayed-by": 4, "x-request-id": 5}
    assert travelling_headers({**users, **BROKERS_OWN}) == users
    assert travelling_headers(None) == {}
