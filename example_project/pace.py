"""The slow part of made-up work: one function, so that a test can hold it at the worst moment."""

from __future__ import annotations

import time


def slow_part(seconds: float) -> None:
    """Take `seconds`, as a call to a bank, a report or a machine would."""
    time.sleep(seconds)
