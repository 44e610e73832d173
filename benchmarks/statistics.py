"""Statistics: medians with their quartiles, and ratios between rounds that ran side by side (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The middle of some values, and the bounds of their middle half."""

    low: float
    median: float
    high: float


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies, between neighbours linearly.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("no values, no quantile")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def spread(values: Sequence[float]) -> Spread:
    """Return median and quartiles."""
    return Spread(quantile(values, 0.25), quantile(values, 0.5), quantile(values, 0.75))


def paired_ratios(values: Sequence[float], reference: Sequence[float]) -> list[float]:
    """Return the ratio of each round: what slowed down a round slowed down both."""
    return [value / other for value, other in zip(values, reference, strict=True) if other]
