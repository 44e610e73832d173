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
    """The base class of all errors of this package. They survive pickle and Celery's JSON results."""

    # Every subclass hands all its arguments to ``Exception.__init__``, as plain JSON types: pickle and
    # Celery's JSON result backend rebuild an error from ``args``.

    def __repr__(self) -> str:
        """Show the sentence: Celery logs an expected error by its ``repr``."""
        return f"{type(self).__name__}({str(self)!r})"


class ConfigurationError(RedislockError, ValueError):
    """An option, a setting or an argument is wrong. It is raised where that is declared, not in a run."""


class LockKeyError(RedislockError, TypeError):
    """An argument of a call cannot be made part of a lock's name. Its value is never shown."""


class LockBusy(RedislockError):
    """Somebody else holds the lock.

    Attributes:
        name: The Redis key of the lock.
        holder: Who has the lock, or None if that is not known.
        retry_after: Seconds after which another attempt makes sense, or None if that is not known.
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
        if self.holder is not None and self.holder.is_pause:
            return f"lock {self.name!r} is busy ({self.holder}); try again when that has ended"
        held_by = f" (held by: {self.holder})" if self.holder else ""
        return f"lock {self.name!r} is busy{held_by}; try again later or wait longer for it"


class LockLost(RedislockError):
    """The holder has lost the lock: its lease ended, or somebody took it. Another may hold it now.

    Attributes:
        name: The Redis key of the lock.
        reason: What was noticed.
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
    """Redis could not be reached, or refused what the lock needs. The cause is chained.

    Attributes:
        name: The Redis key of the lock.
        reason: What Redis or the network answered.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(name, reason)

    def __str__(self) -> str:
        return f"Redis cannot serve lock {self.name!r}: {self.reason}"
