"""Sentry: tells it what its own integration for Celery cannot see, where a process uses that.

Beat opens a check-in for a tick, and the integration closes it when the task of the tick has succeeded or
failed; a tick that is skipped does neither. The integration also leaves out the errors that a task declares
as expected, and we declare `LockBusy` as one, for the sake of the log. We never import ``sentry_sdk``.
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
    """Close the check-in of a tick that is skipped; never raises.

    Args:
        headers: Of its message.
    """
    flat = {**(headers or {}), **((headers or {}).get("headers") or {})}
    if _ID not in flat:
        return
    try:
        _close(flat)
    except Exception as error:  # noqa: BLE001 - monitoring must break nothing
        logger.debug("sentry: a check-in is not closed: %r", error)


def report(error: Exception) -> None:
    """Report an error that the task declares as expected; never raises."""
    try:
        if _integration() is not None:
            _module().capture_exception(error)
    except Exception as unreported:  # noqa: BLE001 - monitoring must break nothing
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
