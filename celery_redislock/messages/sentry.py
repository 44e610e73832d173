"""Sentry: what its own integration for Celery cannot see, where a process uses that; never imported by us.

It closes the check-in that beat opened for a tick when Celery says that a task has succeeded or failed. Of
a tick that is skipped Celery says neither. And it leaves out what a task declares as expected: `LockBusy`
is declared so by us, for the sake of the log.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)

_SLUG, _ID, _CONFIG, _START = (
    "sentry-monitor-slug",
    "sentry-monitor-check-in-id",
    "sentry-monitor-config",
    "sentry-monitor-start-timestamp-s",
)


def close_check_in(headers: Mapping[str, Any] | None) -> None:
    """Close the check-in of a tick that does not run, and had not to; never raises.

    Args:
        headers: Of its message.
    """
    flat = {**(headers or {}), **((headers or {}).get("headers") or {})}
    if _ID not in flat:
        return
    try:
        _close(flat)
    except Exception as error:  # noqa: BLE001 - who watches breaks nothing
        logger.debug("sentry: a check-in is not closed: %r", error)


def report(error: Exception) -> None:
    """Tell of an error that Celery is told to expect; never raises."""
    try:
        if _integration() is not None:
            _module().capture_exception(error)
    except Exception as unreported:  # noqa: BLE001 - who watches breaks nothing
        logger.debug("sentry: an error is not reported: %r", unreported)


def _close(headers: Mapping[str, Any]) -> None:
    if not getattr(_integration(), "monitor_beat_tasks", False):
        return
    started = headers.get(_START)
    _module().crons.capture_checkin(
        monitor_slug=headers[_SLUG],
        check_in_id=headers[_ID],
        monitor_config=headers.get(_CONFIG) or {},
        duration=time.time() - float(started) if started else None,
        status="ok",
    )


def _integration() -> Any:
    """Return the integration of this process; None where there is none."""
    module = _module()
    return module.get_client().get_integration("celery") if module is not None else None


def _module() -> Any:
    return sys.modules.get("sentry_sdk")
