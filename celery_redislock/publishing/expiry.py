"""Expiry: until when a message may wait, from Celery's options of its publication; and of a later one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from numbers import Real
from typing import Any

from celery import Celery, Task
from celery.utils.time import maybe_iso8601, maybe_make_aware

#: Options of a call that mean something in the process that makes it only.
_OF_THIS_PROCESS = ("producer", "connection", "publisher", "router")


def waiting_ms(task: Task[..., Any], options: Mapping[str, Any], queue_ttl_ms: int) -> int:
    """Return how long a message that is published now may wait, milliseconds.

    That is until it expires, if it does; else for `queue_ttl_ms` after it is due.

    Args:
        task: Its own `expires` is the default.
        options: Of ``apply_async``: ``countdown``, ``eta``, ``expires``.
        queue_ttl_ms: How long it may wait once it is due.
    """
    expires_s = _seconds_until(options.get("expires", task.expires), task.app)
    if expires_s is not None:
        return max(int(expires_s * 1000), 1)
    # As Celery has it: a countdown wins over an eta.
    due_s = _seconds_until(options.get("countdown") or options.get("eta"), task.app) or 0.0
    return max(int(due_s * 1000), 0) + queue_ttl_ms


def lasting(app: Celery, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a call as they are to be read by another process, which publishes it later.

    Times that count from the call become moments.
    """
    given = {name: value for name, value in options.items() if name not in _OF_THIS_PROCESS}
    if given.get("countdown"):
        given["eta"] = _moment(app, given.pop("countdown"))
    if "expires" in given:
        given["expires"] = _moment(app, given["expires"])
    return given


def _moment(app: Celery, given: Any) -> Any:
    """Return when a time that is counted from now is over; any other as it is."""
    if isinstance(given, Real):
        given = timedelta(seconds=float(given))
    return app.now() + given if isinstance(given, timedelta) else given


def _seconds_until(moment: Any, app: Celery) -> float | None:
    """Return the seconds from now to a moment: a number of seconds, a datetime, or ISO 8601; None: never."""
    if isinstance(moment, Real):
        return float(moment)
    if isinstance(moment, timedelta):
        return moment.total_seconds()
    known: datetime | None = maybe_iso8601(moment)
    if known is None:
        return None
    return (maybe_make_aware(known, app.timezone) - app.now()).total_seconds()
