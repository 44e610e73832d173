"""Named: the Redis key of a call's lock, as its message carries it.

Who publishes a call names its lock. The worker, the worker's parent, and whoever publishes the message
again go by that name: so they never disagree, whatever their version of the function and its options,
and whatever a serializer made of the arguments.

A name counts for the one message that it was written for: for its task, its id, and its arguments. Celery
copies headers into retries and replacements, and users copy them into other calls: `apply_async` looks
whether the arguments are still those, and else names the call anew. A key without this app's prefix does
not count either: a message can make nobody take the lock of another app, or touch any other key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import RedislockError
from .plan import Plan

__all__ = ["NAME_HEADER", "key_of_message", "key_to_publish", "naming_headers", "without_name"]

#: Header of a message: the Redis key of its call's lock.
NAME_HEADER = "redislock_name"
#: What the name was written for: the task, the id of the message, and a hash of the arguments.
NAMED_HEADER = "redislock_named"


def key_of_message(
    plan: Plan, headers: Mapping[str, Any] | None, task_id: str | None, args: Any, kwargs: Any
) -> str:
    """Return the key of the lock of a message: the one that it carries, else the one that its call has.

    Raises:
        TypeError: It carries none, and its arguments do not fit the function.
        LockKeyError: It carries none, and its arguments give none.
    """
    key = _carried(plan, headers, f"{plan.naming.task_name} {task_id} ")
    return key if key is not None else plan.key(args, kwargs)


def key_to_publish(
    plan: Plan, headers: Mapping[str, Any] | None, task_id: str, args: Any, kwargs: Any
) -> str | None:
    """Return the key of the lock of a call that is about to be published; None where it gives none here.

    Celery sends a call all the same, and the worker decides about it. A message that comes again as it was,
    with the headers that it had, keeps its name.
    """
    if plan.options.mode == "off":
        return None
    if headers and NAME_HEADER in headers:
        written_for = _written_for(plan, task_id, args, kwargs)
        key = _carried(plan, headers, written_for)
        # What has no hash cannot be told from other arguments.
        if key is not None and not written_for.endswith(" "):
            return key
    try:
        return plan.key(args, kwargs)
    except (RedislockError, TypeError):
        return None


def naming_headers(
    plan: Plan, headers: Mapping[str, Any] | None, task_id: str, args: Any, kwargs: Any, key: str | None
) -> dict[str, Any]:
    """Return the headers of a message that names the lock with this key; or that names none."""
    others = without_name(headers)
    if key is None:
        return others
    return {**others, NAME_HEADER: key, NAMED_HEADER: _written_for(plan, task_id, args, kwargs)}


def without_name(headers: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return headers that name no lock."""
    return {name: value for name, value in (headers or {}).items() if name not in _OURS}


def _carried(plan: Plan, headers: Mapping[str, Any] | None, written_for: str) -> str | None:
    """Return the key in the headers of a message, if it counts for what it was written for."""
    key, named = (headers or {}).get(NAME_HEADER), (headers or {}).get(NAMED_HEADER)
    if not isinstance(key, str) or not isinstance(named, str):
        return None
    is_ours = key.startswith(plan.prefix) and len(key) > len(plan.prefix)
    return key if is_ours and named.startswith(written_for) else None


def _written_for(plan: Plan, task_id: str, args: Any, kwargs: Any) -> str:
    hashed = plan.naming.args_hash(args or (), kwargs or {})
    return f"{plan.naming.task_name} {task_id} {hashed}"


_OURS = frozenset({NAME_HEADER, NAMED_HEADER})
