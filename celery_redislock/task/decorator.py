"""locked_task: the decorator that makes a function a locked task."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Literal, TypeVar, overload

from celery import Celery, Task, shared_task

from .base_class import BASE
from .locked_task import LockedTask
from .typed import Locked, LockedOfBase, P, R, TaskOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: What a bound function takes first. Nothing but a task: who forgets `self` is told.
Self = TypeVar("Self", bound="Task[Any, Any]")


@overload
def locked_task(function: Callable[P, R], /) -> Locked[P, R]: ...


@overload
def locked_task(
    *, app: Celery | None = None, bind: Literal[True], base: None = None, **options: Unpack[TaskOptions]
) -> Callable[[Callable[Concatenate[Self, P], R]], Locked[P, R]]: ...


@overload
def locked_task(
    *,
    app: Celery | None = None,
    bind: Literal[False] = False,
    base: None = None,
    **options: Unpack[TaskOptions],
) -> Callable[[Callable[P, R]], Locked[P, R]]: ...


@overload
def locked_task(
    *, app: Celery | None = None, bind: Literal[True], base: type | str, **options: Unpack[TaskOptions]
) -> Callable[[Callable[Concatenate[Self, P], R]], LockedOfBase[P, R]]: ...


@overload
def locked_task(
    *,
    app: Celery | None = None,
    bind: Literal[False] = False,
    base: type | str,
    **options: Unpack[TaskOptions],
) -> Callable[[Callable[P, R]], LockedOfBase[P, R]]: ...


def locked_task(function: Any = None, /, *, app: Celery | None = None, **options: Any) -> Any:
    """Make a function a task that never runs twice at once for the same arguments.

    Short for ``shared_task(base=LockedTask, ...)``, or with `app` for ``app.task(base=LockedTask, ...)``::

        @locked_task(lock_args=["path"], lock_ttl=30, bind=True)
        def import_csv(self, path): ...

    Args:
        function: The function, when used without parentheses.
        app: The app. None means the current app, as with Celery's `shared_task`.
        **options: Lock options (``lock_<x>``) and every task option of Celery. A `base`, a class or its
            dotted path, is combined with `LockedTask`. Without a `base` the app's own task class is.

    Raises:
        ConfigurationError: An option is wrong. Celery may register a task later than it is declared: then
            it is raised when the app is finalized.
    """
    given = options.pop("base", None) or LockedTask
    if isinstance(given, type) and issubclass(given, LockedTask):
        options["base"] = given
    else:
        options |= {"base": LockedTask, BASE: given}
    decorate = shared_task(**options) if app is None else app.task(**options)
    return decorate if function is None else decorate(function)
