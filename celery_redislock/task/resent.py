"""Resent: whether a message that is about to be published was published before, with the same arguments.

Then it keeps the name of its lock. A body may have changed its arguments, and retry with them: so once it has
begun, only values that cannot change are known to be the same.
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

__all__ = ["is_resent"]

#: What cannot be changed in place.
_UNCHANGING = (str, bytes, int, float, type(None), Decimal, date, time, UUID)


def is_resent(task: Task[..., Any], args: Any, kwargs: Any, options: Mapping[str, Any]) -> bool:
    """Whether a call is the message of the run that goes on here, or of a pending run.

    Args:
        task: The task.
        args: Of the call.
        kwargs: Of the call.
        options: Celery's options of the call.
    """
    headers, task_id = options.get("headers"), options.get("task_id")
    if pending_in(headers).get("token"):
        return True
    if task_id is None:
        return False
    request = task.request
    if request.id != task_id:
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
