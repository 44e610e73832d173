"""Coroutines: functions whose body runs after their call has returned, when the lock is given back.

Celery calls a task and awaits nothing. In a worker such a body never runs, and where results are ignored the
task succeeds all the same; an eager call runs it without its lock.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType
from typing import Any

from celery import Task

from ..errors import ConfigurationError

_KINDS: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (inspect.iscoroutinefunction, "an async def"),
    (inspect.isasyncgenfunction, "an async def with yield"),
    (inspect.isgeneratorfunction, "a def with yield"),
)


def refuse_function(task_class: type, task_name: str, call: Callable[..., Any]) -> None:
    """Refuse a task whose function is a coroutine or a generator.

    Args:
        task_class: The task's class.
        task_name: For the message.
        call: The ``__call__`` of the task: one of the user's may run the body to its end.

    Raises:
        ConfigurationError: It is.
    """
    function = _written_by_the_user(inspect.getattr_static(task_class, "run"))
    kind = next((kind for is_one, kind in _KINDS if is_one(function)), None)
    if kind is not None and call is vars(Task)["__call__"]:
        raise _refusal(task_name, f"{function.__name__}() is {kind}")


#: What a call returns whose body has not run.
UNSTARTED = (CoroutineType, AsyncGeneratorType)


def result_of(task: Any, returned: Any) -> Any:
    """Return what a call has returned, if its body has run: a decorator hides that a function is a coroutine.

    Raises:
        ConfigurationError: It is `UNSTARTED`.
    """
    if not isinstance(returned, UNSTARTED) or task.plan_for().options.mode != "on":
        return returned
    if isinstance(returned, CoroutineType):
        returned.close()  # or Python warns that nobody has awaited it
    raise _refusal(task.name, f"its function has returned a {type(returned).__name__}")


def _refusal(task_name: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"task {task_name!r}: {what}, which Celery does not run to its end: the body would run without "
        "the lock, or never. Write a def that runs it, with asyncio.run(...) or a loop, or a base= whose "
        '__call__ does; or set lock_mode="off"'
    )


def _written_by_the_user(run: Any) -> Any:
    """Return the function without what Celery puts around it for ``pydantic=True``."""
    function = run.__func__ if isinstance(run, staticmethod) else run
    module = getattr(function, "__globals__", {}).get("__name__", "")
    return (
        function.__wrapped__
        if module.startswith("celery.") and hasattr(function, "__wrapped__")
        else function
    )
