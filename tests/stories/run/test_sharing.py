"""Sharing: over four processes at most as many run at once as may, and a writer is alone."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from celery_redislock import RedisLock

from ...support.deadlines import eventually
from .sharing_tasks import LIMIT, limited, limited_by_nobody, reader, writer, writes_as_a_reader
from .stage import PROCESSES, Stage

RUNS = 60

#: Seconds until the place of a dead child must be free.
BOUND = 2.0


def play(stage: Stage, *runs: tuple[Any, str]) -> list[dict[str, Any]]:
    """Run tasks of which all are in the queue before one begins; return where they were, and when."""
    for number in range(PROCESSES):
        stage.hold(stage.app.tasks["off"], f"hold-{number}", "all are published", ignore_result=True)
    for number in range(RUNS):
        task, key = runs[number % len(runs)]
        stage.send(task, key, ["work", 0.01], ignore_result=True)
    stage.journal.open("all are published", times=PROCESSES)
    eventually(lambda: len(stage.journal.entries("visit")) >= RUNS, 60, f"{RUNS} runs should have ended")
    return stage.journal.entries("visit")


def most_at_once(visits: list[dict[str, Any]]) -> int:
    """Return how many were there at the same time at most."""
    changes = sorted([(visit["came"], 1) for visit in visits] + [(visit["left"], -1) for visit in visits])
    there, most = 0, 0
    for _, change in changes:
        there += change
        most = max(most, there)
    return most


def a_limit_is_kept(stage: Stage, task: Any) -> None:
    most = most_at_once(play(stage, (task, "a")))

    assert most <= LIMIT, f"{most} ran at once"
    assert most == LIMIT, "a place was never used"


def a_writer_is_alone(stage: Stage, task: Any) -> None:
    visits = play(stage, (reader, "a, read"), (reader, "a, read"), (task, "a, written"))

    readers = [visit for visit in visits if visit["place"] == "a, read"]
    writers = [visit for visit in visits if visit["place"] == "a, written"]
    beside = [
        (one, other)
        for one in writers
        for other in visits
        if other is not one and other["came"] < one["left"] and one["came"] < other["left"]
    ]
    assert not beside, "a writer was not alone"
    assert most_at_once(readers) > 1, "no two readers were there at once"


def test_at_most_so_many_run_at_once(stage: Stage) -> None:
    a_limit_is_kept(stage, limited)


def test_more_at_once_are_caught(stage: Stage) -> None:
    with pytest.raises(AssertionError, match="ran at once"):
        a_limit_is_kept(stage, limited_by_nobody)


def test_readers_come_together_and_a_writer_alone(stage: Stage) -> None:
    a_writer_is_alone(stage, writer)


def test_a_writer_beside_readers_is_caught(stage: Stage) -> None:
    with pytest.raises(AssertionError, match="a writer was not alone"):
        a_writer_is_alone(stage, writes_as_a_reader)


def test_the_place_of_a_killed_child_is_free_and_the_others_keep_theirs(stage: Stage) -> None:
    other = stage.hold(limited, "a", "other")
    dying = stage.hold(limited, "a", "dying")
    (name,) = limited.lock_names("a")
    lock = RedisLock(stage.locks, name)
    pid = {holder.metadata["id"]: int(holder.metadata["pid"]) for holder in lock.holders()}[dying.id]

    os.kill(pid, signal.SIGKILL)

    eventually(
        lambda: [holder.metadata["id"] for holder in lock.holders()] == [other.id],
        BOUND,
        "the dead child's place should be free, and the other's kept",
    )
    stage.runs(limited, "a")
    stage.journal.open("other")
    other.get(timeout=10)
    stage.is_free(limited, "a")
