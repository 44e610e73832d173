"""Spans: what OpenTelemetry is told of runs and conflicts, read through an exporter in memory."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery
from celery.signals import before_task_publish
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from celery_redislock import ConfigurationError, Holder, RedisLock, locked_batch
from celery_redislock.events import Conflicted, tell
from celery_redislock.messages.headers import PENDING_HEADER
from celery_redislock.observing import spans, traces
from celery_redislock.observing.background import background_here
from celery_redislock.pending.publish import publish_pending
from celery_redislock.worker.start import LockStep

from ...support.applications import application, busy, locked
from ...support.telemetry import Recorded

SECRET = "S3cretValue"


@pytest.fixture
def recorded(app: Celery) -> Iterator[Recorded]:
    """Give what is recorded of the app."""
    app.conf.redislock_traces = True
    with pytest.MonkeyPatch.context() as patch:
        recorded = Recorded(patch)
        yield recorded
        recorded.close()


def run(recorded: Recorded, task: Any, *args: Any, **options: Any) -> Any:
    """Run a task as an instrumentation has it: in a span."""
    with recorded.tracer.start_as_current_span("run"):
        return task.apply(args, **options)


def same_span(one: Any, other: Any) -> bool:
    return (one.trace_id, one.span_id) == (other.trace_id, other.span_id)


@contextmanager
def running(recorded: Recorded, task: Any, *args: Any) -> Iterator[None]:
    """Have a run of a task go on in a thread: its body calls ``wait``, which this function gives it."""
    thread = threading.Thread(target=run, args=(recorded, task, *args))
    thread.start()
    try:
        assert BEGUN.wait(10)
        yield
    finally:
        MAY_END.set()
        thread.join(10)


BEGUN, MAY_END = threading.Event(), threading.Event()


def wait(*_: Any) -> None:
    BEGUN.set()
    assert MAY_END.wait(10)


@pytest.fixture(autouse=True)
def _nothing_has_begun() -> None:
    BEGUN.clear()
    MAY_END.clear()


# ---- a run that gets its lock


def test_a_run_that_gets_its_lock_at_once_has_attributes_and_no_span_of_ours(
    app: Celery, recorded: Recorded
) -> None:
    task = locked(app, lambda: None, name="t")

    run(recorded, task)

    attributes = dict(recorded.span("run").attributes or {})
    assert attributes.pop("redislock.wait_time") >= 0
    assert attributes.pop("redislock.fencing_token") > 0
    assert attributes == {"redislock.outcome": "at_once", "redislock.name": "redislock:t"}
    assert recorded.spans("redislock.acquire") == []


def test_a_run_that_waited_has_a_span_from_its_first_question_to_the_grant(
    app: Celery, recorded: Recorded
) -> None:
    task = locked(app, lambda: None, name="t", lock_wait=10)

    with task.lock_for():
        before_ns = time.time_ns()
        waiting = threading.Thread(target=run, args=(recorded, task))
        waiting.start()
        time.sleep(0.2)
    waiting.join(10)

    around, acquire = recorded.span("run"), recorded.span("redislock.acquire")
    assert acquire.parent == around.context
    assert acquire.kind is trace.SpanKind.INTERNAL
    assert (acquire.attributes or {})["redislock.outcome"] == "waited"
    assert before_ns <= acquire.start_time < acquire.end_time <= around.end_time
    assert acquire.end_time - acquire.start_time >= 0.15e9
    assert (around.attributes or {})["redislock.outcome"] == "waited"
    assert acquire.status.status_code is trace.StatusCode.UNSET


# ---- a conflict


def test_the_span_of_a_conflict_is_linked_to_the_span_of_the_holder(app: Celery, recorded: Recorded) -> None:
    task = locked(app, wait, name="t")

    with running(recorded, task):
        with recorded.tracer.start_as_current_span("skipped"):
            task.apply()
        acquire = recorded.span("redislock.acquire")
        around = recorded.span("skipped")

    (link,) = acquire.links
    assert same_span(link.context, recorded.span("run").context)
    assert link.attributes == {"redislock.link": "holder"}
    assert acquire.parent == around.context
    assert (acquire.attributes or {})["redislock.outcome"] == "skip"
    assert (around.attributes or {})["redislock.outcome"] == "skip"
    assert around.status.status_code is acquire.status.status_code is trace.StatusCode.UNSET


def test_a_holder_that_is_in_no_trace_is_not_linked_but_named(app: Celery, recorded: Recorded) -> None:
    task = locked(app, wait, name="t")

    holding = threading.Thread(target=task.apply, kwargs={"task_id": "the holder"})
    holding.start()
    assert BEGUN.wait(10)
    run(recorded, task)
    MAY_END.set()
    holding.join(10)

    acquire = recorded.span("redislock.acquire")
    assert acquire.links == ()
    assert (acquire.attributes or {})["redislock.holder_id"] == "the holder"


@pytest.mark.parametrize("said", ["", "nonsense", "00-0-0-00", "00-" + "f" * 100_000, 7, None])
def test_whatever_a_holder_says_of_its_trace_breaks_no_span(
    app: Celery, recorded: Recorded, said: Any
) -> None:
    task = locked(app, lambda: None, name="t")
    holder = Holder({"id": "of the holder", "traceparent": said})

    tell(Conflicted(task, "id", "redislock:t", "put_off", holder, "because"))

    assert recorded.span("redislock.acquire").links == ()


def test_a_shadow_says_what_would_have_been_done(app: Celery, recorded: Recorded) -> None:
    task = locked(app, lambda: None, name="t", lock_mode="shadow")

    with busy(task):
        run(recorded, task)

    attributes = recorded.span("redislock.acquire").attributes or {}
    assert attributes["redislock.outcome"] == "skip"
    assert attributes["redislock.shadow"] is True


def test_a_call_that_is_not_published_leaves_the_span_of_its_publisher_alone(
    app: Celery, recorded: Recorded
) -> None:
    task = locked(app, lambda: None, name="t", lock_scope="task")

    with task.lock_for(), recorded.tracer.start_as_current_span("publisher"):
        task.delay()

    publisher, acquire = recorded.span("publisher"), recorded.span("redislock.acquire")
    assert not publisher.attributes
    assert acquire.parent == publisher.context
    assert (acquire.attributes or {})["redislock.outcome"] == "skip"


# ---- names


def test_the_name_of_a_batch_is_shown_as_a_hash(app: Celery, recorded: Recorded, client: redis.Redis) -> None:
    task = locked(app, lambda: None, name="t")
    batch = locked_batch(task.si(), lock_key=f"batch:{SECRET}", lock_on_conflict="skip")

    with RedisLock(client, f"redislock:batch:{SECRET}"):
        batch.delay()

    acquire = recorded.span("redislock.acquire")
    assert SECRET not in acquire.to_json()
    assert (acquire.attributes or {})["redislock.outcome"] == "skip"


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, r"redislock:t:[0-9a-f]{32}"),
        ({"lock_key": "import:{value}"}, r"redislock:import:\{value\}"),
        ({"lock_key": lambda value: f"mine:{value}"}, r"redislock:t:[0-9a-f]{32}"),
    ],
)
def test_no_value_of_an_argument_is_shown(
    app: Celery, recorded: Recorded, options: dict[str, Any], shown: str
) -> None:
    task = locked(app, lambda value: None, name="t", **options)

    run(recorded, task, SECRET)
    with busy(task, SECRET):
        run(recorded, task, SECRET)

    made = [*recorded.spans("run"), recorded.span("redislock.acquire")]
    for span in made:
        assert SECRET not in span.to_json()
        name = (span.attributes or {})["redislock.name"]
        assert re.fullmatch(shown, str(name))
    assert len(made) == 3


def test_the_template_of_one_call_is_shown_for_that_call(app: Celery, recorded: Recorded) -> None:
    task = locked(app, lambda value: None, name="t", lock_key="import:{value}")

    run(recorded, task, SECRET, headers={"redislock": {"key": "other:{value}"}})

    assert (recorded.span("run").attributes or {})["redislock.name"] == "redislock:other:{value}"


# ---- runs that come later


def pend(app: Celery, recorded: Recorded, task: Any, calls: int) -> list[Any]:
    """Have calls meet the busy lock, each sent from a span of its own, and return these spans."""
    sent = []
    with busy(task, 0):
        for number in range(calls):
            with recorded.tracer.start_as_current_span(f"trigger {number}") as span:
                headers = {"traceparent": spans.traceparent()}
                sent.append(span)
            task.apply((number,), headers=headers)
    return sent


def test_a_coalesced_run_is_linked_to_those_that_it_stands_for(app: Celery, recorded: Recorded) -> None:
    task = locked(app, lambda number: number, name="t", lock_args=(), lock_on_conflict="coalesce")
    first, second, third = pend(app, recorded, task, 3)
    published: list[Any] = []

    def publishing(headers: Any = None, **_: Any) -> None:
        published.append((headers, trace.get_current_span().get_span_context()))

    before_task_publish.connect(publishing)
    try:
        publish_pending(app, "redislock:t")
    finally:
        before_task_publish.disconnect(publishing)
    ((headers, in_trace),) = published
    run(recorded, task, 2, task_id=headers["id"], headers={PENDING_HEADER: headers[PENDING_HEADER]})

    assert in_trace.trace_id == third.get_span_context().trace_id, "it goes on in the trace of its trigger"
    links = recorded.span("run").links
    assert {link.context.span_id for link in links} == {
        first.get_span_context().span_id,
        second.get_span_context().span_id,
    }
    assert {str(link.attributes) for link in links} == {str({"redislock.link": "superseded"})}


def test_so_many_links_are_enough(app: Celery, recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "MOST_LINKS", 2)
    task = locked(app, lambda number: number, name="t", lock_args=(), lock_on_conflict="coalesce")
    pend(app, recorded, task, 5)

    run(recorded, task, 9)

    assert len(recorded.span("run").links) == 2


# ---- what a holder shows


def test_a_holder_shows_its_place_in_a_trace_to_machines_only(app: Celery, recorded: Recorded) -> None:
    seen: list[Any] = []
    task = locked(app, lambda: seen.append(task.lock.holder()), name="t")

    run(recorded, task)

    (holder,) = seen
    context = recorded.span("run").context
    version, trace_id, span_id, _ = holder.metadata["traceparent"].split("-")
    assert (version, int(trace_id, 16), int(span_id, 16)) == ("00", context.trace_id, context.span_id)
    assert "traceparent" not in str(holder)


def test_a_holder_in_no_recorded_trace_shows_none(app: Celery, recorded: Recorded) -> None:
    seen: list[Any] = []
    task = locked(app, lambda: seen.append(task.lock.holder()), name="t")
    unsampled = trace.NonRecordingSpan(trace.SpanContext(1, 1, is_remote=False))

    task.apply()
    with trace.use_span(unsampled):
        task.apply()

    assert ["traceparent" in holder.metadata for holder in seen] == [False, False]
    assert spans.traceparent() == ""


# ---- what fails


class Stuck(SpanExporter):
    """An exporter that does not come back until it may."""

    def __init__(self) -> None:
        self.is_asked, self.may_go_on = threading.Event(), threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Block."""
        self.is_asked.set()
        self.may_go_on.wait(30)
        return SpanExportResult.SUCCESS


