"""LockKey: one of the locks of a task whose `lock_key` is a list.

Each element gives one lock: a template, a callable with the task's arguments, or a `LockKey` with options.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from ..durations import to_ms
from ..errors import ConfigurationError

__all__ = ["LockKey", "checked_key", "checked_keys", "path_of"]


class LockKey:
    """One lock of several, an element of ``lock_key=[...]``, with options of its own.

    Args:
        key: A template such as ``"account:{id}"``, or a callable with the task's arguments.
        min_hold: As `lock_min_hold`, for this lock alone. None: as the task has it.

    Raises:
        ConfigurationError: An argument is wrong.
    """

    __slots__ = ("key", "min_hold_ms")

    def __init__(
        self,
        key: str | Callable[..., str],
        *,
        min_hold: float | timedelta | None = None,
        shared: bool = False,
        limit: int | Callable[..., int] | None = None,
    ) -> None:
        self.key = checked_key(key, "the key of a LockKey")
        self.min_hold_ms = (
            None if min_hold is None else to_ms(min_hold, "min_hold of a LockKey", minimum_ms=0)
        )
        # Not enforced yet: accepted, it would be a lock that does something else than it says.
        for name, value, without in (("shared", shared, False), ("limit", limit, None)):
            if value is not without:
                raise ConfigurationError(
                    f"{name} of a LockKey is not supported: each lock of a list is held by one run at a time"
                )

    def __repr__(self) -> str:
        return f"LockKey({self.told()!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LockKey):
            return NotImplemented
        return (self.key, self.min_hold_ms) == (other.key, other.min_hold_ms)

    def __hash__(self) -> int:
        return hash((self.key, self.min_hold_ms))

    def told(self) -> str:
        """Return the key as text: a function by its path."""
        return self.key if isinstance(self.key, str) else path_of(self.key)


def path_of(function: Any) -> str:
    """Return a function, or another callable, by its path."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def checked_key(value: Any, label: str) -> str | Callable[..., str]:
    """Accept a template that is not empty, or a callable.

    Raises:
        ConfigurationError: It is neither.
    """
    if inspect.isfunction(value) and [*inspect.signature(value).parameters][:1] == ["self"]:
        raise ConfigurationError(
            f"{label} is a method with self, but is called without it: make it a @staticmethod"
        )
    if isinstance(value, str) and value:
        return value
    if callable(value):
        function: Callable[..., str] = value
        return function
    raise ConfigurationError(
        f'{label} must be a name or template such as "import:{{path}}", '
        "or a callable with the task's arguments"
    )


def checked_keys(value: list[Any] | tuple[Any, ...], label: str) -> tuple[LockKey, ...]:
    """Accept a list of templates, callables and `LockKey`.

    Raises:
        ConfigurationError: It is empty, or one of them is something else.
    """
    if not value:
        raise ConfigurationError(f"{label} is an empty list: name at least one lock, or remove it")
    return tuple(
        each if isinstance(each, LockKey) else LockKey(checked_key(each, f"each element of {label}"))
        for each in value
    )
