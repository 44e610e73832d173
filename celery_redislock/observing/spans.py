"""Spans: what OpenTelemetry is told of locks; only ``traces.py`` imports this, where the setting asks for it.

A run that gets its lock at once has no span of ours: the span that is current where it runs, which is that of
its task with OpenTelemetry's instrumentation of Celery, gets attributes. A run that waited, and a call that
met a conflict, also have a span ``redislock.acquire``; that of a conflict is linked to the holder's span.

Our spans begin and end in the thread in the background, with the times at which it happened: an exporter that
blocks keeps no run waiting.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from opentelemetry import context, propagate, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..config.location import key_prefix
from ..config.plan import Planned
from ..events import Acquired, Conflicted
from ..holder import TRACEPARENT, Holder
from ..messages.headers import CALL_HEADER
from .background import background_here

__all__ = ["Spans", "in_trace_of", "traceparent"]

#: Of the span of a wait or a conflict.
ACQUIRE = "redislock.acquire"
OUTCOME, WAIT_TIME, FENCING_TOKEN, NAME = (
    "redislock.outcome",
    "redislock.wait_time",
    "redislock.fencing_token",
    "redislock.name",
)
SHADOW, HOLDER_ID = "redislock.shadow", "redislock.holder_id"
#: Of a link: "holder", "superseded".
LINK = "redislock.link"
#: So many links has a span of a run that stands for others at most.
MOST_LINKS = 20

_TRACEPARENTS = TraceContextTextMapPropagator()


class Spans:
    """Makes attributes and spans of events."""

    def __init__(self) -> None:
        # Of the application's provider, also of one that is set up later.
        self._tracer = trace.get_tracer("celery_redislock")

    def hear(self, event: Any) -> None:
        """Tell the current span of an event, and leave a span of its own to the background."""
        kind = type(event)
        if kind is Acquired:
            self._acquired(event)
        elif kind is not Conflicted:
            return
        elif event.action == "superseded":
            _superseded(event)
        else:
            self._conflicted(event)

    def close(self) -> None:
        """Nothing is left: the application ends its provider."""

    def _acquired(self, event: Acquired) -> None:
        span = trace.get_current_span()
        is_at_once = event.how == "at_once"
        if is_at_once and not span.is_recording():
            return
        attributes: dict[str, Any] = {
            OUTCOME: event.how,
            WAIT_TIME: event.waited_s,
            NAME: shown_name(event.task, event.lock.name, _key_of_run(event.task)),
        }
        fencing_token = getattr(event.lock, "fencing_token", None)
        if fencing_token is not None:
            attributes[FENCING_TOKEN] = fencing_token
        span.set_attributes(attributes)
        if not is_at_once:
            self._leave(span, attributes, event.waited_s, None)

    def _conflicted(self, event: Conflicted) -> None:
        span = trace.get_current_span()
        key = _key_of_run(event.task) if event.conflict is None else event.conflict.options.key
        attributes: dict[str, Any] = {
            OUTCOME: event.action,
            WAIT_TIME: event.waited_s,
            NAME: shown_name(event.task, event.lock_name, key),
            **({SHADOW: True} if event.is_shadow else {}),
        }
        if event.is_published:
            # Else the span is that of the publisher, who goes on.
            span.set_attributes(attributes)
        self._leave(span, attributes, event.waited_s, event.holder)

    def _leave(
        self, parent: trace.Span, attributes: dict[str, Any], waited_s: float, holder: Holder | None
    ) -> None:
        end_ns = time.time_ns()
        start_ns = end_ns - int(waited_s * 1e9)
        # The parent may have ended when it is used.
        around = trace.set_span_in_context(trace.NonRecordingSpan(parent.get_span_context()))
        background_here().put(partial(self._make, around, attributes, holder, start_ns, end_ns))

    def _make(
        self,
        around: context.Context,
        attributes: dict[str, Any],
        holder: Holder | None,
        start_ns: int,
        end_ns: int,
    ) -> None:
        said = {} if holder is None else holder.metadata
        if said.get("id"):
            attributes = {**attributes, HOLDER_ID: said["id"]}
        self._tracer.start_span(
            ACQUIRE,
            around,
            trace.SpanKind.INTERNAL,
            attributes,
            links=_links(_TRACEPARENTS.extract, {TRACEPARENT: str(said.get(TRACEPARENT))}, "holder"),
            start_time=start_ns,
        ).end(end_ns)


def _superseded(event: Conflicted) -> None:
    """Link the run that stands for others to the trigger of one of them."""
    running = str(event.task.request.id)
    span = trace.get_current_span()
    if running == event.task_id:
        span.set_attribute(OUTCOME, "superseded")
    elif running == event.successor and event.headers and len(getattr(span, "links", ())) < MOST_LINKS:
        for link in _links(propagate.extract, event.headers, "superseded"):
            span.add_link(link.context, link.attributes)


def _links(
    extract: Callable[..., context.Context], carrier: Mapping[str, Any], what: str
) -> tuple[trace.Link, ...]:
    """Return the link to the span of which a message or a holder speaks, if it does."""
    linked = trace.get_current_span(extract(carrier, context.Context())).get_span_context()
    return (trace.Link(linked, {LINK: what}),) if linked.is_valid else ()


def _key_of_run(task: Any) -> Any:
    """Return the `lock_key` of the run that goes on here."""
    if not isinstance(task, Planned):
        return None
    headers = task.request.headers
    return task.plan_for(headers.get(CALL_HEADER) if headers else None).options.key


def shown_name(task: Any, lock_name: str, key: Any) -> str:
    """Return the name of a lock without the value of any argument.

    Args:
        task: Whose call it is.
        lock_name: The Redis key.
        key: The `lock_key` of the call; None: the name has only a hash of the arguments.
    """
    is_named_by_us = isinstance(task, Planned)
    if is_named_by_us and key is None:
        return lock_name
    prefix = key_prefix(task.app.conf)
    if is_named_by_us and isinstance(key, str):
        return f"{prefix}{key}"
    return f"{prefix}{task.name}:{hashlib.sha256(lock_name.encode()).hexdigest()[:32]}"


def traceparent() -> str:
    """Return the place of this code in a trace that is recorded; empty: there is none. It never raises."""
    try:
        return _traceparent_of(trace.get_current_span().get_span_context())
    except Exception:  # noqa: BLE001 - whatever it is, it must not reach the run
        return ""


def _traceparent_of(here: trace.SpanContext) -> str:
    if not here.trace_flags.sampled:
        return ""
    # Half of the time that the propagator takes, for each run.
    trace_id, span_id = trace.format_trace_id(here.trace_id), trace.format_span_id(here.span_id)
    return f"00-{trace_id}-{span_id}-{here.trace_flags:02x}"


@contextmanager
def in_trace_of(headers: Mapping[str, Any]) -> Iterator[None]:
    """Go on in the trace of a message with these headers, if that is in one."""
    token = _attached(headers)
    try:
        yield
    finally:
        if token is not None:
            context.detach(token)


def _attached(headers: Mapping[str, Any]) -> Any:
    try:
        return context.attach(propagate.extract(headers))
    except Exception:  # noqa: BLE001 - the call is published all the same, in a trace of its own
        return None
