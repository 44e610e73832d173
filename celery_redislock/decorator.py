"""locked_task: the decorator that makes a function a locked task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

from celery import Celery, shared_task
from celery.result import AsyncResult

from .ancestry import BASE
from .engine import RedisLock
from .task import LockedTask

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class Locked(Protocol[P, R]):
    """A locked task to a type checker: called and published with the function's own arguments."""

    name: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[Any]: ...

    def lock_name(self, *args: P.args, **kwargs: P.kwargs) -> str: ...

    def lock_for(self, *args: P.args, **kwargs: P.kwargs) -> RedisLock: ...

    def __getattr__(self, name: str) -> Any: ...


@overload
def locked_task(function: Callable[P, R], /) -> Locked[P, R]: ...


@overload
def locked_task(
    *, app: Celery | None = None, bind: Literal[True], **options: Any
) -> Callable[[Callable[Concatenate[Any, P], R]], Locked[P, R]]: ...


@overload
def locked_task(*, app: Celery | None = None, **options: Any) -> Callable[[Callable[P, R]], Locked[P, R]]: ...


def locked_task(function: Any = None, /, *, app: Celery | None = None, **options: Any) -> Any:
    """Make a function a task that never runs twice at once for the same arguments.

    Short for ``shared_task(base=LockedTask, ...)``, or with `app` for ``app.task(base=LockedTask, ...)``; it
    is what a plain task of its app would be, and locked::

        @locked_task(lock_args=["path"], lock_ttl=30, bind=True)
        def import_csv(self, path): ...

    Args:
        function: The function, when used without parentheses.
        app: The app; None: whichever is current, as with Celery's `shared_task`.
        **options: Lock options (``lock_<x>``) and every task option of Celery. A `base` that is no
            `LockedTask`, a class or its dotted path, is combined with it; without one it is the app's own.

    Raises:
        ConfigurationError: An option is wrong. With lazy registration, Celery's default, at the latest when
            the app is finalized.
    """
    given = options.pop("base", None) or LockedTask
    if isinstance(given, type) and issubclass(given, LockedTask):
        options["base"] = given
    else:
        options |= {"base": LockedTask, BASE: given}
    decorate = shared_task(**options) if app is None else app.task(**options)
    return decorate if function is None else decorate(function)
