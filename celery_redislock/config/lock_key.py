"""LockKey: one of the locks of a task whose `lock_key` is a list.

Each element gives one lock: a template, a callable with the task's arguments, or a `LockKey` with options.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from ..durations import to_ms
from ..errors import ConfigurationError
from .callables import path_of, refuse_method
from .sharing import Limit, Sharing, checked_limit, checked_shared

__all__ = ["LockKey", "checked_key", "checked_keys"]


class LockKey:
    """One lock of several, an element of ``lock_key=[...]``, with options of its own.

    Args:
        key: A template such as ``"account:{id}"``, or a callable with the task's arguments.
        min_hold: As `lock_min_hold`, for this lock alone. None: as the task has it.
        shared: As `lock_shared`, for this lock alone.
        limit: As `lock_limit`, for this lock alone. Without `shared` and `limit` the lock is held as the task
            has it.

    Raises:
        ConfigurationError: An argument is wrong.
    """

    __slots__ = ("key", "min_hold_ms", "sharing")

    def __init__(
        self,
        key: str | Callable[..., str],
        *,
        min_hold: float | timedelta | None = None,
        shared: bool | None = None,
        limit: Limit = None,
    ) -> None:
        self.key = checked_key(key, "the key of a LockKey")
        self.min_hold_ms = (
            None if min_hold is None else to_ms(min_hold, "min_hold of a LockKey", minimum_ms=0)
        )
        self.sharing: Sharing | None = None
        if shared is not None or limit is not None:
            self.sharing = Sharing.declared(
                shared is not None and checked_shared(shared, "shared of a LockKey"),
                checked_limit(limit, "limit of a LockKey"),
            )

    def __repr__(self) -> str:
        return f"LockKey({self.told()!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LockKey):
            return NotImplemented
        return self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash(self._facts())

    def _facts(self) -> tuple[Any, ...]:
        return self.key, self.min_hold_ms, self.sharing

    def told(self) -> str:
        """Return the key and its options as text: a function by its path."""
        key = self.key if isinstance(self.key, str) else path_of(self.key)
        options = [] if self.sharing is None else [self.sharing.told()]
        if self.min_hold_ms is not None:
            options.append(f"min_hold {self.min_hold_ms / 1000:g} s")
        return f"{key} ({', '.join(options)})" if options else key


def checked_key(value: Any, label: str) -> str | Callable[..., str]:
    """Accept a template that is not empty, or a callable.

    Raises:
        ConfigurationError: It is neither.
    """
    refuse_method(value, label)
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
