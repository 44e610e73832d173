"""What becomes of a batch that meets a busy lock, and of one that lost its own."""

from __future__ import annotations

import time
from typing import Any
from unittest import mock

import pytest
from celery import chain, chord, group
from celery.exceptions import TaskRevokedError
from celery.result import GroupResult
from celery.states import REVOKED, SUCCESS
from kombu import Producer
from kombu.exceptions import OperationalError

from celery_redislock import ConfigurationError, LockBusy, RedisLock, StoreUnavailable, locked_batch
from celery_redislock.batch.canvas import results_of
from celery_redislock.config.provider import provider_of
from celery_redislock.engine import store_of
from celery_redislock.signals import lock_conflict

from ...support.deadlines import eventually
from . import batch_app
from .batch_app import batch_of, member, one, shapes
from .conftest import BatchStage, recorded_starts

# Celery's own, with redis-py 8, where a result is stored.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


def held_by_a_batch(stage: BatchStage, key: str, gate: str = "go") -> Any:
    """Have a batch hold a lock until the gate opens."""
    result = batch_of(key, one("first", ["wait", gate])).delay()
    stage.journal.wait_for("begun", batch="first")
    return result


@pytest.mark.parametrize("shape", sorted(shapes("any")))
def test_every_result_of_a_skipped_batch_ends_and_says_why(stage: BatchStage, shape: str) -> None:
    held_by_a_batch(stage, "skip")
    conflicts: list[Any] = []

    def note(conflict: Any, action: str, **_: Any) -> None:
        conflicts.append((conflict.task_id, action))

    with mock.patch.object(lock_conflict, "receivers", []):
        lock_conflict.connect(note, weak=False)
        result = batch_of("skip", shapes("skipped")[shape]).delay()
    assert conflicts == [(result.id, "skip")]
    for each in results_of(result):
        with pytest.raises(TaskRevokedError, match=r"lock .redislock:skip. is busy, held by: .*host"):
            each.get(timeout=5)
        assert each.state == REVOKED
    if isinstance(result, GroupResult):
        with pytest.raises(TaskRevokedError):
            result.get(timeout=5)
    stage.journal.open("go")
    stage.is_freed("skip")
    assert not stage.journal.entries("begun", batch="skipped")


def test_fail_raises_and_publishes_nothing(stage: BatchStage) -> None:
    first = held_by_a_batch(stage, "fail")
    with pytest.raises(LockBusy) as caught:
        batch_of("fail", shapes("failed")["chord"], lock_on_conflict="fail").delay()
    assert caught.value.holder is not None
    assert caught.value.holder.metadata["id"] == first.id
    stage.journal.open("go")
    stage.is_freed("fail")
    assert not stage.journal.entries("begun", batch="failed")


@pytest.mark.parametrize("shape", sorted(shapes("any")))
def test_retry_publishes_the_batch_later_under_the_ids_already_returned(
    stage: BatchStage, shape: str
) -> None:
    held_by_a_batch(stage, "retry")
    result = batch_of("retry", shapes("retried")[shape], lock_on_conflict="retry").delay()
    ids = {each.id for each in results_of(result)}
    time.sleep(0.5)
    assert not stage.journal.entries("begun", batch="retried")
    stage.journal.open("go")
    result.get(timeout=20)
    stage.is_freed("retry")
    assert {entry["id"] for entry in stage.journal.entries("begun", batch="retried")} == ids
    first, second = (stage.spans("first", "retried")[batch] for batch in ("first", "retried"))
    assert first[1] < second[0]


def test_a_batch_published_once_the_results_of_another_are_there_does_not_meet_its_lock(
    stage: BatchStage,
) -> None:
    for _ in range(20):
        result = batch_of("next", shapes("next")["group"]).delay()
        result.get(timeout=10)
        assert {each.state for each in results_of(result)} == {SUCCESS}


def test_one_batch_may_be_published_again_with_new_results(stage: BatchStage) -> None:
    batch = batch_of("twice", shapes("twice")["nested"])
    first = batch.delay()
    first.get(timeout=20)
    second = batch.delay()
    second.get(timeout=20)
    assert not {each.id for each in results_of(first)} & {each.id for each in results_of(second)}


