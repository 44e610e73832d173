"""Named: the Redis key of a call's lock, as its message carries it.

Who publishes a call names its lock. The worker, the worker's parent, and whoever publishes the message
again go by that name: so they never disagree, whatever their version of the function and its options,
and whatever a serializer made of the arguments.

A name counts for the one message that it was written for: for its task and its id. Celery copies headers
into retries and replacements, and users copy them into other calls: so `apply_async` names each call anew,
unless the message is known to be the same, see ``again.py``. A key without this app's prefix does not count
either: a message can make nobody take the lock of another app, or touch any other key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .plan import Plan

__all__ = ["NAME_HEADER", "key_of_message", "key_to_publish", "naming_headers", "without_name"]

#: Header of a message: the Redis key of its call's lock.
NAME_HEADER = "redislock_name"
#: What the name was written for: the task and the id of the message.
NAMED_HEADER = "redislock_named"


def key_of_message(
    plan: Plan, headers: Mapping[str, Any] | None, task_id: str | None, args: Any, kwargs: Any
) -> str:
    """Return the key of the lock of a message: the one that it carries, else the one that its call has.

    Raises:
        TypeError: It carries none, and its arguments do not fit the function.
        LockKeyError: It carries none, and its arguments give none.
    """
    key = _carried(plan, headers, task_id)
    return key if key is not None else plan.key(args, kwargs)


def key_to_publish(
    plan: Plan,
    headers: Mapping[str, Any] | None,
    task_id: str | None,
    args: Any,
    kwargs: Any,
    *,
    as_it_was: bool,
) -> str | None:
    """Return the key of the lock of a call that is about to be published; None where it gives none here.

    Celery sends a call all the same, and the worker decides about it.

    Args:
        plan: Of the call.
        headers: Those with which it is published.
        task_id: Its id; None: a new one.
        args: Of the call.
        kwargs: Of the call.
        as_it_was: It was published before, and keeps its name.
    """
    if plan.options.mode == "off":
        return None
    key = _carried(plan, headers, task_id) if as_it_was else None
    if key is not None:
        return key
    try:
        return plan.key(args, kwargs)
    except Exception:  # noqa: BLE001 - objects that the user's serializer knows may raise anything
        return None


def naming_headers(
    plan: Plan, headers: Mapping[str, Any] | None, task_id: str, key: str | None
) -> dict[str, Any]:
    """Return the headers of a message that names the lock with this key; or that names none."""
    others = without_name(headers)
    if key is not None:
        others[NAME_HEADER], others[NAMED_HEADER] = key, _written_for(plan, task_id)
    return others


def without_name(headers: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return headers that name no lock."""
    others = dict(headers or {})
    others.pop(NAME_HEADER, None)
    others.pop(NAMED_HEADER, None)
    return others


def _carried(plan: Plan, headers: Mapping[str, Any] | None, task_id: str | None) -> str | None:
    """Return the key in the headers of a message, if it counts for it."""
    key = headers.get(NAME_HEADER) if headers else None
    if not headers or not isinstance(key, str):
        return None
    is_ours = key.startswith(plan.prefix) and len(key) > len(plan.prefix)
    return key if is_ours and headers.get(NAMED_HEADER) == _written_for(plan, task_id) else None


def _written_for(plan: Plan, task_id: str | None) -> str:
    return f"{plan.naming.task_name} {task_id}"
