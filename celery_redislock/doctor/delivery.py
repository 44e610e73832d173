"""Delivery: rules about messages that the broker delivers again, or does not."""

from __future__ import annotations

from collections.abc import Iterator

from .configuration import Configuration
from .finding import Problem
from .wording import names


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