class InTheRun(spans.Spans):
    """Wrong: makes the span where the run is."""

    def _leave(self, *said: Any) -> None:
        parent, attributes, _, holder = said
        self._make(trace.set_span_in_context(parent), attributes, holder, 1, 2)


@pytest.mark.parametrize(("kind", "waits"), [(spans.Spans, False), (InTheRun, True)])
def test_an_exporter_that_blocks_keeps_no_run_waiting(
    app: Celery, monkeypatch: pytest.MonkeyPatch, kind: type[spans.Spans], waits: bool
) -> None:
    app.conf.redislock_traces = True
    monkeypatch.setattr(spans, "Spans", kind)
    stuck = Stuck()
    recorded = Recorded(monkeypatch, stuck)
    task = locked(app, lambda: None, name="t")

    with busy(task):
        running = threading.Thread(target=task.apply)
        running.start()
        try:
            assert stuck.is_asked.wait(10)
            assert running.is_alive() == waits
        finally:
            stuck.may_go_on.set()
            running.join(10)
    recorded.close()


class Broken(SpanProcessor):
    """A processor that fails."""

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        """Fail."""
        raise RuntimeError("no")


def test_a_tracer_that_fails_touches_no_run(app: Celery, recorded: Recorded) -> None:
    recorded.provider.add_span_processor(Broken())
    task = locked(app, lambda: 1, name="t")

    with busy(task):
        assert task.apply().state == "REVOKED"
    assert background_here().flush(10)
    assert task.apply().get() == 1


