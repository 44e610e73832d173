"""Members: several processes hold one lease, and the last of them gives the lock back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis

from celery_redislock import RedisLock
from celery_redislock.engine import Loss
from celery_redislock.engine.group_lease import STAY, Left, Member, members_in_flight
from celery_redislock.engine.protocol.keys import keys_of
from celery_redislock.engine.transport.clients import store_of
from celery_redislock.pending.runs import PendingRun, PendingRuns

from ...support.deadlines import eventually
from ...support.servers import Server
from ...support.waiting_threads import Waiting

NAME = "batch {of} members"
TTL_MS, IDLE_MS, HOUR_MS = 600, 60_000, 3_600_000
#: So long that no renewal is due while a test runs.
LONG_MS = 60_000


@pytest.fixture(params=["fake", "real"])
def redis_client(
    request: pytest.FixtureRequest, fake_client: redis.Redis, any_server: Server
) -> Iterator[redis.Redis]:
    """Give an empty store: one in this process, and each kind of server."""
    if request.param == "fake":
        yield fake_client
        return
    with any_server.client() as client:
        client.flushall()
        yield client
        client.flushall()


class Batch:
    """A batch that has just taken its lock."""

    def __init__(self, client: redis.Redis) -> None:
        self.client, self.token = client, uuid4().hex
        self.lock = RedisLock(client, NAME, 10, metadata={"id": "batch"})
        assert self.lock.attempt(token=self.token) is None

    def member(self, waited: bool = True, **options: Any) -> Member:
        """Make a member that nobody knows yet."""
        return Member(
            self.client, NAME, self.token, uuid4().hex, waited_as=uuid4().hex if waited else "", **options
        )

    def running(self, **options: Any) -> Member:
        """Make a member that runs."""
        member = self.member(**options)
        assert member.run(TTL_MS, {"id": "runner"})
        return member

    def left_ms(self) -> int:
        """Return what is left of the lease."""
        return int(self.client.pttl(NAME))


@pytest.fixture
def batch(redis_client: redis.Redis) -> Batch:
    """Give a batch without members."""
    return Batch(redis_client)


def depart(member: Member) -> Left:
    return member.depart(IDLE_MS, "batch", HOUR_MS)


def test_the_last_member_to_depart_gives_the_lock_back(batch: Batch) -> None:
    first, second = batch.running(), batch.running()
    assert depart(first) is Left.OTHERS
    assert batch.lock.locked()
    assert depart(second) is Left.NOBODY
    assert not batch.lock.locked()
    assert members_in_flight(batch.client, NAME) == []


def test_a_member_that_waits_keeps_the_lock_and_runs_later_under_the_same_place(batch: Batch) -> None:
    first, second = batch.running(), batch.member()
    assert second.wait(IDLE_MS, {"id": "second"})
    assert depart(first) is Left.OTHERS
    assert [said["state"] for said in members_in_flight(batch.client, NAME)] == ["waits"]
    assert second.run(TTL_MS, {"id": "second"})
    assert members_in_flight(batch.client, NAME) == [{"id": "second", "state": "runs"}]
    assert depart(second) is Left.NOBODY


def test_what_is_sent_twice_is_answered_as_the_first_time(batch: Batch) -> None:
    member = batch.running()
    assert member.run(TTL_MS, {"id": "again"})
    assert len(members_in_flight(batch.client, NAME)) == 1
    assert [depart(member) for _ in range(3)] == [Left.NOBODY] * 3


def test_the_last_to_depart_is_told_that_runs_are_wanted_also_when_it_asks_again(batch: Batch) -> None:
    first, second = batch.running(), batch.running()
    runs = PendingRuns(batch.client, NAME)
    runs.record(PendingRun("task", "id", b"message"), keep="latest", question=uuid4().hex, is_listed=True)
    assert depart(first) is Left.OTHERS
    assert [depart(second) for _ in range(2)] == [Left.PENDING] * 2
    assert [run.id for run in runs.claim("task").to_publish] == ["id"]


def test_a_late_departure_does_not_free_another_batchs_lock(batch: Batch) -> None:
    early = batch.running()
    depart(early)
    other = Batch(batch.client)
    theirs = other.running()
    assert depart(early) is Left.NOBODY
    assert other.lock.owned()
    assert len(members_in_flight(batch.client, NAME)) == 1
    assert depart(theirs) is Left.NOBODY


def test_a_redelivered_member_releases_neither_before_the_other_run_nor_twice(batch: Batch) -> None:
    message = uuid4().hex
    runs = [Member(batch.client, NAME, batch.token, uuid4().hex, waited_as=message) for _ in range(2)]
    assert all(run.run(TTL_MS, {}) for run in runs)
    assert [depart(run) for run in runs] == [Left.OTHERS, Left.NOBODY]


def test_nobody_joins_a_lock_that_is_not_the_batchs(batch: Batch) -> None:
    stranger = Member(batch.client, NAME, uuid4().hex, uuid4().hex)
    assert not stranger.run(TTL_MS, {})
    assert not stranger.wait(IDLE_MS, {})
    assert depart(stranger) is Left.LOST
    assert batch.lock.owned()


def test_members_of_a_batch_whose_lock_was_taken_away_do_not_count_for_the_next(batch: Batch) -> None:
    batch.member().wait(IDLE_MS, {"id": "old"})
    batch.lock.force_release()
    other = Batch(batch.client)
    assert members_in_flight(batch.client, NAME) == []
    assert depart(other.running()) is Left.NOBODY


def test_waiting_members_keep_the_lock_for_idle_and_a_running_one_never_shortens_that(batch: Batch) -> None:
    batch.member().wait(IDLE_MS, {})
    batch.running()
    time.sleep(TTL_MS / 1000)
    assert IDLE_MS - 10_000 < batch.left_ms() <= IDLE_MS


def test_a_running_member_renews_and_keeps_every_companion_alive(batch: Batch) -> None:
    runner = batch.running()
    batch.client.pexpire(NAME, TTL_MS)
    time.sleep(2.5 * TTL_MS / 1000)
    assert batch.lock.locked()
    assert runner.loss is None
    keys = keys_of(NAME)
    # A member whose record expired would make the next one to depart believe that it is the last.
    assert all(batch.client.pttl(key) > 0 for key in (keys.lock, keys.holder, keys.members, keys.inflight))
    assert depart(runner) is Left.NOBODY


def test_the_dead_count_for_one_ttl_and_then_no_more(batch: Batch) -> None:
    dead, waiting = batch.running(), batch.member()
    waiting.wait(IDLE_MS, {})
    dead._stop_renewing()
    time.sleep(1.2 * TTL_MS / 1000)
    waiting.run(TTL_MS, {})
    assert depart(waiting) is Left.NOBODY


def test_when_only_running_members_are_left_the_lease_is_theirs_and_not_idle(batch: Batch) -> None:
    dead, waiting = batch.running(), batch.member()
    waiting.wait(IDLE_MS, {})
    dead._stop_renewing()
    waiting.run(TTL_MS, {})
    assert depart(waiting) is Left.OTHERS
    assert batch.left_ms() <= TTL_MS
    eventually(lambda: not batch.lock.locked(), 3, "the lease should have ended")


def test_when_the_last_that_waited_runs_the_lease_is_its_own_and_not_idle(batch: Batch) -> None:
    publisher, runner = batch.running(), batch.member()
    runner.wait(IDLE_MS, {})
    assert depart(publisher) is Left.OTHERS
    assert batch.left_ms() > TTL_MS
    assert runner.run(TTL_MS, {})
    assert batch.left_ms() <= TTL_MS
    time.sleep(2 * TTL_MS / 1000)
    assert batch.lock.locked()
    runner._stop_renewing()
    eventually(lambda: not batch.lock.locked(), 3, "the lease should have ended")


def test_a_member_that_steps_aside_waits_again(batch: Batch) -> None:
    runner = batch.running()
    assert runner.step_aside(IDLE_MS, {"id": "later"})
    assert members_in_flight(batch.client, NAME) == [{"id": "later", "state": "waits"}]
    assert batch.left_ms() > TTL_MS
    assert depart(runner) is Left.NOBODY


def test_a_renewal_under_way_does_not_bring_back_a_member_that_departed(batch: Batch) -> None:
    keys, store, gone = keys_of(NAME), store_of(batch.client), batch.running()
    other = batch.running()
    depart(gone)
    mark = gone._token_of(gone._name)
    store.run(STAY, keys.stayed_by(mark), (mark, TTL_MS))
    assert depart(other) is Left.NOBODY


def test_a_loss_is_told_once(batch: Batch) -> None:
    losses: list[Loss] = []
    member = batch.running(on_lost=losses.append)
    batch.client.delete(NAME)
    eventually(lambda: losses, 5, "the member should have been told")
    assert depart(member) is Left.LOST
    assert [loss.reason for loss in losses] == ["taken"]


def test_a_loss_by_force_is_told_as_one(batch: Batch) -> None:
    losses: list[Loss] = []
    member = batch.running(on_lost=losses.append)
    assert RedisLock(batch.client, NAME).force_release()
    eventually(lambda: losses, 5, "the member should have been told")
    assert [depart(member) for _ in range(2)] == [Left.FORCED] * 2
    assert [loss.reason for loss in losses] == ["forced"]


@pytest.mark.parametrize("reason", ["taken", "forced"])
def test_a_loss_that_only_the_departure_shows_is_told_once(batch: Batch, reason: str) -> None:
    losses: list[Loss] = []
    member = batch.member(on_lost=losses.append)
    assert member.run(LONG_MS, {})
    if reason == "forced":
        assert RedisLock(batch.client, NAME).force_release()
    else:
        batch.client.delete(NAME)

    left = {depart(member) for _ in range(2)}
    eventually(lambda: losses, 5, "the member should have been told")

    assert left == {Left.FORCED if reason == "forced" else Left.LOST}
    assert [loss.reason for loss in losses] == [reason]
    assert member.loss == losses[0]


def test_a_member_that_has_its_lock_until_it_departs_tells_of_no_loss(batch: Batch) -> None:
    losses: list[Loss] = []
    members = [batch.running(on_lost=losses.append) for _ in range(2)]

    assert [depart(each) for each in (*members, members[1])] == [Left.OTHERS, Left.NOBODY, Left.NOBODY]
    assert losses == []
    assert members[1].loss is None


def test_a_waiter_gets_the_lock_from_the_last_member(batch: Batch, fake_client: redis.Redis) -> None:
    if batch.client is fake_client:
        pytest.skip("waiters block in Redis")
    runner = batch.running()
    waiting = Waiting(RedisLock(batch.client, NAME), then=RedisLock.release)
    waiters = keys_of(NAME).waiters
    eventually(lambda: batch.client.zcard(waiters) == 1, message="one should stand in line")
    assert depart(runner) is Left.NOBODY
    assert waiting.answer()


def test_the_work_done_last_is_the_batch(batch: Batch) -> None:
    depart(batch.running())
    next_one = RedisLock(batch.client, NAME)
    assert next_one.acquire()
    assert next_one.was_done("batch")
    assert next_one.fencing_token is not None
    next_one.release()


def test_little_stays_behind(batch: Batch) -> None:
    depart(batch.running())
    left = set(batch.client.scan_iter())
    remembered = {key for key in left if key.startswith(keys_of(NAME).questions)}
    assert left - remembered == {keys_of(NAME).done, keys_of(NAME).holder}
    assert len(remembered) <= 3
