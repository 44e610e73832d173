"""Lengths: rules about durations that do not fit each other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from .configuration import Configuration, Declared
from .finding import Problem
from .wording import rounded_up, seconds

__all__ = ["hold_shorter_than_the_run", "lease_shorter_than_a_pause", "queue_ttl_shorter_than_the_wait"]

#: On a busy machine a process stands still for so long now and then, seconds: a renewal is late by that.
_PAUSE_S = 1.0


def lease_shorter_than_a_pause(seen: Configuration) -> Iterator[Problem]:
    """RL105: a lease ends before it is renewed when the process stands still for a moment."""
    for each in seen.locked:
        ttl_s = each.options.ttl_ms / 1000
        if ttl_s < 3 * _PAUSE_S:
            yield Problem(
                f"lock_ttl of {each.name} is {seconds(ttl_s)}: a pause of a second of its process, of the "
                "network or of Redis may end the lease, and the lock is lost",
                "lock_ttl=30",
            )


def hold_shorter_than_the_run(seen: Configuration) -> Iterator[Problem]:
    """RL106: a run may go on for longer than it can hold its lock."""
    for each in seen.locked:
        hold_s, longest_s = each.longest_hold_s, each.longest_s
        if hold_s is not None and longest_s is not None and hold_s < longest_s:
            yield Problem(
                f"{each.name} may run for {seconds(longest_s)}, but lock_max_hold ends its lock after "
                f"{seconds(hold_s)}: every longer run loses it",
                f"lock_max_hold={rounded_up(longest_s + 10)}",
            )


def queue_ttl_shorter_than_the_wait(seen: Configuration) -> Iterator[Problem]:
    """RL107: a publish lock ends while its message may still wait."""
    for each in seen.locked:
        queue_ttl_s, wait_s = each.options.queue_ttl_ms / 1000, _longest_wait_s(seen, each)
        if each.options.scope != "run" and wait_s > queue_ttl_s:
            yield Problem(
                f"a message of {each.name} may wait for {seconds(wait_s)} until it expires, but "
                f"lock_queue_ttl ends its publish lock after {seconds(queue_ttl_s)}: then an equal call is "
                "published as well",
                f"lock_queue_ttl={rounded_up(wait_s)}",
            )


def _longest_wait_s(seen: Configuration, each: Declared) -> float:
    """Return after how long messages of a task expire, seconds; 0.0: that is not declared."""
    expires = each.task.expires
    if isinstance(expires, timedelta):
        expires = expires.total_seconds()
    of_task = float(expires) if isinstance(expires, int | float) else 0.0
    of_entries = [entry.seconds_of("expires") for entry in seen.entries if entry.task_name == each.name]
    return max([of_task, *(wait_s for wait_s in of_entries if wait_s is not None)])
