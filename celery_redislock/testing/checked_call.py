"""Checked call: a call of a locked task, as an assertion looks at it: its locks, and what makes them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from inspect import BoundArguments
from typing import Any

from celery import Task
from celery.canvas import Signature

from ..config.plan import Plan, Planned
from ..messages.headers import CALL_HEADER

__all__ = ["CheckedCall"]


class CheckedCall:
    """A call of a locked task.

    Args:
        task: The task.
        args: Positional arguments.
        kwargs: Keyword arguments.
        own_options: The lock options of this call, if it has any.

    Raises:
        AssertionError: The task is not a locked task.
        TypeError: It is not a task, or the arguments do not fit its function.
    """

    def __init__(self, task: Any, args: Iterable[Any], kwargs: Any, own_options: Any = None) -> None:
        __tracebackhide__ = True
        self.task: Planned = locked_task_of(task)
        self.plan: Plan = self.task.plan_for(own_options)
        signature = self.plan.naming.declared.signature
        try:
            self._bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.task.name}() {error}") from None
        for name, default in self.plan.naming.declared.defaults.items():
            self._bound.arguments.setdefault(name, default.value)

    @classmethod
    def of(cls, call: Any) -> CheckedCall:
        """Return the call that a signature stands for, such as ``import_csv.s("a.csv")``.

        Raises:
            AssertionError: Its task is not a locked task.
            TypeError: It is not a signature of one task, or the arguments do not fit its function.
        """
        __tracebackhide__ = True
        if not isinstance(call, Signature) or call.subtask_type:
            raise TypeError(
                f"a call is the signature of one task, such as import_csv.s('a.csv'), not a {_kind_of(call)}"
            )
        headers = call.options.get("headers") or {}
        own_options = call.options.get("lock", headers.get(CALL_HEADER))
        return cls(call.type, call.args, call.kwargs, own_options)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The Redis keys of its locks, in order."""
        return self._keys_of(self._bound)

    @property
    def takes_no_lock(self) -> str:
        """Why a run of it takes no lock, in words; empty: it takes one."""
        return "" if self.plan.runs_locked else self._why_none()

    def differing(self, other: CheckedCall) -> list[str]:
        """Return the arguments that both calls have, and that are not the same."""
        known = self._digest_of(self._bound)
        return [name for name in self._shared(other) if self._digest_of(self._with(name, other)) != known]

    def deciding(self, other: CheckedCall) -> list[str]:
        """Return the arguments which give this call another lock when it gets them from the other one."""
        return [name for name in self._shared(other) if self._keys_of(self._with(name, other)) != self.keys]

    def shown(self) -> str:
        """Return its task and its keys, as a line of a message."""
        return f"{self.task.name} takes {' and '.join(map(repr, self.keys))}"

    def _shared(self, other: CheckedCall) -> list[str]:
        return [name for name in self._bound.arguments if name in other._bound.arguments]

    def _with(self, name: str, other: CheckedCall) -> BoundArguments:
        """Return its arguments, one of them from another call."""
        arguments = {**self._bound.arguments, name: other._bound.arguments[name]}
        in_order = {each: arguments[each] for each in self._bound.signature.parameters if each in arguments}
        return BoundArguments(self._bound.signature, in_order)

    def _keys_of(self, bound: BoundArguments) -> tuple[str, ...]:
        return tuple(sorted(set(self.plan.lock_names(bound.args, bound.kwargs))))

    def _digest_of(self, bound: BoundArguments) -> str:
        return self.plan.naming.args_hash(bound.args, bound.kwargs)

    def _why_none(self) -> str:
        options = self.plan.options
        return 'its lock_mode is "off"' if options.mode == "off" else f'its lock_scope is "{options.scope}"'


def locked_task_of(task: Any) -> Planned:
    """Return a task that is a locked one.

    Raises:
        AssertionError: It is a task without a lock.
        TypeError: It is not a task.
    """
    __tracebackhide__ = True
    found = task._get_current_object() if hasattr(task, "_get_current_object") else task
    if isinstance(found, Planned):
        return found
    if isinstance(found, Task):
        raise AssertionError(  # noqa: TRY004 - the test has found a mistake
            f"task {found.name} is not a locked task: declare it with @locked_task, or with base=LockedTask"
        )
    raise TypeError(f"a task is needed, not a {_kind_of(found)}")


def _kind_of(value: Any) -> str:
    return getattr(value, "subtask_type", None) or type(value).__name__