def test_headers_countdown_and_arguments_of_the_call_reach_the_first_members(stage: BatchStage) -> None:
    canvas = group([member.s(steps=[["give", 1]]).set(queue="batches", headers={"own": 1})] * 2)
    result = batch_of("call", canvas).apply_async(
        kwargs={"batch": "call"}, countdown=1, headers={"mine": "yes"}
    )
    assert [said["state"] for said in stage.out("call")] == ["waits", "waits"]
    assert result.get(timeout=10) == [1, 1]
    stage.is_freed("call")


def test_when_publishing_fails_at_once_the_lock_is_free(stage: BatchStage) -> None:
    with (
        mock.patch.object(Producer, "publish", side_effect=OperationalError("no broker")),
        pytest.raises(OperationalError),
    ):
        batch_of("unsent", shapes("unsent")["chord"]).apply_async(retry=False)
    assert not stage.is_held("unsent")


def test_when_publishing_fails_midway_the_lock_is_held_until_what_was_sent_has_ended(
    stage: BatchStage,
) -> None:
    publish, sent = Producer.publish, []

    def fail_third(self: Producer, *args: Any, **kwargs: Any) -> Any:
        sent.append(1)
        if len(sent) == 3:
            raise OperationalError("no broker")
        return publish(self, *args, **kwargs)

    canvas = group([one("midway", ["wait", "midway"]) for _ in range(5)])
    with mock.patch.object(Producer, "publish", fail_third), pytest.raises(OperationalError):
        batch_of("midway", canvas).apply_async(retry=False)
    stage.journal.wait_for("begun", times=2, batch="midway")
    assert len(stage.out("midway")) == 2
    stage.journal.open("midway", times=2)
    stage.is_freed("midway")


def test_a_batch_whose_members_waited_for_longer_than_lock_idle_goes_on_if_nobody_took_the_lock(
    stage: BatchStage,
) -> None:
    canvas = chain(one("idle", ["retry", 2]), one("idle", ["wait", "idle"]))
    result = batch_of("idle", canvas, lock_ttl=0.5, lock_idle=0.5).delay()
    eventually(lambda: not stage.is_held("idle"), 5, "the lock should have ended")
    stage.journal.wait_for("begun", times=3, batch="idle")
    assert stage.is_held("idle")
    stage.journal.open("idle")
    result.get(timeout=10)
    stage.is_freed("idle")


def test_a_batch_that_lost_its_lock_to_another_follows_the_policy_with_its_next_member(
    stage: BatchStage,
) -> None:
    canvas = chain(one("lost", ["retry", 2]), one("lost"))
    lost = batch_of("lost", canvas, lock_ttl=0.5, lock_idle=0.5).delay()
    eventually(lambda: not stage.is_held("lost"), 5, "the lock should have ended")
    second = batch_of("lost", one("second", ["wait", "second"])).delay()
    with pytest.raises(TaskRevokedError):
        lost.get(timeout=10)
    assert stage.is_held("lost")
    stage.journal.open("second")
    second.get(timeout=10)
    stage.is_freed("lost")
    assert len(stage.journal.entries("begun", batch="lost")) == 1


def test_retry_lets_the_next_member_of_a_batch_that_lost_its_lock_wait_for_it(stage: BatchStage) -> None:
    canvas = chain(one("lost", ["retry", 2]), one("lost"))
    lost = batch_of("lost", canvas, lock_ttl=0.5, lock_idle=0.5, lock_on_conflict="retry").delay()
    eventually(lambda: not stage.is_held("lost"), 5, "the lock should have ended")
    batch_of("lost", one("second", ["wait", "second"])).delay()
    time.sleep(3)
    assert len(stage.journal.entries("begun", batch="lost")) == 1
    stage.journal.open("second")
    lost.get(timeout=15)
    stage.is_freed("lost")
    assert len(stage.journal.entries("begun", batch="lost")) == 3


def test_without_redis_nothing_is_published_and_the_caller_is_told(stage: BatchStage) -> None:
    store = store_of(provider_of(batch_app.app).client)
    with (
        mock.patch.object(store, "run", side_effect=ConnectionRefusedError),
        pytest.raises(StoreUnavailable),
    ):
        batch_of("away", shapes("away")["chain"]).delay()
    assert not stage.journal.entries("begun", batch="away")


