"""Losses: each is told with the word that is right for it, and with a text for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
import redis

from celery_redislock import LockLost, RedisLock, StoreUnavailable, events
from celery_redislock.engine import ReleaseOutcome, confirmations
from celery_redislock.engine.lease import holding
from celery_redislock.engine.lease.lease import Lease, now
from celery_redislock.engine.lease.loss import Loss, ended
from celery_redislock.engine.lease.verbs import LockVerbs
from celery_redislock.engine.protocol.exclusive import FORCE_RELEASE, Busy, Granted, Refused
from celery_redislock.engine.protocol.keys import keys_of
from celery_redislock.engine.transport.clients import store_of
from celery_redislock.events import LOSS_REASONS, StoreFailed

from ...mutants.scripts import gone_wrong
from ...support.deadlines import eventually

NAME = "lost for a reason"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Give what puts the clock forward, as a holder sees it."""

    def put_forward(seconds: float) -> None:
        at = now() + seconds
        monkeypatch.setattr(holding, "now", lambda: at)

    return put_forward


@pytest.fixture
def told() -> Iterator[list[StoreFailed]]:
    """Listen to what is told of Redis."""
    told: list[StoreFailed] = []
    events.listen(StoreFailed, told.append)
    yield told
    events.unlisten(StoreFailed, told.append)


def held(client: redis.Redis, **options: Any) -> RedisLock:
    """Return a lock that is held."""
    lock = RedisLock(client, NAME, **{"expire": 30, **options})
    assert lock.acquire()
    assert (lock.loss, lock.loss_reason) == (None, None)
    return lock


def release(lock: RedisLock) -> None:
    """Give a lock back in vain."""
    assert not lock.release()


def send_release(lock: RedisLock) -> None:
    """Give it back, and have that confirmed."""
    told: list[ReleaseOutcome] = []
    lock.send_release(told.append)
    confirmations.confirm()
    assert [outcome.released for outcome in told] == [False]


def renew(lock: RedisLock) -> None:
    """Renew it in vain."""
    assert not lock.renew()


def is_renewed_in_vain(lock: RedisLock) -> None:
    """Wait until the thread that renews has noticed."""
    eventually(lambda: lock.lost, within=5, message="the loss should be noticed")


#: How a holder of a renewed lock learns that it has it no longer.
NOTICE = pytest.mark.parametrize("notice", [release, send_release, renew, is_renewed_in_vain])


@NOTICE
def test_a_lock_that_is_taken_by_force_is_lost_by_force(
    notice: Callable[[RedisLock], None], client: redis.Redis
) -> None:
    lock = held(client, expire=1.5, renew=True)
    assert RedisLock(client, NAME).force_release()

    notice(lock)

    assert (lock.loss_reason, lock.loss) == ("forced", "it was taken by force")


@NOTICE
@pytest.mark.parametrize("is_followed", [False, True])
def test_a_lock_whose_key_is_gone_or_is_of_another_is_taken(
    is_followed: bool, notice: Callable[[RedisLock], None], client: redis.Redis
) -> None:
    lock = held(client, expire=1.5, renew=True)
    client.delete(NAME)
    if is_followed:
        held(client)

    notice(lock)

    assert lock.loss_reason == "taken"


@pytest.mark.parametrize("notice", [release, send_release, renew, lambda lock: None])
def test_a_lease_that_ends_without_a_renewal_has_expired(
    notice: Callable[[RedisLock], None], client: redis.Redis, later: Callable[[float], None]
) -> None:
    lock = held(client)
    client.delete(NAME)
    later(30)

    notice(lock)

    assert (lock.loss_reason, lock.loss) == ("expired", "its lease ran out")


def test_a_lease_whose_renewals_fail_until_it_ends_is_cut_off(
    client: redis.Redis, later: Callable[[float], None], told: list[StoreFailed]
) -> None:
    lock = held(client)
    with (
        mock.patch.object(store_of(client), "call", side_effect=redis.ConnectionError("no route")),
        pytest.raises(StoreUnavailable),
    ):
        lock.renew()
    later(30)

    assert lock.loss_reason == "cut_off"
    assert "could not be renewed (it cannot be reached (no route))" in str(lock.loss)
    assert told == [StoreFailed("renew", "ConnectionError")]


def test_a_lease_that_was_renewed_after_a_failure_is_not_cut_off(
    client: redis.Redis, later: Callable[[float], None]
) -> None:
    lock = held(client)
    lock._holding.renewal_failed(lock.token or "", "it could not be renewed (no route)")
    assert lock.renew()
    later(30)

    assert lock.loss_reason == "expired"


