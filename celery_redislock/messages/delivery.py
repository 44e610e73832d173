"""Delivery: how a message was sent and delivered, so that it can be published again as it was."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from celery import Celery
from kombu import Queue
from kombu.serialization import registry  # type: ignore[attr-defined]

from .headers import DELIVERY_HEADER, TOKEN_HEADER

__all__ = ["destination", "delivery_headers", "how_sent", "how_shown", "travelling_headers"]

#: Headers that are not part of a call, but of the broker or of one delivery. RabbitMQ drops a message that is
#: published again with its ``x-death``, https://github.com/celery/celery/issues/9867.
_NOT_OF_THE_CALL = re.compile(
    r"x-(first-|last-)?death.*|x-(delivery|acquired)-count|x-delay|x-opt-.*|x-stream-.*|b?cc|redelivered"
    rf"|{DELIVERY_HEADER}|{TOKEN_HEADER}",
    re.IGNORECASE,
)

#: Properties of a message that a call may give, and that Celery forgets when it publishes the call again.
_PROPERTIES = ("delivery_mode", "MessageGroupId")

#: Messages from RabbitMQ's delay queues come from this exchange, with 28 bits before their routing key.
_DELAYED_EXCHANGE = "celery_delayed_delivery"
_DELAY_BITS = re.compile(r"(?:[01]\.){28}")


def delivery_headers(message: Any) -> dict[str, Any]:
    """Return the headers in which a worker's parent tells a child what that cannot see of its message."""
    serializer = registry.type_to_name.get(message.content_type)
    return {DELIVERY_HEADER: {"serializer": serializer}} if serializer else {}


def how_sent(request: Any) -> dict[str, Any]:
    """Return those options with which the message of a request was sent that Celery forgets."""
    facts = vars(request)
    properties = facts.get("properties") or {}
    return _given(
        serializer=(facts.get(DELIVERY_HEADER) or {}).get("serializer"),
        compression=facts.get("compression"),
        ignore_result=facts.get("ignore_result"),
        **{name: properties.get(name) for name in _PROPERTIES},
    )


def how_shown(request: Any) -> dict[str, Any]:
    """Return how logs show the arguments of a request: its caller may have hidden a secret."""
    facts = vars(request)
    return _given(argsrepr=facts.get("argsrepr"), kwargsrepr=facts.get("kwargsrepr"))


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def travelling_headers(headers: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return those headers of a message that belong to the call, and travel with it when it is sent again."""
    return {name: value for name, value in (headers or {}).items() if not _NOT_OF_THE_CALL.fullmatch(name)}


def destination(app: Celery, delivery_info: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options that publish a message to the queue from which it came."""
    info = delivery_info or {}
    exchange, key = info.get("exchange"), info.get("routing_key")
    if not key:
        return {"exchange": exchange} if exchange else {}
    if not exchange:
        return {"queue": key}
    plain_key = _DELAY_BITS.sub("", key, count=1)
    for queue in _queues(app):
        same_exchange = exchange in (_DELAYED_EXCHANGE, queue.exchange and queue.exchange.name)
        if same_exchange and queue.routing_key == plain_key:
            return {"queue": queue.name}
    return {"exchange": exchange, "routing_key": key}


def _queues(app: Celery) -> Iterator[Queue]:
    yield from app.amqp.queues.values()