@pytest.fixture
def eager(stage: BatchStage) -> Any:
    """Run everything at once, in this process."""
    with mock.patch.dict(batch_app.app.conf.changes, {"task_always_eager": True}):
        yield stage


@pytest.mark.parametrize("shape", sorted(shapes("any")))
def test_an_eager_batch_runs_under_its_lock(eager: BatchStage, shape: str) -> None:
    canvas = shapes("eager")[shape]
    result = batch_of("eager", canvas).delay()
    assert result.successful()
    assert not eager.is_held("eager")
    assert eager.journal.entries("begun", batch="eager")


def test_an_eager_batch_that_meets_a_busy_lock_is_revoked_or_fails(eager: BatchStage) -> None:
    eager.locks.set("redislock:eager", "someone", px=60_000)
    assert batch_of("eager", shapes("eager")["chain"]).delay().state == REVOKED
    group_result = batch_of("eager", shapes("eager")["group"]).delay()
    assert [each.state for each in group_result.results] == [REVOKED] * 3
    with pytest.raises(LockBusy):
        batch_of("eager", shapes("eager")["chain"], lock_on_conflict="fail").delay()
    assert not eager.journal.entries("begun", batch="eager")


def test_an_eager_batch_that_retries_waits_for_the_lock(eager: BatchStage) -> None:
    eager.locks.set("redislock:eager", "someone", px=500)
    assert batch_of("eager", shapes("eager")["chain"], lock_on_conflict="retry").delay().get() == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"lock_key": ""}, "lock_key"),
        ({"lock_key": 7}, "lock_key"),
        ({"lock_key": "a", "lock_ttl": 0}, "lock_ttl"),
        ({"lock_key": "a", "lock_idle": "5"}, "lock_idle"),
        ({"lock_key": "a", "lock_on_conflict": "wait"}, "'skip', 'retry', 'fail', 'coalesce'"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        locked_batch(one("wrong"), **arguments)


def test_what_is_no_signature_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="signature"):
        locked_batch([one("wrong")], lock_key="a")  # type: ignore[arg-type]


def test_a_batch_inside_another_canvas_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="part of another canvas"):
        chord([batch_of("inner", one("inner"))], one("outer")).apply_async()


def test_a_start_that_is_delivered_twice_publishes_the_batch_once(stage: BatchStage) -> None:
    held_by_a_batch(stage, "copies")
    with recorded_starts() as starts:
        result = batch_of("copies", shapes("copies")["chain"], lock_on_conflict="retry").delay()
    (arguments,) = starts
    for _ in range(3):
        batch_app.app.tasks["celery_redislock.start_batch"].apply_async(arguments, queue="batches")
    stage.journal.open("go")
    result.get(timeout=20)
    stage.is_freed("copies")
    # Behind the copies; each of those is done, or comes again while the lock is busy.
    time.sleep(1)
    batch_of("last", one("last")).delay().get(timeout=20)
    assert len(stage.journal.entries("begun", batch="copies")) == 3


def test_a_member_whose_batch_loses_the_lock_while_it_runs_goes_on_and_says_so(stage: BatchStage) -> None:
    result = batch_of("stolen", one("stolen", ["wait", "stolen"]), lock_ttl=0.6).delay()
    stage.journal.wait_for("begun", batch="stolen")
    stage.locks.set(stage.key("stolen"), "thief", px=60_000)
    stage.worker.wait_for_log(f"batch {result.id} continues without its lock 'redislock:stolen'")
    stage.worker.wait_for_log("lock_lost was told of redislock:stolen")
    stage.journal.open("stolen")
    result.get(timeout=10)
    assert stage.locks.get(stage.key("stolen")) == "thief"


def test_a_loss_that_only_the_last_member_notices_is_told_once(stage: BatchStage) -> None:
    """Its lease is so long that no renewal was due."""
    name = "unseen"
    result = batch_of(name, one(name, ["wait", name]), lock_ttl=60).delay()
    stage.journal.wait_for("begun", batch=name)
    assert RedisLock(stage.locks, stage.key(name)).force_release()
    stage.journal.open(name)
    result.get(timeout=20)

    told = f"lock_lost was told of redislock:{name}"
    stage.worker.wait_for_log(f"continues without its lock 'redislock:{name}': it was taken by force")
    stage.worker.wait_for_log(told)
    assert stage.worker.log().count(told) == 1
