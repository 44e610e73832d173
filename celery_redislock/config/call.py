"""Call: one call of a task, made once for each message: its plan, its arguments, the name of its lock.

The publisher of a call names its lock, and the message carries the name. The worker, its parent, and a
process that publishes the message again use that name. So all agree, also with other versions of the function
or of its options, and whatever a serializer made of the arguments.

A name counts only for the message that it was written for, by task and id: Celery copies headers into retries
and replacements, and users copy them into other calls. So `apply_async` names each call anew, unless the
message was published before as it is, see ``task/resent.py``. Nor does a name count without the app's prefix:
no message can make a worker take the lock of another app, or touch any other key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

from celery.utils import uuid

from ..messages.headers import CALL_HEADER, NAME_HEADER, NAMED_HEADER
from .plan import Plan, Planned

__all__ = ["Call", "name_as_sent", "without_name"]


class Call:
    """One call of a locked task.

    Args:
        task: The task.
        plan: What holds for this call.
        args: Positional arguments, as they were given.
        kwargs: Keyword arguments, as they were given.
        task_id: Of its message.
        carried: The name of its lock that its message carries, or the names of several; None: the arguments
            give them, once they are asked for.
    """

    __slots__ = ("_carried", "args", "kwargs", "plan", "task", "task_id")

    def __init__(
        self,
        task: Planned,
        plan: Plan,
        args: Any,
        kwargs: Any,
        task_id: Any,
        carried: str | tuple[str, ...] | None = None,
    ) -> None:
        self.task, self.plan, self.task_id = task, plan, task_id
        self.args, self.kwargs = args, kwargs
        self._carried = carried

    @classmethod
    def received(cls, task: Planned, plan: Plan, request: Any, args: Any, kwargs: Any) -> Call:
        """Return the call of a message that runs here, or an eager call.

        Args:
            task: The task.
            plan: What holds for this call.
            request: Celery's, of the run. Without a message its headers are copied from the one around, and
                name no lock.
            args: Of the message.
            kwargs: Of the message.
        """
        name = None if request.is_eager else _carried(plan, request.headers, request.id)
        return cls(task, plan, args, kwargs, request.id, name)

    @classmethod
    def in_message(cls, task: Planned, headers: Mapping[str, Any], args: Any, kwargs: Any) -> Call:
        """Return the call of a message that a worker's parent has received.

        Args:
            task: The task.
            headers: Of the message, with the id.
            args: Of the message.
            kwargs: Of the message.

        Raises:
            ConfigurationError: The call's own lock options are wrong.
        """
        plan, task_id = task.plan_for(headers.get(CALL_HEADER)), headers.get("id")
        return cls(task, plan, args, kwargs, task_id, _carried(plan, headers, task_id))

    @classmethod
    def to_publish(
        cls, task: Planned, plan: Plan, args: Any, kwargs: Any, options: Mapping[str, Any], *, is_resent: bool
    ) -> Call:
        """Return a call that is about to be published.

        Args:
            task: The task.
            plan: What holds for this call.
            args: Of the call.
            kwargs: Of the call.
            options: Celery's, with the ``task_id`` if it has one already, and its headers.
            is_resent: Its message was published before, and keeps the name that it carries.
        """
        given = options.get("task_id")
        carried = _carried(plan, options.get("headers"), given) if is_resent else None
        return cls(task, plan, args, kwargs, given or uuid(), carried)

    @property
    def lock_name(self) -> str:
        """The Redis key of its lock.

        Raises:
            TypeError: The call does not fit the function.
            LockKeyError: An argument cannot be made part of a name.
            ConfigurationError: It has several locks.
        """
        name = self._carried
        if not isinstance(name, str):
            name = self._carried = self.plan.lock_name(self.args, self.kwargs)
        return name

    @property
    def lock_names(self) -> tuple[str, ...]:
        """The Redis keys of its locks: of one, or of each of several in the order of the declaration.

        Raises:
            TypeError, LockKeyError: As in `lock_name`.
        """
        if not self.plan.namings:
            return (self.lock_name,)
        names = self._carried
        if not isinstance(names, tuple):
            names = self._carried = self.plan.lock_names(self.args, self.kwargs)
        return names

    @property
    def limits(self) -> tuple[int | None, ...]:
        """How many may hold each of its locks at the same time, in the order of the declaration.

        None: any number where the lock is shared, else one.

        Raises:
            ConfigurationError: A function of the user's gives no limit.
        """
        naming = self.plan.naming
        return tuple(
            sharing.limit_of(naming, self.args or (), self.kwargs or {}) for sharing in self.plan.sharings
        )

    @property
    def args_hash(self) -> str:
        """A hash of its arguments, to tell equal calls."""
        return self.plan.naming.args_hash(self.args or (), self.kwargs or {})

    def publish(self, send: Callable[..., Any], options: Mapping[str, Any]) -> Any:
        """Publish the call with Celery's own `apply_async`.

        An `apply_async` of the user's may change the arguments on the way: see `name_as_sent`.

        Args:
            send: Celery's own.
            options: For `send`, all by name, as `named` returns them.
        """
        token = _published.set(self)
        try:
            return send(self.args, self.kwargs, **options)
        finally:
            _published.reset(token)

    def named(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return Celery's options of this call with its id, and the name of its lock among the headers.

        A call whose arguments give no name here is sent without one, and the worker decides about it.
        """
        headers = without_name(options.get("headers"))
        if self.plan.options.mode != "off":
            try:
                headers[NAME_HEADER] = list(self.lock_names) if self.plan.namings else self.lock_name
            except Exception:  # noqa: BLE001 - objects that the user's serializer knows may raise anything
                return {**options, "task_id": self.task_id, "headers": headers}
            headers[NAMED_HEADER] = f"{self.plan.naming.task_name} {self.task_id}"
        return {**options, "task_id": self.task_id, "headers": headers}


