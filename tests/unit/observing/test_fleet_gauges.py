"""Fleet gauges: OpenTelemetry is told what Prometheus is told, by one look for each collection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from opentelemetry import metrics as api
from opentelemetry.sdk.metrics import MeterProvider

from celery_redislock.config.provider import provider_of
from celery_redislock.observing.fleet import METRICS, Fleet, Look, Row
from celery_redislock.observing.fleet_gauges import FleetGauges, has_provider

from ...support.applications import busy, locked
from ...support.telemetry import Recorded


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    with pytest.MonkeyPatch.context() as patch:
        recorded = Recorded(patch)
        yield recorded
        recorded.close()


def test_locks_in_redis_are_observed(app: Celery, recorded: Recorded) -> None:
    task = locked(app, lambda: None, name="t")
    FleetGauges(api, Fleet(provider_of(app), lambda: ["t", "idle"]))

    with busy(task):
        held = recorded.values("redislock.held")

    assert held == {(("task", "t"),): 1, (("task", "idle"),): 0}


def test_one_collection_is_one_look_and_tells_what_prometheus_is_told(
    app: Celery, recorded: Recorded
) -> None:
    looks: list[int] = []

    def look(*_: Any) -> Look:
        looks.append(1)
        return Look({"t": Row(held=2, waiters=1, oldest_wait_s=1.5, oldest_hold_s=3.0)})

    fleet = Fleet(provider_of(app), list, look)
    FleetGauges(api, fleet)

    observed = recorded.collected()

    assert looks == [1]
    told = {metric.otel_name: (metric.labels, values) for metric, values in fleet.values()}
    assert observed.keys() == told.keys() == {metric.otel_name for metric in METRICS}
    for name, (labels, values) in told.items():
        assert observed[name] == {
            tuple(zip(labels, given, strict=True)): value for given, value in values.items()
        }


def test_while_redis_is_away_only_that_is_observed(app: Celery, recorded: Recorded) -> None:
    FleetGauges(api, Fleet(provider_of(app), list, lambda *_: Look(None)))

    assert recorded.collected() == {"redislock.up": {(): 0}}


@pytest.mark.parametrize("provider", [api.NoOpMeterProvider(), MeterProvider()], ids=["none", "the SDK's"])
def test_a_process_without_a_provider_records_nothing(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "get_meter_provider", lambda: provider)

    assert has_provider(api) == isinstance(provider, MeterProvider)