def test_an_api_that_fails_touches_no_run(
    app: Celery, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr(trace, "get_current_span", fail)
    task = locked(app, lambda: 1, name="t")

    assert task.apply().get() == 1
    with busy(task):
        assert task.apply().state == "REVOKED"


# ---- the setting


def test_nothing_is_told_without_the_setting() -> None:
    app = application("redis://localhost:1")

    assert traces.destination_of(app) is None
    assert traces.traceparent_of(app) is None


@pytest.mark.parametrize("value", ["yes", 1, []])
def test_a_worker_refuses_anything_but_true_and_false(value: Any) -> None:
    app = application("redis://localhost:1", redislock_traces=value)

    with pytest.raises(ConfigurationError, match="redislock_traces setting must be True or False, not"):
        LockStep(SimpleNamespace(app=app))


def test_a_wrong_setting_costs_no_lock(app: Celery) -> None:
    app.conf.redislock_traces = "yes"
    task = locked(app, lambda number: number, name="t", lock_args=(), lock_on_conflict="coalesce")

    with busy(task, 1):
        pending = task.apply((1,), headers={"traceparent": "there"})
    publish_pending(app, "redislock:t")

    assert pending.state == "RETRY"
    assert task.apply((2,)).get() == 2


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("celery_redislock.observing.spans")
    monkeypatch.setitem(sys.modules, "celery_redislock.observing.spans", None)

    with pytest.raises(ConfigurationError, match=r"install celery-redislock\[opentelemetry\]"):
        traces.destination_of(application("redis://localhost:1", redislock_traces=True))
