"""Facts: what an event tells, as the flat fields that log lines and Celery events have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..events import Acquired, Conflicted, Forced, Lost, Orphaned, Released, Waiting
from ..log_fields import of_holder

__all__ = ["facts_of"]


def facts_of(event: Any) -> dict[str, Any]:
    """Return the facts of an event, those that are known; see ``log_fields.py``.

    Raises:
        KeyError: Events of this kind have none.
    """
    facts = _FACTS[type(event)](event)
    return {name: value for name, value in facts.items() if value is not None}


def _acquired(event: Acquired) -> dict[str, Any]:
    own = _own(event, "acquired")
    # Several locks have a number each.
    number = getattr(event.lock, "fencing_token", None)
    return {**own, "waited": round(event.waited_s, 3), "fencing_token": number}


def _released(event: Released) -> dict[str, Any]:
    return {**_own(event, "released"), "held_for": round(event.held_s, 3)}


def _waiting(event: Waiting) -> dict[str, Any]:
    return {**_own(event, "waits"), **of_holder(event.holder)}


def _lost(event: Lost) -> dict[str, Any]:
    return {**_own(event, "lost"), "reason": event.reason}


def _conflicted(event: Conflicted) -> dict[str, Any]:
    call = _call(event, event.lock_name, event.action)
    waited = round(event.waited_s, 3) if event.waited_s else None
    return {**call, "shadow": event.is_shadow, "waited": waited, **of_holder(event.holder)}


def _orphaned(event: Orphaned) -> dict[str, Any]:
    return {**_call(event, event.lock_name, "orphaned"), "reason": event.by}


def _forced(event: Forced) -> dict[str, Any]:
    return {"lock": event.lock_name, "action": "forced", **of_holder(event.holder)}


_FACTS: dict[type[Any], Callable[[Any], dict[str, Any]]] = {
    Acquired: _acquired,
    Released: _released,
    Waiting: _waiting,
    Conflicted: _conflicted,
    Lost: _lost,
    Orphaned: _orphaned,
    Forced: _forced,
}


def _own(event: Acquired | Released | Waiting | Lost, action: str) -> dict[str, Any]:
    return _call(event, event.lock.name, action)


def _call(event: Any, lock_name: str, action: str) -> dict[str, Any]:
    return {"lock": lock_name, "task": event.task.name, "task_id": str(event.task_id), "action": action}
