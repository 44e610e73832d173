"""Sharing: how many runs may hold one lock of a task at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import ConfigurationError
from .callables import path_of, refuse_method

if TYPE_CHECKING:
    from ..naming.calls import Naming

__all__ = ["ALONE", "Limit", "Sharing", "checked_limit", "checked_shared", "is_limit"]

#: As a user declares it. None: any number where the lock is shared, else one.
Limit: TypeAlias = int | Callable[..., int] | None


@dataclass(frozen=True)
class Sharing:
    """How one lock is held: alone, or together with others.

    Attributes:
        is_shared: Others may hold it at the same time.
        limit: At most so many; a callable gets the arguments of each call.
    """

    is_shared: bool
    limit: Limit

    @classmethod
    def declared(cls, shared: bool, limit: Limit) -> Sharing:
        """Return what two options say together: a limit implies that the lock is shared."""
        return cls(shared or limit is not None, limit)

    def told(self) -> str:
        """Return it as text: a function by its path."""
        if self.limit is None:
            return "shared" if self.is_shared else "not shared"
        return f"limit {path_of(self.limit) if callable(self.limit) else self.limit}"

    @property
    def is_fixed(self) -> bool:
        """Whether it is the same for all calls."""
        return not callable(self.limit)

    def limit_of(self, naming: Naming, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int | None:
        """Return how many may hold the lock of a call at the same time; None: any number, or it has none.

        Args:
            naming: Of the task.
            args: Of the call.
            kwargs: Of the call.

        Raises:
            ConfigurationError: The user's function raised, or returned no limit.
        """
        if not callable(self.limit):
            return self.limit
        task = f"lock_limit of task {naming.task_name!r}"
        try:
            args, kwargs = naming.as_the_body_gets_them(args, kwargs)
            limit = self.limit(*args, **kwargs)
        except Exception as error:
            raise ConfigurationError(f"{task} raised {type(error).__name__}") from error
        if not is_limit(limit):
            given = repr(limit) if isinstance(limit, int) else f"a {type(limit).__name__}"
            raise ConfigurationError(f"{task} returned {given}: it must return an int of at least 1")
        return limit


#: The options of a lock that one holds alone, whatever the settings say.
ALONE: Mapping[str, Any] = {"shared": False, "limit": None}


def is_limit(value: object) -> bool:
    """Whether so many may hold a lock."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def checked_limit(value: Any, label: str) -> Limit:
    """Accept an int of at least 1, a callable with the task's arguments, or None.

    Raises:
        ConfigurationError: It is something else.
    """
    if value is None or is_limit(value):
        limit: Limit = value
        return limit
    if not callable(value):
        raise ConfigurationError(
            f"{label} must be an int of at least 1, a callable with the task's arguments that returns one, "
            f"or None, not {value!r}"
        )
    refuse_method(value, label)
    function: Callable[..., int] = value
    return function


def checked_shared(value: object, label: str) -> bool:
    """Accept True or False.

    Raises:
        ConfigurationError: It is something else.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(f"{label} is a bool, True or False, and cannot be {value!r}")
    return value
