"""However a member ends, the lock of its batch goes when the batch has ended, and not before."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest
from celery import chain, chord, group

from celery_redislock.batch.canvas import results_of

from ...support.deadlines import eventually
from ...support.versions import not_with_5_4
from .batch_app import batch_of, late, limited, locked, member, one, own_hooks, same_lock, shapes
from .conftest import BatchStage

# Celery's own, with redis-py 8, where a result is stored.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")

#: How a member ends -> its task and what it does.
ENDS: dict[str, tuple[Any, list[Any]]] = {
    "fails": (member, ["fail"]),
    "exits": (member, ["exit"]),
    "is killed": (member, ["kill"]),
    "runs into its time limit": (limited, ["sleep", 30]),
}


@pytest.mark.parametrize("end", sorted(ENDS))
def test_a_member_that_ends_badly_ends_its_chain_and_the_lock_is_freed(stage: BatchStage, end: str) -> None:
    task, step = ENDS[end]
    batch_of("chain", chain(one("chain"), one("chain", step, task=task), one("chain"))).delay()
    stage.journal.wait_for("begun", times=2, batch="chain")
    stage.is_freed("chain", within=15)
    assert len(stage.journal.entries("begun", batch="chain")) == 2


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("exits", marks=not_with_5_4("it cannot store the exit of a chord's member")),
        *sorted(ENDS.keys() - {"exits"}),
    ],
)
def test_a_chord_whose_member_ends_badly_keeps_the_lock_until_the_others_have_ended(
    stage: BatchStage, end: str
) -> None:
    task, step = ENDS[end]
    header = [one("chord", step, task=task), one("chord", ["wait", "others"]), one("chord")]
    result = batch_of("chord", chord(header, one("chord"))).delay()
    bad = result.parent.results[0]
    eventually(lambda: bad.state == "FAILURE", 15, "the member should have failed")
    eventually(lambda: len(stage.out("chord")) == 1, 10, "only the waiting one should be out")
    assert stage.is_held("chord")
    stage.journal.open("others")
    stage.is_freed("chord", within=10)
    eventually(lambda: result.state == "FAILURE", 5, "the body should have failed")


def test_a_revoked_member_ends_its_chain_and_the_lock_is_freed(stage: BatchStage) -> None:
    result = batch_of("revoked", chain(one("revoked", ["wait", "first"]), one("revoked"))).delay()
    result.revoke()
    stage.journal.wait_for("begun", batch="revoked")
    time.sleep(0.5)
    stage.journal.open("first")
    stage.is_freed("revoked")
    assert result.state == "REVOKED"
    assert len(stage.journal.entries("begun", batch="revoked")) == 1


def test_members_that_expired_unread_free_the_lock(stage: BatchStage) -> None:
    blockers = [one("blocker", ["wait", "blockers"]).apply_async() for _ in range(3)]
    stage.journal.wait_for("begun", times=3, batch="blocker")
    result = batch_of("expired", group([one("expired").set(expires=0.1) for _ in range(3)])).delay()
    time.sleep(0.3)
    assert stage.is_held("expired")
    stage.journal.open("blockers", times=3)
    stage.is_freed("expired")
    assert {each.state for each in result.results} == {"REVOKED"}
    assert all(blocker.get(timeout=5) is None or True for blocker in blockers)


def test_a_running_member_that_is_terminated_frees_the_lock(stage: BatchStage) -> None:
    result = batch_of("terminated", one("terminated", ["wait", "never"])).delay()
    stage.journal.wait_for("begun", batch="terminated")
    result.revoke(terminate=True)
    stage.is_freed("terminated", within=15)


def test_a_member_nobody_knows_frees_the_lock(stage: BatchStage) -> None:
    unknown = stage.app.signature("no.such.task", immutable=True).set(queue="batches")
    batch_of("unknown", unknown).delay()
    stage.is_freed("unknown")


def test_retries_keep_the_lock_also_while_they_wait_longer_than_its_ttl(stage: BatchStage) -> None:
    canvas = chain(one("retry", ["retry", 2.5]), one("retry"))
    result = batch_of("retry", canvas, lock_ttl=1, lock_idle=30).delay()
    stage.journal.wait_for("begun", batch="retry")
    for _ in range(10):
        assert stage.is_held("retry")
        time.sleep(0.2)
    assert [said["state"] for said in stage.out("retry")] == ["waits"]
    result.get(timeout=20)
    stage.is_freed("retry")


def test_a_running_member_renews_the_lock(stage: BatchStage) -> None:
    result = batch_of("long", one("long", ["sleep", 3.0]), lock_ttl=1, lock_idle=1).delay()
    stage.journal.wait_for("begun", batch="long")
    while not stage.journal.entries("ended", batch="long"):
        assert stage.is_held("long") or stage.journal.entries("ended", batch="long")
        time.sleep(0.05)
    result.get(timeout=5)
    stage.is_freed("long", within=1)


@pytest.mark.parametrize("shape", ["single", "chain", "group", "chord", "nested"])
def test_a_member_that_replaces_itself_leaves_its_place_to_the_replacement(
    stage: BatchStage, shape: str
) -> None:
    canvas = chain(one("replace", ["replace", shape]), one("replace", ["wait", "after"]))
    result = batch_of("replace", canvas).delay()
    count = len([*results_of(stage.frozen(shapes("replace")[shape]))]) + 2
    # A replacement by a group is gathered by a task of Celery's own.
    stage.journal.wait_for("begun", times=count, batch="replace")
    assert stage.is_held("replace")
    stage.journal.open("after")
    result.get(timeout=20)
    stage.is_freed("replace")


def test_a_member_added_to_the_chord_keeps_the_lock_and_is_out(stage: BatchStage) -> None:
    header = [one("added", ["add", 0.6]), one("added")]
    result = batch_of("added", chord(header, one("added"))).delay()
    result.get(timeout=20)
    stage.is_freed("added")
    assert len(stage.journal.entries("begun", batch="added")) == 4


def test_callbacks_and_errbacks_belong_to_the_batch(stage: BatchStage) -> None:
    good = one("links")
    good.link(one("links", ["sleep", 0.3]))
    bad = one("links", ["fail"])
    bad.link_error(one("links", ["sleep", 0.6]))
    batch_of("links", group(good, bad)).delay()
    stage.journal.wait_for("begun", times=4, batch="links")
    stage.is_freed("links")
    assert len(stage.journal.entries("ended", batch="links")) == 4


def test_what_a_member_merely_sends_does_not_keep_the_lock(stage: BatchStage) -> None:
    result = batch_of("sender", one("sender", ["send", 5])).delay()
    result.get(timeout=10)
    stage.is_freed("sender", within=2)
    assert not stage.journal.entries("ended", batch="other")


@pytest.mark.parametrize("task", [locked, same_lock, own_hooks], ids=lambda task: task.name)
def test_members_may_have_locks_and_hooks_of_their_own(stage: BatchStage, task: Any) -> None:
    result = batch_of("own", chain(one("own", task=task), one("own", ["give", 7], task=task))).delay()
    assert result.get(timeout=10) == 7
    stage.is_freed("own")


def test_a_killed_member_that_comes_again_goes_on_under_the_lock(stage: BatchStage) -> None:
    canvas = chain(one("again", ["wait", "kill"], task=late), one("again"))
    result = batch_of("again", canvas).delay()
    stage.journal.wait_for("begun", batch="again")
    pid = stage.out("again")[0]["pid"]
    os.kill(int(pid), signal.SIGKILL)
    stage.journal.wait_for("begun", times=2, batch="again", within=20)
    assert stage.is_held("again")
    stage.journal.open("kill")
    result.get(timeout=20)
    stage.is_freed("again", within=10)
