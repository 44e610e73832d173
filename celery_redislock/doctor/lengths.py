"""Lengths: rules about durations that do not fit each other."""

from __future__ import annotations

from collections.abc import Iterator

from .configuration import Configuration
from .finding import Problem
from .wording import rounded_up, seconds


def hold_shorter_than_the_run(seen: Configuration) -> Iterator[Problem]:
    """RL106: a run may go on for longer than it can hold its lock."""
    for each in seen.locked:
        hold_ms, longest_s = each.options.max_hold_ms, each.longest_s
        if hold_ms is not None and longest_s is not None and hold_ms / 1000 < longest_s:
            yield Problem(
                f"{each.name} may run for {seconds(longest_s)}, but lock_max_hold ends its lock after "
                f"{seconds(hold_ms / 1000)}: every longer run loses it",
                f"lock_max_hold={rounded_up(longest_s + 10)}",
            )
