"""Again: whether a message that is about to be published is one that was published before, as it was.

Then it keeps the name of its lock. A body may have changed what it was given, and retry with that: so once
it has begun, only what nobody can change is known to be the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from celery import Task

from ..messages.headers import pending_in
from . import run

__all__ = ["is_as_it_was"]

#: What cannot be changed in place.
_UNCHANGING = (str, bytes, int, float, type(None), Decimal, date, time, UUID)


def is_as_it_was(
    task: Task[..., Any], task_id: str | None, args: Any, kwargs: Any, headers: Mapping[str, Any] | None
) -> bool:
    """Whether this is the message of the run that goes on here, or of one that was wanted."""
    if pending_in(headers).get("token"):
        return True
    request = task.request
    if task_id is None or request.id != task_id:
        return False
    begun = run.run_of(request)
    if begun is None or begun.has_called:
        given = [*(args or ()), *(kwargs or {}).values()]
        if not all(isinstance(value, _UNCHANGING) for value in given):
            return False
    try:
        is_same = list(args or ()) == list(request.args or ())
        return is_same and dict(kwargs or {}) == dict(request.kwargs or {})
    except Exception:  # noqa: BLE001 - what cannot be compared is not known to be the same
        return False
