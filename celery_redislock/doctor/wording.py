"""Wording: names and numbers as they stand in a finding."""

from __future__ import annotations

from collections.abc import Collection

#: So many names stand in a sentence.
MOST = 5


def names(of: Collection[str]) -> str:
    """Return some of the names, and how many more there are."""
    shown = sorted(of)[:MOST]
    more = len(of) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def seconds(value_s: float) -> str:
    """Return a duration: with a tenth where it is short."""
    return f"{value_s:.0f} s" if value_s >= 10 or value_s == int(value_s) else f"{value_s:.2g} s"


def rounded_up(value_s: float) -> int:
    """Return the next duration that people write: whole minutes from two minutes on, else tens of seconds."""
    step = 60 if value_s >= 120 else 10
    return int(-(-value_s // step) * step)


def times(count: int) -> str:
    """Return how often."""
    return "once" if count == 1 else f"{count} times"
