"""A batch holds its lock from its publication to its end, whatever its shape."""

from __future__ import annotations

import gc

import pytest
from celery import chord
from celery.exceptions import TaskRevokedError
from celery.states import REVOKED, SUCCESS

from celery_redislock.batch.canvas import results_of

from .batch_app import batch_of, one, shapes, slow_return
from .conftest import BatchStage

# Celery's own, with redis-py 8, where a result is stored.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")

SHAPES = sorted(shapes("any"))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_canvas_of_any_shape_runs_whole_and_gives_the_lock_back(stage: BatchStage, shape: str) -> None:
    result = batch_of("whole", shapes("whole")[shape]).delay()
    result.get(timeout=20)
    stage.is_freed("whole", within=5)
    held = results_of(result)
    assert {each.state for each in held} == {SUCCESS}
    begun = {entry["id"] for entry in stage.journal.entries("begun", batch="whole")}
    assert begun == {each.id for each in results_of(result)}


@pytest.mark.parametrize("shape", ["group", "chain to group", "group of chains"])
def test_who_waits_for_a_group_is_told_whatever_its_publication_left_behind(
    stage: BatchStage, shape: str
) -> None:
    result = batch_of("told", shapes("told", seconds=0.3)[shape]).delay()
    # Celery before 5.7 forgets who waits for an id when any other object of that id goes.
    gc.collect()
    assert result.get(timeout=20)
    stage.is_freed("told", within=5)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_lock_is_held_for_as_long_as_a_member_of_any_shape_is_out(stage: BatchStage, shape: str) -> None:
    blockers = [one("blocker", ["wait", "blockers"]).apply_async() for _ in range(3)]
    stage.journal.wait_for("begun", times=3, batch="blocker")
    result = batch_of("held", shapes("held")[shape]).delay()
    # Nobody can run it yet.
    assert stage.is_held("held")
    assert {said["state"] for said in stage.out("held")} == {"waits"}
    stage.journal.open("blockers", times=3)
    while not stage.journal.entries("ended", batch="held", id=result.id) and not result.ready():
        is_held = stage.is_held("held")
        assert is_held or result.ready()
    result.get(timeout=20)
    stage.is_freed("held")
    for blocker in blockers:
        blocker.get(timeout=5)


def test_a_batch_that_is_published_at_the_last_result_of_another_is_not_refused(stage: BatchStage) -> None:
    """The last member stores its result before it gives the lock back, and its machine may be slow."""
    batch = batch_of("next", chord([one("next")] * 2, one("next", task=slow_return)))
    for _ in range(2):
        batch.delay().get(timeout=20)
    stage.is_freed("next")


def test_a_second_batch_is_skipped_while_the_first_is_out_and_every_result_of_it_ends(
    stage: BatchStage,
) -> None:
    first = batch_of("twice", chord([one("first", ["wait", "go"])] * 2, one("first"))).delay()
    second = batch_of("twice", shapes("second")["nested"]).delay()
    for result in results_of(second):
        assert result.state == REVOKED
        with pytest.raises(TaskRevokedError, match="redislock:twice"):
            result.get(timeout=5)
    stage.journal.open("go", times=2)
    first.get(timeout=10)
    stage.is_freed("twice")
    assert not stage.journal.entries("begun", batch="second")
