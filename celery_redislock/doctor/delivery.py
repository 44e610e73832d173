"""Delivery: rules about messages that the broker delivers again, or does not."""

from __future__ import annotations

import math
from collections.abc import Iterator

from celery import Task

from .configuration import Configuration, Declared
from .finding import INFO, Problem
from .wording import names, rounded_up, seconds

__all__ = ["ages_in_the_worker", "delayed_beyond", "delivered_while_it_runs", "longer", "lost_with_the_child"]

#: Celery's own longest delay of a retry with `retry_backoff`, seconds.
_BACKOFF_MAX_S = 600.0


def delivered_while_it_runs(seen: Configuration) -> Iterator[Problem]:
    """RL101: a message is delivered again although its run goes on."""
    visibility_s = seen.visibility_s or math.inf
    for each in seen.locked:
        bounds = [bound for bound in (each.longest_s, each.longest_hold_s) if bound is not None]
        if each.is_acknowledged_late and bounds and max(bounds) > visibility_s:
            yield Problem(
                f"{each.name} may run for {seconds(max(bounds))}, but after a visibility_timeout of "
                f"{seconds(visibility_s)} the broker delivers its message again",
                longer(seen, max(bounds)),
            )


def delayed_beyond(seen: Configuration) -> Iterator[Problem]:
    """RL101: a message is delivered again before it is due."""
    visibility_s = seen.visibility_s or math.inf
    for each in seen.locked:
        delay_s, whence = max(_delays(seen, each), default=(0.0, ""))
        if delay_s > visibility_s:
            yield Problem(
                f"a call of {each.name} may wait for {seconds(delay_s)} ({whence}), but after a "
                f"visibility_timeout of {seconds(visibility_s)} the broker delivers its message again, "
                "each time to one more worker",
                longer(seen, delay_s),
            )


def ages_in_the_worker(seen: Configuration) -> Iterator[Problem]:
    """RL102: messages wait in a worker behind the runs before them, and are delivered again meanwhile."""
    visibility_s, ahead = seen.visibility_s, seen.reserved_ahead
    if visibility_s is None or ahead <= 1:
        return
    for each in seen.locked:
        longest_s = each.longest_s
        # A limit is not how long runs take: the history knows that.
        if each.is_acknowledged_late and longest_s and longest_s <= visibility_s < longest_s * ahead:
            yield Problem(
                f"a worker reserves {ahead:g} messages for each process, and a run of {each.name} may take "
                f"{seconds(longest_s)}: the last message may wait there for longer than the "
                f"visibility_timeout of {seconds(visibility_s)}",
                "app.conf.worker_prefetch_multiplier = 1",
                INFO,
            )


def lost_with_the_child(seen: Configuration) -> Iterator[Problem]:
    """RL103: a late acknowledgement is not enough to run a task again whose process was killed."""
    lost = [
        each.name for each in seen.locked if each.is_acknowledged_late and not each.task.reject_on_worker_lost
    ]
    if lost:
        yield Problem(
            f"a run of {names(lost)} whose process is killed is not run again: its message is acknowledged, "
            "although acks_late is set",
            "app.conf.task_reject_on_worker_lost = True",
        )


def longer(seen: Configuration, needed_s: float) -> str:
    """Return the line that makes `visibility_timeout` longer than this."""
    others = "**app.conf.broker_transport_options, " if seen.conf.broker_transport_options else ""
    return (
        f'app.conf.broker_transport_options = {{{others}"visibility_timeout": {rounded_up(needed_s * 1.1)}}}'
    )


def _delays(seen: Configuration, each: Declared) -> Iterator[tuple[float, str]]:
    """Tell for how long calls of a task are delayed: those delays that are not kept short by this package."""
    task = each.task
    # Celery's default says nothing: most tasks are never retried.
    is_declared = task.default_retry_delay != Task.default_retry_delay or getattr(task, "autoretry_for", None)
    if is_declared and task.default_retry_delay and task.max_retries != 0:
        yield float(task.default_retry_delay), "default_retry_delay"
    if getattr(task, "autoretry_for", None) and getattr(task, "retry_backoff", False):
        yield float(getattr(task, "retry_backoff_max", _BACKOFF_MAX_S)), "retry_backoff_max"
    for entry in seen.entries:
        countdown_s = entry.seconds_of("countdown")
        if entry.task_name == each.name and countdown_s is not None:
            yield countdown_s, f"countdown of the entry {entry.name!r}"