@pytest.mark.parametrize(("max_hold", "reason"), [(10, "max_hold"), (30, "max_hold"), (45, "expired")])
def test_a_lock_that_was_held_for_as_long_as_it_may_be_has_met_its_max_hold(
    max_hold: float, reason: str, client: redis.Redis, later: Callable[[float], None]
) -> None:
    lock = held(client, max_hold=max_hold)
    later(30)

    assert lock.loss_reason == reason


@pytest.mark.parametrize("ttl_ms", [37, 1000, 30_000, 3_600_000])
@pytest.mark.parametrize("max_hold_ms", [100, 12_345, 30_000, 30_001, 90_000])
def test_a_lease_is_at_its_max_hold_once_a_renewal_was_cut_short_by_it(ttl_ms: int, max_hold_ms: int) -> None:
    sent_at, end = 1000.0, 1000.0 + max_hold_ms / 1000
    lease = Lease.granted("token", 1, ttl_ms, sent_at, max_hold_ms)
    assert lease.is_at_max_hold == (max_hold_ms <= ttl_ms + 1)

    while (sent_at := sent_at + ttl_ms / 3000) < end and (asked_ms := lease.renewal_ms(sent_at)):
        lease = lease.renewed(sent_at, asked_ms)
        assert lease.is_at_max_hold or asked_ms == ttl_ms

    assert ended(lease, "").reason == "max_hold"
    assert not Lease.granted("token", 1, ttl_ms, 1000.0, None).is_at_max_hold


def test_the_first_loss_that_is_noticed_counts(client: redis.Redis) -> None:
    lock = held(client)
    client.delete(NAME)
    assert not lock.renew()

    lock._holding.report_lost(lock._holding.lease.token, Loss("forced", "it was taken by force"))  # type: ignore[union-attr]

    assert lock.loss_reason == "taken"


def test_a_loss_by_force_is_told_where_the_error_is_raised(client: redis.Redis) -> None:
    with pytest.raises(LockLost, match="was lost: it was taken by force; stop working"), held(client) as lock:
        lock.force_release()


def test_who_takes_the_lock_again_begins_afresh(client: redis.Redis) -> None:
    lock = held(client)
    assert lock.force_release()
    assert not lock.release()

    assert lock.acquire()

    assert lock.loss_reason is None
    assert lock.release()


def test_a_lock_that_is_kept_busy_has_no_holder_to_be_told(client: redis.Redis) -> None:
    lock = held(client, min_hold=60)
    token = lock.token or ""
    assert lock.release()

    assert lock.force_release()

    verbs = LockVerbs(store_of(client), NAME)
    assert verbs.release(token, 0, ""), "it was released, also when asked again"
    assert lock.loss_reason is None


def test_the_mark_of_force_lasts_as_long_as_the_lease_might_have(client: redis.Redis) -> None:
    lock = held(client, expire=3600)
    mark = keys_of(NAME).questions_of(lock.token or "")

    assert lock.force_release()

    assert 3_600_000 < client.pttl(mark) <= 3_660_000
    release(lock)
    assert client.pttl(mark) <= 60_000


def test_of_another_program_no_mark_is_kept(client: redis.Redis) -> None:
    client.set(NAME, b"\xff another's", px=60_000)

    assert RedisLock(client, NAME).force_release()

    assert client.keys() == []


def loses_its_turn(client: redis.Redis) -> bool:
    """Return whether a waiter that lost its turn to force is told that it held the lock."""
    verbs, waiter = LockVerbs(store_of(client), NAME), uuid4().hex
    holder = held(client)
    assert isinstance(verbs.acquire(waiter, 30_000, 4000, "{}"), Busy)
    assert holder.release()
    assert verbs.is_held_with(waiter), "it is its turn"
    assert verbs.force_release()
    assert isinstance(verbs.acquire(waiter, 30_000, 4000, "{}"), Granted), "it asks again"
    client.delete(NAME)
    return verbs.renew(waiter, 30_000) == Refused(is_forced=True)


def test_who_only_had_its_turn_is_not_ousted(client: redis.Redis) -> None:
    assert not loses_its_turn(client)
    client.flushdb()
    whoever = "question = question or '0'\nif true then"
    with gone_wrong(FORCE_RELEASE, "if holding == ARGV[1] then", whoever):
        assert loses_its_turn(client)


def test_every_reason_is_one_of_the_words() -> None:
    lease = Lease.granted("token", 1, 1000, 0.0, None)
    at_max_hold = Lease.granted("token", 1, 1000, 0.0, 1000)

    reasons = {ended(lease, "").reason, ended(lease, "no route").reason, ended(at_max_hold, "").reason}

    assert reasons == {"expired", "cut_off", "max_hold"} <= set(LOSS_REASONS)
