"""Checks: what a locked task promises, asked of any task; each raises AssertionError on a wrong one."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from ...support.deadlines import eventually
from .stage import PROCESSES, Stage

RUNS, KEYS = 300, 3

#: How a body can end, besides returning.
ENDS: dict[str, list[Any]] = {
    "raise": ["raise"],
    "ignore": ["ignore"],
    "reject": ["reject"],
    "exit": ["exit"],
}


def meet(stage: Stage, task: Any, runs: int = RUNS) -> int:
    """Publish runs with random short bodies on a few keys; return the overlaps when all have ended.

    All are in the queue before one begins: a busy machine runs each faster than it publishes the next.
    """
    for number in range(PROCESSES):
        stage.hold(stage.app.tasks["off"], f"hold-{number}", "all are published", ignore_result=True)
    for number in range(runs):
        stage.send(task, f"key-{number % KEYS}", ["work", random.uniform(0.0, 0.008)], ignore_result=True)
    stage.journal.open("all are published", times=PROCESSES)
    eventually(lambda: len(stage.journal.entries("visit")) >= runs, 60, f"{runs} runs should have ended")
    return stage.journal.overlaps()


def a_loser_frees_nothing(task: Any, stage: Stage) -> None:
    """Whoever found the lock busy ends too, and must not free what the winner holds."""
    with stage.held(task, "a"):
        for _ in range(2):
            loser = stage.send(task, "a", ["report", "ran too"])
            _ended(stage, task, loser.id)

    assert not stage.journal.entries("ran too"), "two ran at once"


def an_eager_loser_frees_nothing(task: Any, stage: Stage) -> None:
    """`apply` runs the hooks of a task in a process that holds nothing."""
    with stage.held(task, "a"):
        loser = task.apply(("a", ["give", 1]))

        assert loser.result != 1, "it ran beside the holder"
        names = task.lock_names("a")
        assert stage.locks.exists(*names) == len(names), "it freed the holder's lock"


def every_end_releases(task: Any, stage: Stage) -> None:
    """Celery calls `after_return` for few of the ends of a body."""
    for key, step in ENDS.items():
        stage.send(task, key, ["report", f"{key} begun"], step)
        stage.journal.wait_for(f"{key} begun")
        stage.is_free(task, key, within=2.0)
        stage.runs(task, key)


def a_retry_does_not_meet_its_own_lock(task: Any, stage: Stage, *, times: int = 5) -> None:
    """Celery calls no `after_return` for a retry, which comes with the same arguments."""
    result = stage.send(task, "a", ["retry", times])

    stage.journal.wait_for("try", times=times + 1, id=result.id)

    assert not stage.journal.entries("conflict")


def _ended(stage: Stage, task: Any, task_id: str) -> None:
    """Return when the worker is done with a task, whatever it made of it."""
    line = f"Task {task.name}[{task_id}] "
    ends = ("succeeded in", "ignored", "raised", "would")
    eventually(
        lambda: any(line + end in stage.log() for end in ends), 20, f"task {task.name} should have ended"
    )


ALL: tuple[Callable[[Any, Stage], None], ...] = (
    a_loser_frees_nothing,
    an_eager_loser_frees_nothing,
    every_end_releases,
    a_retry_does_not_meet_its_own_lock,
)

__all__ = ["ALL", "ENDS", "KEYS", "RUNS", "meet"]
