"""The whole error tree: each error names the lock and the cure, and survives pickle and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .holder import Holder

__all__ = [
    "ConfigurationError",
    "LockBusy",
    "LockKeyError",
    "LockLost",
    "RedislockError",
    "StoreUnavailable",
]


class RedislockError(Exception):
    """The root of all errors of this package.

    Every subclass hands all its arguments to ``Exception.__init__``, as plain JSON types:
    pickle and Celery's JSON result backend rebuild an error from ``args``.
    """

    def __repr__(self) -> str:
        """Show the sentence: Celery logs an expected error by its ``repr``."""
        return f"{type(self).__name__}({str(self)!r})"


class ConfigurationError(RedislockError, ValueError):
    """An option, a setting or an argument is wrong; raised when it is declared, never mid-run."""


class LockKeyError(RedislockError, TypeError):
    """An argument of a call cannot be made part of a lock's name; its value is never shown."""


class LockBusy(RedislockError):
    """Someone else holds the lock.

    Attributes:
        name: The lock.
        holder: Who has it, as far as could be known; None when it was not asked.
        retry_after: Seconds after which another attempt makes sense; None when unknown.
    """

    def __init__(
        self,
        name: str,
        holder: Holder | Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.name = name
        self.holder = holder if isinstance(holder, Holder | None) else Holder.from_dict(holder)
        self.retry_after = retry_after
        super().__init__(name, self.holder.as_dict() if self.holder else None, retry_after)

    def __str__(self) -> str:
        held_by = f" (held by: {self.holder})" if self.holder else ""
        return f"lock {self.name!r} is busy{held_by}; try again later or wait longer for it"


class LockLost(RedislockError):
    """We held the lock and no longer do: another may hold it now.

    Attributes:
        name: The lock.
        reason: What was seen.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(name, reason)

    def __str__(self) -> str:
        return (
            f"lock {self.name!r} was lost: {self.reason}; stop working on what it protects, "
            "or check the fencing token where the work is written"
        )


class StoreUnavailable(RedislockError):
    """Redis could not do what the lock needs; the cause is chained.

    Attributes:
        name: The lock.
        reason: What Redis, or the way to it, said.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(name, reason)

    def __str__(self) -> str:
        return f"Redis cannot serve lock {self.name!r}: {self.reason}"
