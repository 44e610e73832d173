"""Deadlines: waits for what must become true, and says what was seen when it did not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds between two looks: short enough not to slow a test, long enough not to load two cores.
_INTERVAL = 0.02


def eventually(predicate: Callable[[], T], within: float = 10.0, message: str = "") -> T:
    """Ask until the answer is truthy, and return that answer.

    Args:
        predicate: Asked for the last time after the deadline; its errors are not caught.
        within: Seconds until the last question.
        message: What should have become true, for the report.

    Raises:
        AssertionError: When the deadline passed; it shows the last answer.
    """
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        answer = predicate()
        if answer:
            return answer
        time.sleep(_INTERVAL)
    answer = predicate()
    if answer:
        return answer
    expected = message or "it should have become true"
    raise AssertionError(f"{expected}; after {within:g} s the last answer was {answer!r}")
