"""Of all batches that meet a busy lock the last one runs, once the lock is free, in place of the others."""

from __future__ import annotations

import time
from unittest import mock
from uuid import uuid4

import pytest
from celery.states import PENDING, REVOKED, SUCCESS

from celery_redislock.batch.canvas import results_of

from ...mutants.batches import UNTOLD, WRONG
from ...support.deadlines import eventually
from ...support.stores import STORE
from ...support.workers import running_worker
from . import batch_app
from .batch_app import batch_of, one, shapes
from .batch_checks import the_last_of_three_batches_runs_when_the_first_ends
from .conftest import QUEUE, BatchStage

# Celery's own, with redis-py 8, where a result is stored.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")

APP = "tests.stories.batch.batch_app"
COALESCE = {"lock_on_conflict": "coalesce"}


@pytest.mark.parametrize("shape", sorted(shapes("any")))
def test_of_three_batches_the_last_runs_under_its_own_ids_and_stands_for_the_middle_one(
    stage: BatchStage, shape: str
) -> None:
    the_last_of_three_batches_runs_when_the_first_ends(stage, shape)


def test_whoever_departs_last_publishes_the_wanted_batch_and_not_the_rescue(stage: BatchStage) -> None:
    the_last_of_three_batches_runs_when_the_first_ends(stage, "chord", rescued=False)


def test_the_check_catches_a_departure_that_does_not_tell(batch_store: str) -> None:
    queue = f"{QUEUE}-untold"
    env = {STORE: batch_store, WRONG: UNTOLD}
    with running_worker(APP, env=env, concurrency=3, args=("-Q", queue)) as worker:
        stage = BatchStage(batch_store, worker, queue)
        with pytest.raises(AssertionError, match="the last batch should have begun"):
            the_last_of_three_batches_runs_when_the_first_ends(stage, "chord", rescued=False)


def test_a_wanted_batch_survives_the_death_of_the_worker_that_runs_the_first(
    stage: BatchStage, batch_store: str
) -> None:
    queue = uuid4().hex
    with running_worker(APP, env={STORE: batch_store}, args=("-Q", queue)) as doomed:
        batch_of("doomed", one("first", ["wait", "never"], queue=queue), lock_ttl=1, lock_idle=3).delay()
        stage.journal.wait_for("begun", batch="first")
        second = batch_of("doomed", shapes("second")["chord"], **COALESCE).delay()
        third = batch_of("doomed", shapes("third")["chord"], **COALESCE).delay()
        doomed.kill()
    third.get(timeout=30)
    stage.is_freed("doomed")
    assert {each.state for each in results_of(second)} == {REVOKED}
    begun = [entry["id"] for entry in stage.journal.entries("begun", batch="third")]
    assert sorted(begun) == sorted(each.id for each in results_of(third))
    assert not stage.journal.entries("begun", batch="second")


def test_a_batch_that_takes_the_free_lock_stands_for_one_whose_start_is_under_way(stage: BatchStage) -> None:
    blockers = [one("blocker", ["wait", "blockers"]).apply_async() for _ in range(2)]
    stage.journal.wait_for("begun", times=2, batch="blocker")
    first = batch_of("way", one("first", ["wait", "go"])).delay()
    stage.journal.wait_for("begun", batch="first")
    # Ahead of the start in the queue: that cannot be delivered before the third is published.
    waits = one("blocker", ["wait", "way"]).apply_async()
    second = batch_of("way", shapes("second")["chord"], **COALESCE).delay()
    stage.journal.open("go")
    first.get(timeout=10)
    stage.is_freed("way")
    third = batch_of("way", shapes("third")["chord"], **COALESCE).delay()
    stage.journal.open("way")
    stage.journal.open("blockers", times=2)
    third.get(timeout=20)
    for each in results_of(second):
        eventually(lambda each=each: each.state == REVOKED, 10, f"{each.id} should be revoked")
        assert third.id in str(each.result)
    stage.is_freed("way")
    assert not stage.journal.entries("begun", batch="second")
    for blocker in (*blockers, waits):
        blocker.get(timeout=5)


@pytest.mark.parametrize("how", ["revoked", "expires"])
def test_a_batch_that_stood_back_runs_where_the_last_one_goes_away(stage: BatchStage, how: str) -> None:
    first = batch_of(how, one("first", ["wait", how], queue=stage.queue)).delay()
    stage.journal.wait_for("begun", batch="first")
    second = batch_of(how, shapes("second", stage.queue)["group"], **COALESCE).delay()
    third = batch_of(how, shapes("third", stage.queue)["group"], **COALESCE)
    if how == "revoked":
        gone = third.delay()
        gone.revoke()
    else:
        gone = third.apply_async(expires=1)
        time.sleep(1.5)
    stage.journal.open(how)

    second.get(timeout=20)
    first.get(timeout=5)
    for each in results_of(gone):
        eventually(lambda each=each: each.state == REVOKED, 10, f"{each.id} should be revoked")
    stage.is_freed(how)
    assert not stage.journal.entries("begun", batch="third")


def test_nothing_is_left_wanted_when_the_last_batch_has_ended(stage: BatchStage) -> None:
    the_last_of_three_batches_runs_when_the_first_ends(stage, "chain")
    left = [key for key in stage.locks.keys("redislock.pending*") if stage.locks.exists(key)]
    assert left == []


def test_a_member_of_a_batch_that_lost_its_lock_waits_for_it_and_stands_for_no_other(
    stage: BatchStage,
) -> None:
    canvas = shapes("lost")["group"]
    canvas.tasks = [one("lost", ["retry", 2]) for _ in range(3)]
    lost = batch_of("lost", canvas, lock_ttl=0.5, lock_idle=0.5, **COALESCE).delay()
    eventually(lambda: not stage.is_held("lost"), 5, "the lock should have ended")
    batch_of("lost", one("second", ["wait", "second"])).delay()
    time.sleep(3)
    stage.journal.open("second")
    lost.get(timeout=20)
    assert {each.state for each in results_of(lost)} == {SUCCESS}
    stage.is_freed("lost")


def test_an_eager_batch_that_coalesces_waits_for_the_lock(stage: BatchStage) -> None:
    stage.locks.set("redislock:eager", "someone", px=500)
    with mock.patch.dict(batch_app.app.conf.changes, {"task_always_eager": True}):
        assert batch_of("eager", shapes("eager")["chain"], **COALESCE).delay().get() == 1


def test_a_batch_waits_as_pending_while_it_is_wanted(stage: BatchStage) -> None:
    batch_of("pending", one("first", ["wait", "go"])).delay()
    stage.journal.wait_for("begun", batch="first")
    second = batch_of("pending", shapes("second")["nested"], **COALESCE).delay()
    assert {each.state for each in results_of(second)} == {PENDING}
    stage.journal.open("go")
    second.get(timeout=20)
    stage.is_freed("pending")
