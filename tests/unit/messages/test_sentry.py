"""Sentry: it is told only where its own integration is on, and whatever it answers breaks nothing."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from celery_redislock import LockBusy
from celery_redislock.messages import sentry

HEADERS = {
    "sentry-monitor-slug": "nightly",
    "sentry-monitor-check-in-id": "c1",
    "sentry-monitor-config": {"timezone": "UTC"},
    "sentry-monitor-start-timestamp-s": "1.0",
}


class Sdk(SimpleNamespace):
    """As much of ``sentry_sdk`` as is used, and what it was told."""

    def __init__(self, integration: Any) -> None:
        self.told: list[Any] = []
        super().__init__(
            get_client=lambda: SimpleNamespace(get_integration={"celery": integration}.get),
            capture_exception=self.told.append,
            crons=SimpleNamespace(capture_checkin=lambda **said: self.told.append(said)),
        )


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Sdk:
    """Give one whose integration watches beat."""
    made = Sdk(SimpleNamespace(monitor_beat_tasks=True))
    monkeypatch.setitem(sys.modules, "sentry_sdk", made)  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize("headers", [HEADERS, {"headers": HEADERS}])
def test_a_check_in_is_closed_as_it_was_opened(sdk: Sdk, headers: dict[str, Any]) -> None:
    sentry.close_check_in(headers)

    (said,) = sdk.told
    assert said.pop("duration") > 0
    assert said == {
        "monitor_slug": "nightly",
        "check_in_id": "c1",
        "monitor_config": {"timezone": "UTC"},
        "status": "ok",
    }


@pytest.mark.parametrize("headers", [None, {}, {"sentry-monitor-slug": "nightly"}, {"headers": None}])
def test_what_opened_no_check_in_closes_none(sdk: Sdk, headers: Any) -> None:
    sentry.close_check_in(headers)

    assert sdk.told == []


@pytest.mark.parametrize("integration", [None, SimpleNamespace(monitor_beat_tasks=False)])
def test_whose_integration_closes_none_has_none_closed(
    monkeypatch: pytest.MonkeyPatch, integration: Any
) -> None:
    made = Sdk(integration)
    monkeypatch.setitem(sys.modules, "sentry_sdk", made)  # type: ignore[arg-type]

    sentry.close_check_in(HEADERS)

    assert made.told == []


def test_an_error_is_reported_where_the_integration_is_on(sdk: Sdk, monkeypatch: pytest.MonkeyPatch) -> None:
    error = LockBusy("l")
    off = Sdk(None)

    sentry.report(error)
    monkeypatch.setitem(sys.modules, "sentry_sdk", off)  # type: ignore[arg-type]
    sentry.report(error)

    assert (sdk.told, off.told) == ([error], [])


@pytest.mark.parametrize("broken", [None, SimpleNamespace()])
def test_nothing_is_raised_where_there_is_none_or_it_is_another_version(
    monkeypatch: pytest.MonkeyPatch, broken: Any
) -> None:
    monkeypatch.setitem(sys.modules, "sentry_sdk", broken)

    sentry.close_check_in(HEADERS)
    sentry.report(LockBusy("l"))
