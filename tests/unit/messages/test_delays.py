"""Delays: no longer, and no shorter, than the broker of a message can keep it; and from where it came."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from celery import Celery
from kombu import Exchange, Queue

from celery_redislock.messages.delays import LONGEST_S, delayed
from celery_redislock.messages.delivery import destination

from ...support.applications import locked, shared_tasks_forgotten

REDIS, AMQP = "redis://127.0.0.1:1/0", "amqp://127.0.0.1:1//"
QUORUM = {"x-queue-type": "quorum"}

has_delay_queues = pytest.mark.skipif(
    find_spec("celery.utils.quorum_queues") is None, reason="Celery before 5.5 has no delay queues"
)


@pytest.fixture
def app() -> Iterator[Celery]:
    """Give an app whose broker nobody ever asks."""
    with shared_tasks_forgotten():
        app = Celery("delays", broker=REDIS, set_as_current=False)
        app.conf.redislock_url = REDIS
        yield app
        app.close()


def task_of(app: Celery, broker: str = REDIS, **settings: Any) -> Any:
    """Return a task of an app with this broker."""
    app.conf.update(broker_url=broker, **settings)
    return locked(app, lambda: None, name="t")


def queue(name: str, kind: str = "topic", **options: Any) -> Queue:
    """Return a quorum queue."""
    return Queue(name, Exchange(f"{name}-exchange", type=kind), queue_arguments=QUORUM, **options)


@pytest.mark.parametrize(
    ("broker", "options", "longest"),
    [
        (REDIS, {}, 1800),
        ("rediss://127.0.0.1:1/0?ssl_cert_reqs=none", {}, 1800),
        ("sentinel://127.0.0.1:1;sentinel://127.0.0.1:2", {"master_name": "m"}, 1800),
        (REDIS, {"visibility_timeout": 60}, 30),
        (REDIS, {"visibility_timeout": 43200}, 21600),
        # How long RabbitMQ waits for the acknowledgement of a message.
        (AMQP, {}, 900),
        ("memory://", {}, 7200),
    ],
)
def test_a_delay_is_bounded_by_what_a_worker_may_keep(
    app: Celery, broker: str, options: dict[str, Any], longest: float
) -> None:
    task = task_of(app, broker, broker_transport_options=options)

    assert delayed(task, {}, 7200) == {"countdown": min(longest, 7200)}
    assert delayed(task, {}, 0.25) == {"countdown": 0.25}
    assert delayed(task, {}, 0) == {}


def test_the_default_of_a_broker_that_is_asked_counts_too(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Amazon's SQS, and the like."""

    class Transport:
        driver_type = "sqs"

        class Channel:
            default_visibility_timeout = 1800
            visibility_timeout = property(lambda self: 1 / 0)

    monkeypatch.setattr("kombu.Connection.get_transport_cls", lambda self: Transport)
    assert delayed(task_of(app), {}, 7200) == {"countdown": 900}


@has_delay_queues
@pytest.mark.parametrize(
    ("wanted", "given"), [(0.001, 1), (0.999, 1), (1, 1), (4.5, 4.5), (7200, 7200), (2.0**30, LONGEST_S)]
)
def test_delay_queues_get_what_they_can_carry(app: Celery, wanted: float, given: float) -> None:
    task = task_of(app, AMQP, task_queues=[queue("q", routing_key="k")], task_default_queue="q")

    options = delayed(task, {"queue": "q"}, wanted)

    assert options["countdown"] == given
    assert int(options["countdown"]) >= 1
    assert delayed(task, {"queue": "q"}, 0) == {}


@has_delay_queues
def test_a_direct_exchange_has_no_delay_queues(app: Celery) -> None:
    task = task_of(app, AMQP, task_queues=[queue("q", "direct", routing_key="k")], task_default_queue="q")

    assert delayed(task, {"queue": "q"}, 0.25) == {"countdown": 0.25}
    assert delayed(task, {"queue": "q"}, 7200) == {"countdown": 900}


def test_quorum_queues_of_another_broker_are_none(app: Celery) -> None:
    task = task_of(app, "memory://", task_queues=[queue("q", routing_key="k")], task_default_queue="q")

    assert delayed(task, {"queue": "q"}, 0.25) == {"countdown": 0.25}


@has_delay_queues
def test_a_message_goes_back_to_the_queue_that_it_came_from(app: Celery) -> None:
    task = task_of(
        app,
        AMQP,
        task_queues=[queue("default", routing_key="d"), queue("other", routing_key="a.b")],
        task_default_queue="default",
    )
    bits = "0." * 27 + "1."
    delayed_by_the_broker = {"exchange": "celery_delayed_delivery", "routing_key": f"{bits}a.b"}

    assert destination(app, {"exchange": "other-exchange", "routing_key": "a.b"}) == {"queue": "other"}
    assert destination(app, delayed_by_the_broker) == {"queue": "other"}
    assert destination(app, {"exchange": "", "routing_key": "any"}) == {"queue": "any"}
    assert destination(app, {}) == destination(app, None) == {}
    # One that matches a pattern only: Celery would delay it on its way to the default queue.
    strange = {"exchange": "other-exchange", "routing_key": "a.b.c"}
    assert destination(app, strange) == strange
    way = delayed(task, strange, 2)["queue"]
    assert (way.exchange.name, way.exchange.type, way.routing_key) == ("other-exchange", "topic", "a.b.c")
