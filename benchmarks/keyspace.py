"""Keyspace: the keys of a server, what each weighs, and how long each still lives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import redis

_CHUNK = 500


@dataclass(frozen=True)
class Key:
    """One key.

    Attributes:
        weight: Bytes, as `MEMORY USAGE` counts them.
        left_ms: Until it ends; infinite: it has no end.
    """

    weight: int
    left_ms: float


def keys_like(client: redis.Redis, pattern: str = "*") -> list[Key]:
    """Return the keys whose name fits the pattern; those that end meanwhile may be missing."""
    names = client.keys(pattern)
    found: list[Key] = []
    for first in range(0, len(names), _CHUNK):
        pipeline = client.pipeline(transaction=False)
        for name in names[first : first + _CHUNK]:
            pipeline.pttl(name)
            pipeline.memory_usage(name)
        answers: list[Any] = pipeline.execute()
        found += [
            Key(weight, math.inf if left_ms == -1 else left_ms)
            for left_ms, weight in zip(answers[::2], answers[1::2], strict=True)
            if weight is not None
        ]
    return found
