"""Statistics: what they say after a worker's end is what ran."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
import redis

from celery_redislock import RedisLock
from celery_redislock.messages.headers import BEAT_HEADER
from celery_redislock.observing.statistics import Statistics, read

from ...support.deadlines import eventually
from ...support.journal import Journal
from ...support.stores import STORE, own_store_of
from ...support.workers import Worker, running_worker
from . import counted_app
from .counted_app import (
    app,
    dies,
    fails,
    loses,
    merges,
    plain,
    plain_scheduled,
    rehearses,
    returns,
    tries_again,
)

RETURNED, FAILED, SKIPPED, KILLED = 12, 3, 5, 2


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """Give the address of a server for this file, without a database."""
    with own_store_of(app, counted_app.configure) as address:
        yield address


class Mix:
    """Every way in which a run can go, a known number of times."""

    def __init__(self, store: str, worker: Worker) -> None:
        self.journal, self.worker = Journal(store), worker
        self.locks = redis.Redis.from_url(f"{store}/0")

    def held(self, task: Any, *args: Any) -> Any:
        """Publish a call that waits at a gate of its own, and return when its body has begun."""
        call = task.delay(*args, gate=task.name)
        assert self.journal.client.blpop([f"stands:{task.name}"], timeout=30)
        return call

    def ended(self, *calls: Any) -> None:
        """Wait until these calls have ended, whatever came of them."""
        for call in calls:
            call.get(timeout=30, propagate=False)

    def runs(self) -> None:
        """Have all of it run."""
        self._killed()
        self.ended(*[returns.delay(f"key-{number}") for number in range(RETURNED)])
        self.ended(*[fails.delay(f"key-{number}") for number in range(FAILED)], tries_again.delay("a"))
        self.ended(plain_scheduled.delay(), plain_scheduled.delay(), plain.delay())
        self._skipped()
        self._merged()
        self._lost()
        self._rehearsed()

    def _killed(self) -> None:
        # Before the others: a killed process takes with it what it has counted in its last half minute.
        for number in range(KILLED):
            dies.delay(f"key-{number}")
        died = "released for the dead child of task dies"
        eventually(lambda: self.worker.log().count(died) == KILLED, 30, "each dead child should be noticed")

    def _skipped(self) -> None:
        holder = self.held(returns, "busy")
        header = {BEAT_HEADER: {"entry": "nightly", "due": datetime.now(timezone.utc).isoformat()}}
        self.ended(*[returns.apply_async(("busy",), headers=header) for _ in range(SKIPPED)])
        self.journal.open("returns")
        self.ended(holder, returns.apply_async(("free",), headers=header))

    def _merged(self) -> None:
        holder = self.held(merges)
        calls = [merges.delay() for _ in range(3)]
        eventually(lambda: self.worker.log().count("coalesce:") == 3, 30, "each should meet the lock")
        self.journal.open("merges")
        self.ended(holder, *calls)

    def _lost(self) -> None:
        holder = self.held(loses)
        RedisLock(self.locks, loses.lock_name()).force_release()
        self.ended(holder)

    def _rehearsed(self) -> None:
        holder = self.held(rehearses)
        self.ended(rehearses.delay())
        self.journal.open("rehearses")
        self.ended(holder)


@pytest.fixture(scope="module")
def found(store: str) -> Statistics:
    """Give what is read after four processes, each of six tasks at most, have run the mix and ended."""
    arguments = ("--max-tasks-per-child", "6")
    with running_worker(
        "tests.stories.observing.counted_app", env={STORE: store}, concurrency=4, args=arguments
    ) as worker:
        Mix(store, worker).runs()
    return read(app)


COUNTED = {
    ("returns", "acquired", "at_once"): RETURNED + 2,
    ("returns", "runs", "locked"): RETURNED + 2,
    ("returns", "conflicts", "skip"): SKIPPED,
    ("fails", "acquired", "at_once"): FAILED,
    ("fails", "runs", "locked"): FAILED,
    ("tries_again", "acquired", "at_once"): 2,
    ("merges", "acquired", ""): 2,
    ("merges", "conflicts", "coalesce"): 3,
    ("merges", "conflicts", "superseded"): 2,
    ("loses", "acquired", "at_once"): 1,
    ("loses", "lost", "forced"): 1,
    ("rehearses", "acquired", "at_once"): 1,
    ("rehearses", "shadow", "skip"): 1,
    ("rehearses", "conflicts", ""): 0,
    ("dies", "orphans", "parent"): KILLED,
    ("dies", "runs", ""): 0,
    ("plain_scheduled", "runs", "returned"): 2,
    ("plain", "runs", ""): 0,
}


def test_every_count_is_what_ran(found: Statistics) -> None:
    counted = {key: found.task(key[0]).count(*key[1:]) for key in COUNTED}

    assert counted == COUNTED


def test_a_killed_process_takes_no_more_than_its_own_with_it(found: Statistics) -> None:
    """What it had counted in its last half minute."""
    assert 0 <= found.task("dies").count("acquired") <= KILLED


def test_runs_that_beat_has_sent_are_told_apart(found: Statistics) -> None:
    entry = found.entry("nightly")

    assert (entry.begun, entry.skipped) == (1, SKIPPED)
    assert entry.percentile("wait", 1.0) is not None
    assert found.task("returns").samples("queue") == 1


def test_lengths_of_time_are_those_of_the_tasks_that_ran(found: Statistics) -> None:
    samples = {kind: found.task("returns").samples(kind) for kind in ("wait", "hold", "run")}

    assert samples == dict.fromkeys(("wait", "hold", "run"), RETURNED + 2)
    assert found.task("fails").samples("run") == 0, "it is in no schedule"
    assert found.task("plain_scheduled").samples("run") == 2


def test_different_locks_and_last_conflicts_are_told(found: Statistics) -> None:
    task = found.task("returns")

    assert task.distinct_locks == pytest.approx(RETURNED + 2, abs=1)
    assert {each.action for each in task.last_conflicts} == {"skip"}
    assert {each.lock_name for each in task.last_conflicts} == {returns.lock_name("busy")}
    assert len({each.holder_id for each in task.last_conflicts}) == 1
    assert len({each.task_id for each in task.last_conflicts}) == SKIPPED


def test_nothing_was_dropped(found: Statistics) -> None:
    assert found.engine.count("dropped") == 0