def name_as_sent(headers: Any = None, body: Any = None, **_: Any) -> None:
    """At ``before_task_publish``: name the lock anew if a user's `apply_async` has changed the call."""
    call = _published.get()
    if call is None or not headers or NAME_HEADER not in headers or not isinstance(body, tuple | list):
        return
    args, kwargs = body[:2]
    if headers.get("id") != call.task_id or _are_equal(call, args, kwargs):
        return
    try:
        plan = call.plan
        named = list(plan.lock_names(args, kwargs)) if plan.namings else plan.lock_name(args, kwargs)
        headers[NAME_HEADER] = named
    except Exception:  # noqa: BLE001 - as in `named`
        del headers[NAME_HEADER], headers[NAMED_HEADER]


#: The call that is published in this thread.
_published: ContextVar[Call | None] = ContextVar("redislock_published", default=None)


def _are_equal(call: Call, args: Any, kwargs: Any) -> bool:
    try:
        is_same = list(call.args or ()) == list(args or ())
        return is_same and dict(call.kwargs or {}) == dict(kwargs or {})
    except Exception:  # noqa: BLE001 - what cannot be compared is not known to be the same
        return False


def without_name(headers: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return headers that name no lock."""
    others = dict(headers or {})
    others.pop(NAME_HEADER, None)
    others.pop(NAMED_HEADER, None)
    return others


def _carried(
    plan: Plan, headers: Mapping[str, Any] | None, task_id: str | None
) -> str | tuple[str, ...] | None:
    """Return what the headers of a message carry of names, if it counts for this message."""
    name = headers.get(NAME_HEADER) if headers else None
    if not headers or name is None:
        return None
    # As `Call.named` has written it.
    if headers.get(NAMED_HEADER) != f"{plan.naming.task_name} {task_id}":
        return None
    if not plan.namings:
        return name if _is_ours(plan, name) else None
    # A name for each key, else it was sent by a version of the task with other keys.
    is_complete = isinstance(name, list | tuple) and len(name) == len(plan.namings)
    return tuple(name) if is_complete and all(_is_ours(plan, each) for each in name) else None


def _is_ours(plan: Plan, name: object) -> bool:
    return isinstance(name, str) and name.startswith(plan.prefix) and len(name) > len(plan.prefix)
