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

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ..messages.headers import NAME_HEADER, NAMED_HEADER
from .plan import Plan

__all__ = [
    "as_sent",
    "key_of_message",
    "key_to_publish",
    "naming_headers",
    "publishing",
    "without_name",
]


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
    return key if key is not None else _key_here(plan, args, kwargs)


def naming_headers(
    plan: Plan, headers: Mapping[str, Any] | None, task_id: str, key: str | None
) -> dict[str, Any]:
    """Return the headers of a message that names the lock with this key; or that names none."""
    others = without_name(headers)
    if key is not None:
        others[NAME_HEADER], others[NAMED_HEADER] = key, _written_for(plan, task_id)
    return others


@contextmanager
def publishing(plan: Plan, task_id: str, args: Any, kwargs: Any) -> Iterator[None]:
    """Have the message of this id that is published inside named by what it is sent with, see `as_sent`."""
    token = _published.set((plan, task_id, args, kwargs))
    try:
        yield
    finally:
        _published.reset(token)


def as_sent(headers: Any = None, body: Any = None, **_: Any) -> None:
    """At ``before_task_publish``: name the call anew if an `apply_async` of the user's has changed it."""
    here = _published.get()
    if here is None or not headers or NAME_HEADER not in headers or not isinstance(body, tuple | list):
        return
    plan, task_id, args, kwargs = here
    if headers.get("id") != task_id or _are_equal((args, kwargs), body[:2]):
        return
    key = _key_here(plan, *body[:2])
    if key is None:
        del headers[NAME_HEADER], headers[NAMED_HEADER]
    else:
        headers[NAME_HEADER] = key


#: What is published in this thread: its plan and id, and the arguments by which it was named.
_published: ContextVar[tuple[Plan, str, Any, Any] | None] = ContextVar("redislock_published", default=None)


def _are_equal(named: Any, sent: Any) -> bool:
    (args, kwargs), (sent_args, sent_kwargs) = named, sent
    try:
        is_same = list(args or ()) == list(sent_args or ())
        return is_same and dict(kwargs or {}) == dict(sent_kwargs or {})
    except Exception:  # noqa: BLE001 - what cannot be compared is not known to be the same
        return False


def _key_here(plan: Plan, args: Any, kwargs: Any) -> str | None:
    try:
        return plan.key(args, kwargs)
    except Exception:  # noqa: BLE001 - objects that the user's serializer knows may raise anything
        return None


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
