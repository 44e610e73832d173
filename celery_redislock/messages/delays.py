"""Delays: how a message is delayed, and for how long its broker, or the worker that has it, can keep it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from celery import Celery, Task
from kombu import Exchange, Queue

_detect: Callable[..., tuple[bool, str]] | None
try:
    from celery.utils.quorum_queues import detect_quorum_queues as _detect
except ImportError:  # Celery before 5.5 knows no delay queues
    _detect = None

__all__ = ["delayed"]

#: The delays of RabbitMQ's delay queues, seconds, https://docs.celeryq.dev/en/stable/userguide/calling.html
SHORTEST_S, LONGEST_S = 1.0, 2.0**28 - 1
#: By default RabbitMQ closes the channel of a worker that keeps a message for longer, seconds,
#: https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout
CONSUMER_TIMEOUT_S = 1800.0


def delayed(task: Task[..., Any], options: Mapping[str, Any], delay_s: float) -> dict[str, Any]:
    """Return the options that have a call begin after a delay, or earlier if it cannot be kept for so long.

    Args:
        task: The task.
        options: Those of its publication that say where it goes.
        delay_s: Seconds; 0: at once.
    """
    if delay_s <= 0:
        return {}
    app: Celery = task.app
    with app.connection_for_write() as connection:
        driver = connection.get_transport_cls()
    if _has_delay_queues(app, driver):
        queue = _queue(task, options)
        if queue.exchange.type != "direct":
            return {"countdown": min(max(delay_s, SHORTEST_S), LONGEST_S), "queue": queue}
    # A worker keeps a delayed message unacknowledged. If it kept the message for too long, the broker would
    # deliver a copy, and later copies of the copies. So the message is delayed for half of that time, and
    # then again.
    kept_s = _kept_s(app, driver)
    return {"countdown": min(delay_s, kept_s / 2) if kept_s else delay_s}


def _has_delay_queues(app: Celery, driver: Any) -> bool:
    return _detect is not None and _detect(app, driver.driver_type)[0]


def _queue(task: Task[..., Any], options: Mapping[str, Any]) -> Queue:
    """Return the queue to which Celery would send it.

    For a call that names an exchange and no queue this is a queue without a name: Celery's router would
    answer with the default queue.
    """
    where = {name: options[name] for name in ("queue", "exchange", "routing_key") if options.get(name)}
    routed: Any = task.app.amqp.router.route(dict(where), task.name, (), {}, task)  # type: ignore[arg-type]
    queue: Queue = routed["queue"]
    if "queue" in where or "exchange" not in where:
        return queue
    return Queue("", Exchange(where["exchange"], type="topic"), routing_key=where.get("routing_key", ""))


def _kept_s(app: Celery, driver: Any) -> float | None:
    """Return how long a worker may keep a message until it is delivered again, seconds; None: for ever."""
    given = (app.conf.broker_transport_options or {}).get("visibility_timeout")
    channel = getattr(driver, "Channel", None)
    for kept in (
        given,
        getattr(channel, "visibility_timeout", None),
        getattr(channel, "default_visibility_timeout", None),
    ):
        if isinstance(kept, int | float) and kept > 0:
            return float(kept)
    return CONSUMER_TIMEOUT_S if driver.driver_type == "amqp" else None
