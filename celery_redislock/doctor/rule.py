"""Rule: an id, how bad it is, where it looks, and the function that looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .finding import Finding, Problem

__all__ = ["CONFIG", "HISTORY", "LAYERS", "LIVE", "CannotLook", "Rule", "page_of"]

CONFIG, LIVE, HISTORY = "config", "live", "history"
#: What is declared; what runs now; what has happened.
LAYERS = (CONFIG, LIVE, HISTORY)

#: Where the docs explain the rules.
PAGE = "docs/reference/doctor.md"


class CannotLook(Exception):
    """What a rule needs to see cannot be seen; the text says why."""


@dataclass(frozen=True)
class Rule:
    """One row of the table: an id has a row for each function that looks for it.

    Attributes:
        id: "RL101".
        level: One of `LEVELS`, unless a problem says another.
        layer: One of `LAYERS`.
        check: What of the layer is looked at -> the problems. May raise `CannotLook`, or `StoreUnavailable`.
    """

    id: str
    level: str
    layer: str
    check: Callable[[Any], Iterable[Problem]]

    def findings(self, seen: object) -> list[Finding]:
        """Look, and return what is found.

        Args:
            seen: What the rules of its layer look at.

        Raises:
            CannotLook: What it needs cannot be seen.
            StoreUnavailable: Redis could not be reached.
        """
        return [
            Finding(self.id, problem.level or self.level, problem.message, problem.cure, page_of(self.id))
            for problem in self.check(seen)
        ]


def page_of(rule_id: str) -> str:
    """Return where the docs explain a rule."""
    return f"{PAGE}#{rule_id.lower()}"
