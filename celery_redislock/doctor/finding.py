"""Finding: one thing that is wrong, how bad it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["ERROR", "INFO", "LEVELS", "WARNING", "Finding", "Problem"]

ERROR, WARNING, INFO = "error", "warning", "info"
#: The worst first.
LEVELS = (ERROR, WARNING, INFO)


class Problem(NamedTuple):
    """What the function of a rule has found.

    Attributes:
        message: One sentence with the numbers; no value of an argument, and no password.
        cure: A line to paste, or a command.
        level: How bad it is here, if that differs from the rule's level; empty: it does not.
    """

    message: str
    cure: str
    level: str = ""


@dataclass(frozen=True)
class Finding:
    """A problem with the rule that has found it.

    Attributes:
        id: Of the rule: "RL101".
        level: One of `LEVELS`.
        message: As of `Problem`.
        cure: As of `Problem`.
        page: Where the docs explain the rule.
    """

    id: str
    level: str
    message: str
    cure: str
    page: str

    def as_dict(self) -> dict[str, str]:
        """Return it as JSON types."""
        return {
            "id": self.id,
            "level": self.level,
            "message": self.message,
            "cure": self.cure,
            "page": self.page,
        }

    def is_at_least(self, level: str) -> bool:
        """Whether it is as bad as this level, or worse."""
        return LEVELS.index(self.level) <= LEVELS.index(level)
