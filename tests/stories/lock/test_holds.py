"""Holds: how short and how long a lock is held whatever its holder does, and who may end it."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

import pytest

from celery_redislock import LockBusy, LockLost, RedisLock
from celery_redislock.engine.lease.verbs import LockVerbs
from celery_redislock.engine.protocol.exclusive import FORCE_RELEASE, RENEW
from celery_redislock.engine.transport.clients import store_of

from ...support.arena import Arena, companion
from ...support.deadlines import eventually
from ...support.waiting_threads import Waiting, until_in_line

NAME = "held"


def test_a_lock_released_early_stays_busy_until_min_hold_is_over(arena: Arena) -> None:
    lock = RedisLock(arena.client, NAME, expire=5, min_hold=0.6)
    assert lock.acquire()
    taken_at = time.monotonic()

    assert lock.release()

    assert not lock.lost
    assert not RedisLock(arena.client, NAME).acquire()
    assert not lock.acquire()
    eventually(lambda: not arena.client.exists(NAME), within=2)
    assert 0.5 < time.monotonic() - taken_at < 1.2


def test_min_hold_may_exceed_the_lease(arena: Arena) -> None:
    lock = RedisLock(arena.client, NAME, expire=0.2, min_hold=30)
    assert lock.acquire()

    assert lock.release()

    assert 29_000 < arena.client.pttl(NAME) <= 30_000


def test_a_lock_held_longer_than_min_hold_is_free_at_once(arena: Arena) -> None:
    lock = RedisLock(arena.client, NAME, expire=5, min_hold=0.05)
    assert lock.acquire()
    taken_at = time.monotonic()
    eventually(lambda: time.monotonic() > taken_at + 0.06)

    assert lock.release()

    assert not arena.client.exists(NAME)


def test_a_waiter_gets_the_lock_when_min_hold_is_over(arena: Arena) -> None:
    lock = RedisLock(arena.client, NAME, expire=60, min_hold=0.7)
    assert lock.acquire()
    taken_at = time.monotonic()
    waiting = Waiting(RedisLock(arena.client, NAME))
    until_in_line(arena.client, NAME, 1)

    assert lock.release()

    assert waiting.answer()
    assert 0.6 < waiting.ended_at - taken_at < 1.3


def test_a_renewal_in_flight_does_not_prolong_a_min_hold(arena: Arena) -> None:
    lock = RedisLock(arena.client, NAME, expire=60, min_hold=5)
    assert lock.acquire()
    token = lock.token
    assert token is not None
    assert lock.release()

    verbs = LockVerbs(store_of(arena.client), NAME)
    assert verbs.store.run(RENEW, verbs.keys.renewed_by(token), (token, 60_000)) == 0

    assert arena.client.pttl(NAME) <= 5000


def test_a_release_sent_twice_does_not_begin_a_min_hold_anew(arena: Arena) -> None:
    lock = RedisLock(arena.victim, NAME, expire=60, min_hold=5)
    assert lock.acquire()
    arena.proxy.swallow_replies(1, matching=NAME.encode())

    assert lock.release()

    assert arena.proxy.fired == 1
    assert arena.client.pttl(NAME) <= 5000


def test_who_had_the_lock_is_shown_during_min_hold(arena: Arena) -> None:
    lock = RedisLock(arena.client, NAME, min_hold=5, metadata={"task": "tick"})
    assert lock.acquire()
    assert lock.release()

    holder = lock.holder()

    assert holder is not None
    assert holder.metadata == {"task": "tick"}


def test_renewal_stops_at_max_hold(one_arena: Arena) -> None:
    lock = RedisLock(one_arena.client, NAME, expire=0.6, renew=True, max_hold=1)
    assert lock.acquire()
    taken_at = time.monotonic()

    eventually(lambda: not one_arena.client.exists(NAME), within=3)

    assert 0.8 < time.monotonic() - taken_at < 1.3
    assert lock.lost


def test_a_max_hold_shorter_than_the_lease_bounds_it_from_the_start(one_arena: Arena) -> None:
    lock = RedisLock(one_arena.client, NAME, expire=60, max_hold=0.2)
    assert lock.acquire()

    assert one_arena.client.pttl(NAME) <= 200
    assert lock.remaining <= 0.2
    eventually(lambda: lock.lost, within=1)
    assert not lock.renew()


def test_force_release_tells_the_holder_and_wakes_the_next(arena: Arena) -> None:
    lock = RedisLock(arena.client, NAME, expire=0.9, renew=True)
    assert lock.acquire()
    waiting = Waiting(RedisLock(arena.client, NAME))
    until_in_line(arena.client, NAME, 1)

    assert RedisLock(arena.client, NAME).force_release()
    forced_at = time.monotonic()

    assert waiting.answer()
    assert waiting.ended_at - forced_at < 0.5
    eventually(lambda: lock.lost, within=1)
    with pytest.raises(LockLost):
        lock.ensure_held()
    assert not lock.release()
    assert waiting.lock.owned()


def test_force_release_of_a_free_lock_says_so(arena: Arena) -> None:
    assert not RedisLock(arena.client, NAME).force_release()


def test_force_release_frees_what_a_stranger_or_a_min_hold_keeps(arena: Arena) -> None:
    arena.client.set(NAME, "a stranger's")
    assert RedisLock(arena.client, NAME).force_release()
    lock = RedisLock(arena.client, NAME, min_hold=60)
    assert lock.acquire()
    assert lock.release()
    assert lock.force_release()

    assert lock.acquire()


def test_force_release_sent_twice_does_not_oust_the_next_holder(arena: Arena) -> None:
    lock, successor = (RedisLock(arena.client, NAME) for _ in range(2))
    assert lock.acquire()
    ousted = lock.token
    assert ousted is not None
    assert lock.force_release()
    assert successor.acquire()

    verbs = LockVerbs(store_of(arena.client), NAME)
    keys = verbs.keys
    verbs.store.run(FORCE_RELEASE, keys.forced_from(ousted.encode()), (ousted,))

    assert successor.owned()


def test_force_release_whose_reply_is_lost_has_happened(arena: Arena) -> None:
    lock = RedisLock(arena.client, NAME)
    assert lock.acquire()
    arena.proxy.swallow_replies(1, matching=b"EVALSHA")

    assert RedisLock(arena.victim, NAME).force_release()

    assert arena.proxy.fired == 1
    assert not arena.client.exists(NAME)


def test_the_holder_tells_who_since_when_and_how_long(arena: Arena) -> None:
    metadata = {"host": "worker-1", "task": "import Zoë's “file”"}
    lock = RedisLock(arena.client, NAME, expire=5, metadata=metadata)
    assert lock.acquire()

    holder = RedisLock(arena.client, NAME).holder()

    assert holder is not None
    assert holder.metadata == metadata
    assert holder.since is not None
    assert abs(holder.since - datetime.now(timezone.utc)) < timedelta(seconds=2)
    assert holder.lease_left is not None
    assert 4 < holder.lease_left <= 5
    assert holder.fencing_token == lock.fencing_token


def test_of_a_foreign_holder_only_the_lease_left_is_known(arena: Arena) -> None:
    previous = RedisLock(arena.client, NAME, metadata={"host": "a"})
    assert previous.acquire()
    arena.client.set(NAME, "a stranger's", px=5000)

    holder = previous.holder()

    assert holder is not None
    assert (dict(holder.metadata), holder.since, holder.fencing_token) == ({}, None, None)
    assert holder.lease_left is not None
    assert 4 < holder.lease_left <= 5


def test_a_free_lock_has_no_holder(one_arena: Arena) -> None:
    lock = RedisLock(one_arena.client, NAME)
    assert lock.holder() is None
    assert not lock.locked()
    assert lock.acquire()
    assert lock.locked()
    assert lock.release()

    assert lock.holder() is None
    assert not lock.locked()


def test_the_token_is_shown_nowhere(one_arena: Arena, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    lock = RedisLock(one_arena.client, NAME, renew=True, metadata={"host": "a"})
    assert lock.acquire()
    token = lock.token
    assert token is not None
    holder = lock.holder()
    assert holder is not None
    shown = [repr(lock), str(lock), repr(holder), str(holder), repr(holder.as_dict())]
    with pytest.raises(LockBusy) as busy, RedisLock(one_arena.client, NAME, wait=0):
        pass
    shown += [str(busy.value), repr(busy.value), repr(busy.value.args)]
    one_arena.client.delete(NAME)
    assert not lock.renew()
    with pytest.raises(LockLost) as lost:
        lock.ensure_held()
    shown += [str(lost.value), repr(lost.value), repr(lost.value.args), caplog.text]

    assert not [text for text in shown if token in text]


def test_the_record_of_the_holder_ends_a_minute_after_the_lock(one_arena: Arena) -> None:
    lock = RedisLock(one_arena.client, NAME, expire=5)
    assert lock.acquire()
    assert lock.renew()

    difference = one_arena.client.pttl(NAME) - one_arena.client.pttl(companion("holder", NAME))
    assert abs(difference + 60_000) < 100
