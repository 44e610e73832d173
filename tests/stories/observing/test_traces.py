"""Traces: OpenTelemetry, set up as the page says, shows which run waited, and for whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...support.deadlines import eventually
from ...support.workers import running_worker
from .traced import Traced

SECRET = 7_654_321


def traceparent(number: int) -> str:
    """Return the place of a publisher in a trace of its own."""
    return f"00-{number:032x}-{number:016x}-01"


def links_of(span: dict[str, Any], what: str) -> set[str]:
    """Return the ids of the spans to which a span is linked for one reason."""
    links = [link for link in span["links"] if link["attributes"].get("redislock.link") == what]
    return {link["context"]["span_id"] for link in links}


def test_a_conflict_is_linked_to_the_run_that_has_the_lock_in_another_process(
    traced: Traced, tmp_path: Path
) -> None:
    until, task = tmp_path / "until", traced.task("holds")
    holder = task.delay(SECRET, str(until))
    eventually(lambda: task.lock_for(SECRET, "").locked())
    met = task.delay(SECRET, str(until))
    (skipped,) = traced.runs(met.id)
    until.touch()
    holder.get(timeout=20)

    (held,) = traced.runs(holder.id)
    acquire = traced.acquire(skipped)
    assert links_of(acquire, "holder") == {held["context"]["span_id"]}
    assert acquire["attributes"]["redislock.holder_id"] == holder.id
    assert skipped["start_time"] <= acquire["start_time"] <= acquire["end_time"] <= skipped["end_time"]
    assert traced.acquires(held) == [], "it got its lock at once"
    for span in (held, acquire):
        assert span["attributes"]["redislock.name"] == "redislock:holds:{number}"


def test_a_coalesced_run_goes_on_in_the_trace_of_its_trigger_and_is_linked_to_the_others(
    traced: Traced, tmp_path: Path
) -> None:
    until, task = tmp_path / "until", traced.task("coalesced")
    task.delay(str(until))
    eventually(lambda: task.lock_for("").locked())
    triggers = []
    for number in (1, 2, 3):
        trigger = task.apply_async((str(until),), headers={"traceparent": traceparent(number)})
        traced.runs(trigger.id)
        triggers.append(trigger)
    until.touch()

    triggers[-1].get(timeout=20)

    *_, ran = traced.runs(triggers[-1].id, at_least=2)
    assert ran["context"]["trace_id"] == f"0x{3:032x}"
    assert links_of(ran, "superseded") == {f"0x{number:016x}" for number in (1, 2)}


def test_what_a_process_has_not_exported_yet_is_exported_at_its_end(traced: Traced, tmp_path: Path) -> None:
    task = traced.task("holds")
    never = {"OTEL_BSP_SCHEDULE_DELAY": "600000", "OTEL_METRIC_EXPORT_INTERVAL": "600000"}
    apart = running_worker(
        "tests.stories.observing.traced_app",
        env={**traced.env, **never},
        concurrency=1,
        args=("-Q", "apart"),
    )

    with apart, task.lock_for(3, ""):
        skipped = task.apply_async((3, ""), queue="apart")
        eventually(lambda: skipped.state == "REVOKED", within=20)

    (run,) = traced.runs(skipped.id)
    assert traced.acquire(run)["attributes"]["redislock.outcome"] == "skip"
    process = run["resource"]["attributes"]["service.instance.id"]
    (point,) = traced.numbers("redislock.conflicts")[process]
    assert point["attributes"] == {"task": "holds", "action": "skip", "shadow": "false"}
    assert point["value"] == 1


def test_what_each_process_has_counted_is_exported_by_it(traced: Traced) -> None:
    task = traced.task("retried")
    for _ in range(4):
        task.delay().get(timeout=20)

    def counted() -> int:
        points = [point for each in traced.numbers("redislock.acquired").values() for point in each]
        return sum(point["value"] for point in points if point["attributes"]["task"] == "retried")

    def have_run() -> int:
        outcomes = [span["attributes"].get("redislock.outcome") for span in traced.spans("run/retried")]
        return sum(outcome in ("at_once", "waited") for outcome in outcomes)

    eventually(lambda: counted() == have_run() >= 4, within=20)
