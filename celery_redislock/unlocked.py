"""Unlocked: what a body sees as its lock where there is none."""

from __future__ import annotations

import math


class Unlocked:
    """Stands for the lock where there is none: a direct call, `lock_mode` "off", a shadowed conflict.

    Attributes:
        name: Empty.
        fencing_token: None.
        remaining: Infinite.
        lost: False.
    """

    name = ""
    fencing_token: int | None = None
    remaining = math.inf
    lost = False

    def ensure_held(self) -> None:
        """Do nothing: there is nothing to lose."""
