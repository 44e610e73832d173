"""Expiry: how long a message may wait, by Celery's options of its call, also if it is published later."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from numbers import Real
from typing import Any

from celery import Celery, Task
from celery.utils.time import maybe_iso8601, maybe_make_aware

#: Options of a call that only the process that makes it can use.
_OF_THIS_PROCESS = ("producer", "connection", "publisher", "router")


def waiting_ms(task: Task[..., Any], options: Mapping[str, Any], queue_ttl_ms: int) -> int:
    """Return how long a message that is published now may wait, milliseconds.

    It may wait until it expires; one that never does, for `queue_ttl_ms` after it is due.

    Args:
        task: Its own `expires` is the default.
        options: Of ``apply_async``: ``countdown``, ``eta``, ``expires``.
        queue_ttl_ms: How long it may wait once it is due.
    """
    expires_s = _seconds_until(options.get("expires", task.expires), task.app)
    if expires_s is not None:
        return max(int(expires_s * 1000), 1)
    # As in Celery, a countdown wins over an eta.
    due_s = _seconds_until(options.get("countdown") or options.get("eta"), task.app) or 0.0
    return max(int(due_s * 1000), 0) + queue_ttl_ms


def lasting(app: Celery, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a call for another process, which publishes it later.

    Times that count from now become dates.
    """
    given = {name: value for name, value in options.items() if name not in _OF_THIS_PROCESS}
    if given.get("countdown"):
        given["eta"] = _date(app, given.pop("countdown"))
    if "expires" in given:
        given["expires"] = _date(app, given["expires"])
    return given


def _date(app: Celery, given: Any) -> Any:
    """Return the date at which a time from now is over; a date as it is."""
    if isinstance(given, Real):
        given = timedelta(seconds=float(given))
    return app.now() + given if isinstance(given, timedelta) else given


def _seconds_until(moment: Any, app: Celery) -> float | None:
    """Return the seconds until a moment, given as seconds, a datetime, or ISO 8601; None: never."""
    if isinstance(moment, Real):
        return float(moment)
    if isinstance(moment, timedelta):
        return moment.total_seconds()
    known: datetime | None = maybe_iso8601(moment)
    if known is None:
        return None
    return (maybe_make_aware(known, app.timezone) - app.now()).total_seconds()
