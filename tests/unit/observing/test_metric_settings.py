"""Metric settings: what is wrong is refused by the name of the setting."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from celery import Celery

from celery_redislock import ConfigurationError
from celery_redislock.observing import metric_settings
from celery_redislock.observing.metrics import HOLD_S

from ...support.applications import application

NOWHERE = "redis://localhost:1"


def app_with(**settings: Any) -> Celery:
    return application(NOWHERE, **settings)


def refusal(**settings: Any) -> str:
    with pytest.raises(ConfigurationError) as refused:
        metric_settings.check(app_with(**settings))
    return str(refused.value)


def test_no_metrics_are_wanted_unless_a_setting_asks_for_them() -> None:
    app = app_with()

    metric_settings.check(app)

    assert metric_settings.wanted(app) == ()
    assert metric_settings.port_of(app) is None
    assert metric_settings.hold_buckets_of(app) == HOLD_S


@pytest.mark.parametrize("words", [["prometheus"], ("prometheus", "opentelemetry")])
def test_metrics_are_named_in_a_list(words: Any) -> None:
    app = app_with(redislock_metrics=words)

    metric_settings.check(app)

    assert metric_settings.is_wanted(app, "prometheus")
    assert metric_settings.is_wanted(app, "opentelemetry") == (len(words) == 2)


@pytest.mark.parametrize("words", ["prometheus", ["promtheus"], [1], True, {"prometheus": 1}], ids=repr)
def test_anything_else_is_refused_by_name(words: Any) -> None:
    said = refusal(redislock_metrics=words)

    assert said == 'redislock_metrics setting must be a list of these words: "prometheus", "opentelemetry"'


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    said = refusal(redislock_metrics=["prometheus"])

    assert said.startswith(
        'redislock_metrics setting has "prometheus", but prometheus_client is not installed'
    )
    assert "celery-redislock[prometheus]" in said


@pytest.mark.parametrize("port", ["9100", -1, 65536, True, 1.5], ids=repr)
def test_a_port_is_a_number(port: Any) -> None:
    assert "redislock_metrics_port setting must be a port" in refusal(redislock_metrics_port=port)


def test_hold_buckets_can_be_set() -> None:
    app = app_with(redislock_metrics_hold_buckets=[1, 60])

    assert metric_settings.hold_buckets_of(app) == (1.0, 60.0)


@pytest.mark.parametrize("bounds", [[], [1, 1], [60, 1], [0, 1], ["1"], 60, [float("inf")]], ids=repr)
def test_hold_buckets_rise(bounds: Any) -> None:
    said = refusal(redislock_metrics_hold_buckets=bounds)

    assert said.startswith("redislock_metrics_hold_buckets setting must be a list of rising numbers")
