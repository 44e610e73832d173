"""Base class: what a locked task derives from, so that it is a task of its app, and locked.

A task without a base of its own derives from the app's class for tasks (Django's, Flask's, a tenant's), as a
plain task of the app does. That class stands before `LockedTask`: its hooks come first, its attributes are in
force, and what it calls with ``super()`` is ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import getattr_static
from typing import Any
from weakref import WeakValueDictionary

from celery import Task
from celery.utils.imports import symbol_by_name

from ..errors import ConfigurationError

#: Attribute of a task that was declared with a base which is no `LockedTask`: a class, or its dotted path.
BASE = "_redislock_base"

_combined: WeakValueDictionary[type, type] = WeakValueDictionary()


def bases_of(task_class: type, locked: type) -> tuple[type, ...]:
    """Return what the class of a task must derive from.

    Args:
        task_class: As it was made, by Celery's decorator or by hand.
        locked: `LockedTask`.

    Raises:
        ConfigurationError: The base that was given is none, or does not go together with `locked`.
    """
    declared, bases = vars(task_class), task_class.__bases__
    if declared.get("_decorated") and bases == (locked,):
        return (combined(declared.get(BASE) or declared["app"].Task, locked),)
    # Celery's hooks do not call super(): a class that stands behind `Task` is never reached.
    hidden = [base for base in bases if _has_hooks_that_celery_hides(base)]
    return (*hidden, *(base for base in bases if base not in hidden))


def derive_from(task_class: type, bases: tuple[type, ...]) -> None:
    """Give a class other bases.

    Raises:
        ConfigurationError: They do not go together.
    """
    try:
        task_class.__bases__ = bases
    except TypeError as error:
        raise _apart(task_class.__name__, bases, error) from error


def combined(base: Any, locked: type) -> type:
    """Return one class of both, the same one each time.

    Raises:
        ConfigurationError: There is none.
    """
    given = _class_of(base)
    if issubclass(given, locked):
        return given
    if issubclass(locked, given):
        return locked
    try:
        return _combined[given]
    except KeyError:
        pass
    attributes = {"abstract": True, "__module__": given.__module__, "__doc__": given.__doc__}
    try:
        both = type(f"Locked{given.__name__}", (given, locked), attributes)
    except TypeError as error:
        raise _apart(given.__name__, (given, locked), error) from error
    return _combined.setdefault(given, both)


def refuse_what_hides_the_lock(task_class: type, locked: type) -> None:
    """Refuse a class that has, from another base, an attribute of its own in place of one of ours.

    Raises:
        ConfigurationError: It has.
    """
    for name in _own_names(locked):
        if getattr_static(task_class, name) is getattr_static(locked, name):
            continue
        owner = next(there for there in task_class.__mro__ if name in vars(there))
        if not issubclass(owner, locked):
            raise ConfigurationError(
                f"{owner.__name__}.{name} hides the {name} of LockedTask: give it another name, or let "
                f"{owner.__name__} derive from LockedTask"
            )


def _own_names(locked: type) -> Iterator[str]:
    """Yield the public names that `LockedTask` and its bases have, and Celery's `Task` has not."""
    for base in locked.__mro__[: locked.__mro__.index(Task)]:
        yield from (name for name in vars(base) if _is_public(name) and name not in vars(Task))


def _class_of(base: Any) -> type:
    if isinstance(base, str):
        try:
            base = symbol_by_name(base)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigurationError(f"base {base!r} of a locked task cannot be imported: {error}") from error
    if not isinstance(base, type):
        raise ConfigurationError(
            f"base of a locked task must be a class or its dotted path, not {type(base).__name__}"
        )
    return base


def _has_hooks_that_celery_hides(base: type) -> bool:
    if issubclass(base, Task):
        return False
    hooks = {name for name, value in vars(Task).items() if callable(value) and _is_public(name)}
    return any(hooks & vars(there).keys() for there in base.__mro__[:-1])


def _is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__call__"


def _apart(name: str, bases: tuple[type, ...], error: TypeError) -> ConfigurationError:
    together = " and ".join(base.__name__ for base in bases)
    return ConfigurationError(
        f"{name}: {together} cannot be combined into one class ({error}): "
        "give a base that derives from LockedTask"
    )
