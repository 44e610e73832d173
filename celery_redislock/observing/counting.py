"""Counting: numbers by name and word, and lengths of time in buckets that grow by a fixed factor (pure).

A length of time is kept as the number of its bucket: so thousands of runs are some dozens of numbers, which
add up over processes and hours. A percentile of them is right within a tenth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Numbers", "bucket_of", "seconds_of"]

#: Each octave of time has so many buckets: a bucket ends at 1.19 times its beginning.
IN_AN_OCTAVE = 4
#: What the first bucket ends at, seconds.
SHORTEST_S = 0.001
#: The last bucket: some thirty days, and all that is longer.
LAST_BUCKET = 125


def bucket_of(seconds: float) -> int:
    """Return the number of the bucket of a length of time."""
    if seconds <= SHORTEST_S:
        return 0
    bucket = 1 + int(math.log2(seconds / SHORTEST_S) * IN_AN_OCTAVE)
    return bucket if bucket < LAST_BUCKET else LAST_BUCKET


def seconds_of(bucket: int) -> float:
    """Return the middle of a bucket, seconds."""
    middle: float = SHORTEST_S * 2 ** ((bucket - 0.5) / IN_AN_OCTAVE)
    return middle


@dataclass(frozen=True)
class Numbers:
    """What was counted of one thing.

    Attributes:
        counts: How often, by kind and word.
        times: Of each kind: how many lengths of time fell into which bucket.
    """

    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    times: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def count(self, kind: str, word: str = "") -> int:
        """Return how often something happened.

        Args:
            kind: Such as "acquired".
            word: Such as "at_once"; "": of all words together.
        """
        if word:
            return self.counts.get((kind, word), 0)
        return sum(number for (of_kind, _), number in self.counts.items() if of_kind == kind)

    def samples(self, kind: str) -> int:
        """Return how many lengths of time of this kind were counted."""
        return sum(self.times.get(kind, {}).values())

    def percentile(self, kind: str, share: float) -> float | None:
        """Return the length of time that this share of them did not exceed, seconds, within a tenth.

        Args:
            kind: Such as "hold".
            share: From 0.0 to 1.0; 0.5 is the median.

        Returns:
            None: none was counted.
        """
        buckets = self.times.get(kind)
        if not buckets:
            return None
        rank, passed = share * sum(buckets.values()), 0
        for bucket in sorted(buckets):
            passed += buckets[bucket]
            if passed >= rank:
                return seconds_of(bucket)
        return seconds_of(max(buckets))
