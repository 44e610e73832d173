"""Deaths: a child that dies under its task; the parent gives the lock back, and not before."""

from __future__ import annotations

import os
import signal
import time
from contextlib import AbstractContextManager
from functools import partial
from statistics import median
from typing import Any

import pytest

from . import figures
from .rows import shows
from .scenarios import Played, plays
from .stage import Stage, new_key, stage_with_worker

#: Seconds from a child's death until its lock must be free.
NOTICED = 6.0
#: Seconds from a hard time limit until the lock must be free.
LIMITED = 2.0

KILLS = 10

LOST_WORKER = "FAILURE (WorkerLostError)"


def crowd(store: str, queue: str) -> AbstractContextManager[Stage]:
    """Run a worker with a child for every run: Celery can take five seconds to replace a dead one."""
    return stage_with_worker(store, queue, concurrency=KILLS + 4)


def deaths(store: str) -> None:
    """Kill children in every way."""
    runs: list[tuple[str, str, str, Any, float]] = []
    with crowd(store, "deaths") as stage:
        for _ in range(KILLS):
            key = new_key()
            result = stage.hold("plain", key, ["beat", 60])
            os.kill(stage.begun(key, result)["pid"], signal.SIGKILL)
            died = time.monotonic()
            runs.append(("killed", "SIGKILL", key, result, stage.free_at("plain", key, NOTICED) - died))
        for way in ("os._exit", "a segmentation fault"):
            key = new_key()
            result = stage.hold("plain", key, ["die", way])
            free = stage.free_at("plain", key, NOTICED)
            runs.append(("killed", way, key, result, free - stage.begun(key, result)["at"]))
        key = new_key()
        result = stage.hold("plain", key, ["beat", 60])
        stage.app.control.revoke(result.id, terminate=True, signal="SIGKILL")
        revoked = time.monotonic()
        runs.append(("terminate by SIGKILL", "", key, result, stage.free_at("plain", key, NOTICED) - revoked))

        equal = [stage.send("plain", key, ["give", 1]) for _, _, key, _, _ in runs]
        assert [result.get(timeout=20) for result in equal] == [1] * len(runs)
        for what, way, key, result, took in runs:
            state, overlaps = stage.state_of(result, 20), stage.journal.overlaps(key)
            figures.note(what, "prefork", state, took, overlaps, way)
            assert overlaps == 0
            assert state == ("REVOKED" if "terminate" in what else LOST_WORKER)
    assert median(took for *_, took in runs) < 1.0


@shows("killed", "terminate by SIGKILL")
@plays(deaths=deaths)
def test_the_lock_of_a_dead_child_is_free_within_six_seconds_mostly_within_one(played: Played) -> None:
    played["deaths"].result()


def hard_limits(store: str, times: int) -> None:
    """Let bodies run into their hard limit, deaf to SIGTERM, each with an equal task in line behind it."""
    with crowd(store, f"hard-limits-{times}") as stage:
        for _ in range(times):
            key = new_key()
            holder = stage.hold("plain", key, ["deaf"], ["beat", 30], time_limit=1)
            limit = stage.begun(key, holder)["at"] + 1
            waiting = stage.send("plain", key, ["give", 1], lock={"wait": 20})

            assert waiting.get(timeout=20) == 1

            took = stage.begun(key, waiting)["at"] - limit
            overlaps = stage.journal.overlaps(key)
            figures.note("hard limit", "prefork", stage.state_of(holder), took, overlaps, "deaf to SIGTERM")
            assert overlaps == 0, "the body went on beside the next one"
            assert took < LIMITED
            assert stage.state_of(holder) == "FAILURE (TimeLimitExceeded)"


@shows("hard limit")
@plays(hard_limits=partial(hard_limits, times=3))
def test_a_hard_limit_frees_the_lock_only_when_a_body_deaf_to_sigterm_is_dead(played: Played) -> None:
    played["hard_limits"].result()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_body_overlaps_in_fifty_hard_limits(store: str) -> None:
    hard_limits(store, 50)


def special_deaths(store: str) -> None:
    """Kill a child under a task with a request of its own, and under one that comes again."""
    with crowd(store, "special") as stage:
        own, again = new_key(), new_key()
        result = stage.hold("own", own, ["beat", 60])
        second = stage.hold("lost_worker", again, ["beat", 2], ["give", 1])
        stage.journal.wait_for(own, "own request")
        for key, run in ((own, result), (again, second)):
            os.kill(stage.begun(key, run)["pid"], signal.SIGKILL)

        stage.free_at("own", own, NOTICED)
        stage.runs_equal("own", own)
        assert stage.state_of(result) == LOST_WORKER
        # With reject_on_worker_lost Celery puts the message back: it must not meet the dead one's lock.
        assert second.get(timeout=30) == 1
        assert len(stage.journal.entries(again, "begun")) == 2
        assert stage.journal.overlaps(again) == 0


@plays(special_deaths=special_deaths)
def test_own_requests_and_rejected_messages_are_served_when_their_child_was_killed(played: Played) -> None:
    played["special_deaths"].result()


def replaced(store: str, tasks: int) -> None:
    """Replace children after some tasks, early and late acknowledged."""
    settings = {"worker_max_tasks_per_child": tasks}
    with stage_with_worker(store, f"replaced-{tasks}", concurrency=2, settings=settings) as stage:
        keys = {"plain": new_key(), "late": new_key()}
        steps = (["beat", 0.02], ["pid"])
        results = [
            stage.send(task, key, *steps, lock={"wait": 20}) for _ in range(4) for task, key in keys.items()
        ]
        pids = {result.get(timeout=30) for result in results}

        assert len(pids) >= len(results) / tasks
        for task, key in keys.items():
            assert stage.journal.overlaps(key) == 0
            stage.runs_equal(task, key)
        assert "released for the dead child" not in stage.worker.log()


@plays(replaced_1=partial(replaced, tasks=1), replaced_2=partial(replaced, tasks=2))
@pytest.mark.parametrize("tasks", [1, 2])
def test_children_that_are_replaced_after_some_tasks_leave_no_lock_and_free_none(
    tasks: int, played: Played
) -> None:
    played[f"replaced_{tasks}"].result()
