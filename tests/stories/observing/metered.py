"""Metered: the worker whose runs are counted, what a test has it do, and what is then to be counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.request import urlopen

from celery.result import AsyncResult
from prometheus_client.parser import text_string_to_metric_families

from celery_redislock.config.provider import provider_of
from celery_redislock.engine import inspect, store_of
from celery_redislock.observing import zeros
from celery_redislock.observing.metrics import COUNTER, METRICS

from ...support.deadlines import eventually
from ...support.exported import Exported
from ...support.journal import Journal
from ...support.workers import Worker
from . import metered_app

#: How long anything may take, seconds.
BOUND = 30.0


class Page:
    """The page that a process serves, found by the line in its log."""

    def __init__(self, log: str) -> None:
        found = re.search(r"metrics at http://[\d.]+:(\d+)/metrics", log)
        assert found, log
        self._url = f"http://127.0.0.1:{found[1]}/metrics"

    def all(self) -> dict[tuple[str, ...], float]:
        """Return the value of each series of ours; its labels are in the order of the alphabet."""
        with urlopen(self._url, timeout=10) as answer:
            families = [*text_string_to_metric_families(str(answer.read(), "utf-8"))]
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
            if sample.name.startswith("redislock_")
        }

    def counted(self) -> dict[tuple[str, ...], float]:
        """Return what is not 0, but for seconds and for what a test does not control."""
        return {
            key: value
            for key, value in self.all().items()
            if value
            and not key[0].endswith(("_bucket", "_sum"))
            and not key[0].startswith("redislock_renewal")
        }


class Metered:
    """A worker, what a test has it do, and what is to be counted for it."""

    def __init__(self, worker: Worker, store: str) -> None:
        self.worker, self.page, self.journal = worker, Page(worker.log()), Journal(store)
        self.expected: dict[tuple[str, ...], float] = {}
        # Other tests have had bodies with the same keys.
        self.journal.client.delete("begun")

    def expect(self, times: float, *series: str) -> None:
        """Note that this is to be counted so often."""
        name, *labels = series
        key = (f"redislock_{name}", *labels)
        self.expected[key] = self.expected.get(key, 0) + times

    def expect_runs(self, task: str, times: int, *, waited: int = 0, died: int = 0) -> None:
        """Note that a task is to get its lock so often, of those after a wait, and with a child that died."""
        for how, count in (("at_once", times - waited), ("waited", waited)):
            if count:
                self.expect(count, "acquired_total", how, task)
        self.expect(times, "wait_seconds_count", task)
        if times > died:
            self.expect(times - died, "hold_seconds_count", task)

    def is_counted(self) -> None:
        """Return when what is counted is what is expected."""
        with suppress(AssertionError):
            eventually(lambda: not self.differs(), 15)
        assert self.differs() == {}, "of each: expected, and counted"

    def differs(self) -> dict[tuple[str, ...], tuple[float, float]]:
        """Return what is expected and what is counted, where it is not the same."""
        counted, expected = self.page.counted(), self.expected
        return {
            series: (expected.get(series, 0), counted.get(series, 0))
            for series in expected | counted
            if expected.get(series, 0) != counted.get(series, 0)
        }

    @contextmanager
    def held(self, task: Any, key: str, runs_after: int = 0) -> Iterator[None]:
        """Have a run hold the lock of this key; `runs_after` others get it afterwards."""
        self.expect_runs(task.name, 1 + runs_after)
        holder = task.delay(key, "wait")
        self.wait_until_begun(key)
        yield
        self.journal.open(key)
        holder.get(timeout=BOUND)

    def wait_until_begun(self, key: str) -> None:
        """Return when a body that waits for something has begun."""
        eventually(lambda: key in self.journal.client.lrange("begun", 0, -1), BOUND)

    def ended(self, task: Any, key: str, step: str = "go_on", times: int = 1) -> list[str]:
        """Call a task so often, and return the states of the results, sorted."""
        results = [task.delay(key, step) for _ in range(times)]
        return states(results)


def states(results: list[AsyncResult[Any]]) -> list[str]:
    for result in results:
        result.get(timeout=BOUND, propagate=False)
    return sorted(result.state for result in results)


def everything_is_zero(it: Metered) -> None:
    shown = it.page.all()
    expected = {
        (metric.name, *(value for _, value in sorted(zip(metric.labels, labels, strict=True))))
        for metric, labels in zeros.of_worker(metered_app.app)
        if not metric.buckets
    }
    assert expected <= shown.keys()
    assert set(shown.values()) == {0}


def runs_end(it: Metered) -> None:
    it.expect_runs("returns", 10)
    for number in range(10):
        metered_app.returns.delay(f"r{number}", "fail" if number < 3 else "go_on")


def conflicts_are_met(it: Metered) -> None:
    with it.held(metered_app.skips, "s"):
        it.expect(3, "conflicts_total", "skip", "false", "skips")
        assert it.ended(metered_app.skips, "s", times=3) == ["REVOKED"] * 3
    with it.held(metered_app.fails, "f"):
        it.expect(2, "conflicts_total", "fail", "false", "fails")
        assert it.ended(metered_app.fails, "f", times=2) == ["FAILURE"] * 2
    with it.held(metered_app.shadow, "x"):
        it.expect(2, "conflicts_total", "skip", "true", "shadow")
        assert it.ended(metered_app.shadow, "x", times=2) == ["SUCCESS"] * 2


def a_run_comes_again(it: Metered) -> None:
    with it.held(metered_app.retries, "t", runs_after=1):
        result = metered_app.retries.delay("t", "go_on")
        eventually(lambda: it.page.all()["redislock_conflicts_total", "retry", "false", "retries"], BOUND)
    assert states([result]) == ["SUCCESS"]
    # On a busy machine it may come back before the lock is free.
    it.expect(it.worker.log().count("] retry: lock"), "conflicts_total", "retry", "false", "retries")


def runs_are_merged(it: Metered) -> None:
    with it.held(metered_app.merges, "c", runs_after=1):
        results = [metered_app.merges.delay("c", "go_on") for _ in range(3)]
        eventually(
            lambda: it.page.all()["redislock_conflicts_total", "coalesce", "false", "merges"] == 3, BOUND
        )
    it.expect(3, "conflicts_total", "coalesce", "false", "merges")
    it.expect(2, "conflicts_total", "superseded", "false", "merges")
    assert states(results) == ["REVOKED", "REVOKED", "SUCCESS"]


def a_run_waits(it: Metered) -> None:
    it.expect_runs("waits", 2, waited=1)
    holder = metered_app.waits.delay("w", "wait")
    it.wait_until_begun("w")
    result = metered_app.waits.delay("w", "go_on")
    eventually(lambda: waiters_of("w") == 1, BOUND, "it should wait")
    it.journal.open("w")
    assert states([holder, result]) == ["SUCCESS"] * 2


def waiters_of(key: str) -> int:
    store = store_of(provider_of(metered_app.app).client)
    seen = inspect(store, metered_app.waits.lock_name(key, ""))
    return seen.waiters if seen else 0


def a_lock_is_lost(it: Metered) -> None:
    it.expect_runs("loses", 1)
    it.expect(1, "lost_total", "forced", "loses")
    result = metered_app.loses.delay("l", "wait_for_the_loss")
    it.wait_until_begun("l")
    metered_app.loses.lock_for("l", "").force_release()
    assert states([result]) == ["SUCCESS"]


def last_numbers(exported: Exported, kind: str = COUNTER) -> dict[tuple[str, ...], float]:
    """Return what the processes exported last of a kind, added up, as `Page.counted` returns it."""
    last: dict[Any, Any] = {}
    for told in exported.told("metrics"):
        for resource in told["resource_metrics"]:
            last[resource["resource"]["attributes"].get("service.instance.id")] = resource
    shown: Counter[tuple[str, ...]] = Counter()
    for resource in last.values():
        shown.update(_numbers_in(resource, kind))
    return dict(shown)


def _numbers_in(resource: dict[str, Any], kind: str) -> dict[tuple[str, ...], float]:
    names = {metric.otel_name: metric.name for metric in METRICS if metric.kind == kind}
    shown = {
        (names[metric["name"]], *(value for _, value in sorted(point["attributes"].items()))): point["value"]
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
        if metric["name"] in names
        for point in metric["data"]["data_points"]
    }
    return {key: value for key, value in shown.items() if not key[0].startswith("redislock_renewal")}
