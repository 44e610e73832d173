"""Delivery: how the message of a run was sent and came, so that it can be sent once more as it was."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from celery import Celery
from kombu import Queue
from kombu.serialization import registry  # type: ignore[attr-defined]

from .headers import DELIVERY_HEADER, TOKEN_HEADER

__all__ = ["destination", "how_sent", "how_shown", "noted", "travelling_headers"]

#: Headers that are no part of a call: the broker's own affair, or of one delivery. RabbitMQ drops a message
#: that brings its ``x-death`` along a second time, https://github.com/celery/celery/issues/9867.
_NOT_THE_CALLS = re.compile(
    r"x-(first-|last-)?death.*|x-(delivery|acquired)-count|x-delay|x-opt-.*|x-stream-.*|b?cc|redelivered"
    rf"|{DELIVERY_HEADER}|{TOKEN_HEADER}",
    re.IGNORECASE,
)

#: Properties of a message that a call may give, and that Celery forgets when it sends the call once more.
_PROPERTIES = ("delivery_mode", "MessageGroupId")

#: Messages that RabbitMQ has delayed by itself come from this exchange, with so many bits before their key.
_DELAYED_EXCHANGE = "celery_delayed_delivery"
_DELAY_BITS = re.compile(r"(?:[01]\.){28}")


def noted(message: Any) -> dict[str, Any]:
    """Return what a worker's parent notes of a message, beside its headers."""
    serializer = registry.type_to_name.get(message.content_type)
    return {DELIVERY_HEADER: {"serializer": serializer}} if serializer else {}


def how_sent(request: Any) -> dict[str, Any]:
    """Return the options with which the message of a request was sent, as far as Celery forgets them."""
    said = vars(request)
    properties = said.get("properties") or {}
    return _given(
        serializer=(said.get(DELIVERY_HEADER) or {}).get("serializer"),
        compression=said.get("compression"),
        ignore_result=said.get("ignore_result"),
        **{name: properties.get(name) for name in _PROPERTIES},
    )


def how_shown(request: Any) -> dict[str, Any]:
    """Return how the arguments of a request are shown: its caller may have hidden what no log may have."""
    said = vars(request)
    return _given(argsrepr=said.get("argsrepr"), kwargsrepr=said.get("kwargsrepr"))


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def travelling_headers(headers: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return those headers of a message that belong to the call, and go with it wherever it is sent again."""
    return {name: value for name, value in (headers or {}).items() if not _NOT_THE_CALLS.fullmatch(name)}


def destination(app: Celery, delivery_info: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options that send a message to where it came from."""
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
