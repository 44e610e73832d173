"""Loss: a lock that we held and no longer do is never lost in silence, and never taken back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pytest
import redis

from celery_redislock import LockLost, RedisLock

from ...support.deadlines import eventually
from ...support.servers import Server
from .arena import Arena

NAME = "lost"

EXPIRE = 0.6

#: Seconds: what two busy cores may add to a bound of the contract.
SLACK = 0.3


def seconds_pass(seconds: float) -> Callable[[], bool]:
    """Return a question that is answered with yes after so many seconds."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def assert_lost(lock: RedisLock) -> None:
    """Compare all that a lost lock shows."""
    assert lock.lost
    assert lock.token is None
    assert lock.fencing_token is None
    assert lock.remaining == 0
    assert not lock.owned()
    with pytest.raises(LockLost, match=NAME):
        lock.ensure_held()


@pytest.mark.parametrize(
    "take_away",
    [
        lambda client: client.delete(NAME),
        lambda client: client.set(NAME, "a stranger's", px=60_000),
        lambda client: client.flushall(),
        lambda client: RedisLock(client, NAME).force_release(),
    ],
    ids=["deleted", "taken", "all data lost", "force_release"],
)
def test_a_renewed_lock_that_is_taken_away_is_lost_within_a_third_of_its_lease(
    one_arena: Arena, take_away: Callable[[redis.Redis], object]
) -> None:
    told: list[RedisLock] = []
    lock = RedisLock(one_arena.client, NAME, expire=EXPIRE, renew=True, on_lost=told.append)
    assert lock.acquire()

    take_away(one_arena.client)

    eventually(lambda: lock.lost, within=EXPIRE / 3 + SLACK)
    assert_lost(lock)
    left = one_arena.client.get(NAME)
    eventually(seconds_pass(EXPIRE))
    assert told == [lock], "on_lost is called once"
    assert one_arena.client.get(NAME) == left, "it was taken back"
    assert not lock.release()
    assert not lock.renew()


@pytest.mark.parametrize("end", [Server.kill, Server.pause], ids=["killed", "paused"])
def test_a_lock_is_lost_by_the_end_of_its_lease_when_redis_is_gone(
    own_server: Server, end: Callable[[Server], None]
) -> None:
    told: list[RedisLock] = []
    with own_server.client() as client:
        lock = RedisLock(client, NAME, expire=EXPIRE, renew=True, on_lost=told.append)
        assert lock.acquire()

        end(own_server)

        eventually(lambda: lock.lost, within=EXPIRE + SLACK)
        eventually(lambda: told, within=SLACK)
        if not own_server.is_running:
            own_server.start()
        own_server.resume()
        eventually(seconds_pass(EXPIRE))
        assert told == [lock]
        assert_lost(lock)
        assert not lock.locked()


def test_a_lock_is_lost_by_the_end_of_its_lease_when_the_network_is_silent(one_arena: Arena) -> None:
    told: list[RedisLock] = []
    lock = RedisLock(one_arena.victim, NAME, expire=EXPIRE, renew=True, on_lost=told.append)
    assert lock.acquire()

    one_arena.proxy.blackhole()

    eventually(lambda: lock.lost, within=EXPIRE + SLACK)
    eventually(lambda: told == [lock], within=SLACK)


def test_a_lock_survives_an_outage_that_is_shorter_than_its_lease(one_arena: Arena) -> None:
    lock = RedisLock(one_arena.victim, NAME, expire=1.2, renew=True)
    assert lock.acquire()

    one_arena.proxy.cut()
    eventually(seconds_pass(0.6))
    one_arena.proxy.heal()
    eventually(seconds_pass(0.8))

    assert not lock.lost
    assert lock.owned()
    assert lock.release()


def test_a_lease_that_runs_out_is_a_loss_that_needs_no_thread_to_be_seen(one_arena: Arena) -> None:
    lock = RedisLock(one_arena.client, NAME, expire=0.1)
    assert lock.acquire()

    eventually(seconds_pass(0.1))

    assert_lost(lock)


def test_a_grant_that_was_long_under_way_is_not_half_over(one_arena: Arena) -> None:
    """Its reply was lost, and asking again took a good part of the lease: it is asked for once more."""
    lock = RedisLock(one_arena.make_victim(socket_timeout=0.6), NAME, expire=1)
    one_arena.proxy.swallow_replies(1, matching=NAME.encode())

    assert lock.acquire()

    assert lock.remaining > 0.5
    assert lock.owned()
    assert lock.release()


def test_on_lost_is_called_for_a_lock_that_is_not_renewed_too(one_arena: Arena) -> None:
    told: list[RedisLock] = []
    lock = RedisLock(one_arena.client, NAME, expire=0.2, on_lost=told.append)
    assert lock.acquire()

    eventually(lambda: told == [lock], within=0.2 + SLACK)

    assert_lost(lock)


def test_on_lost_is_called_when_a_renewal_by_hand_is_refused(one_arena: Arena) -> None:
    told: list[RedisLock] = []
    lock = RedisLock(one_arena.client, NAME, expire=5, on_lost=told.append)
    assert lock.acquire()
    one_arena.client.delete(NAME)

    assert not lock.renew()

    eventually(lambda: told == [lock], within=1)
    assert_lost(lock)


def test_a_release_is_no_loss(one_arena: Arena) -> None:
    told: list[RedisLock] = []
    for _ in range(10):
        lock = RedisLock(one_arena.client, NAME, expire=0.5, renew=True, on_lost=told.append)
        with lock:
            eventually(seconds_pass(0.18))
        assert not lock.lost

    eventually(seconds_pass(0.1))
    assert not told


def test_an_on_lost_that_raises_or_hangs_harms_no_other_lock(
    one_arena: Arena, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_lock: RedisLock) -> None:
        raise ValueError("a bug of the user's")

    raising = RedisLock(one_arena.client, NAME, expire=0.6, renew=True, on_lost=fail)
    hanging = RedisLock(
        one_arena.client,
        NAME + "2",
        expire=0.6,
        renew=True,
        on_lost=lambda _: eventually(seconds_pass(1.5)),
    )
    other = RedisLock(one_arena.client, "other", expire=0.6, renew=True)
    assert all(lock.acquire() for lock in (raising, hanging, other))

    one_arena.client.delete(NAME, NAME + "2")
    eventually(lambda: raising.lost and hanging.lost, within=1)
    eventually(seconds_pass(1.2))

    assert not other.lost
    assert other.release()
    assert [r for r in caplog.records if r.levelno == logging.ERROR and "on_lost" in r.message]


def test_a_release_that_comes_too_late_tells_of_the_loss_once(one_arena: Arena) -> None:
    told: list[RedisLock] = []
    lock = RedisLock(one_arena.client, NAME, expire=60, on_lost=told.append)
    assert lock.acquire()
    one_arena.client.set(NAME, "a stranger's")

    assert [lock.release(), lock.release()] == [False, False]

    assert lock.lost
    eventually(lambda: told == [lock], within=1)
    assert one_arena.client.get(NAME) == b"a stranger's"


def test_leaving_with_after_a_loss_raises(arena: Arena) -> None:
    with pytest.raises(LockLost, match=NAME), RedisLock(arena.client, NAME):
        arena.client.delete(NAME)


def test_leaving_with_after_its_lease_raises(arena: Arena) -> None:
    with pytest.raises(LockLost, match=NAME), RedisLock(arena.client, NAME, expire=0.05):
        eventually(seconds_pass(0.1))


def test_the_bodys_own_error_wins_and_the_loss_is_chained_to_it(one_arena: Arena) -> None:
    def fail() -> None:
        try:
            int("no number")
        except ValueError:
            {}["no key"]

    with pytest.raises(KeyError) as caught, RedisLock(one_arena.client, NAME):  # noqa: PT012
        one_arena.client.delete(NAME)
        fail()

    chain = []
    error: BaseException | None = caught.value
    while error is not None:
        chain.append(type(error))
        error = error.__context__
    assert chain == [KeyError, ValueError, LockLost]


def test_the_bodys_error_is_chained_to_nothing_when_the_lock_was_kept(one_arena: Arena) -> None:
    with pytest.raises(KeyError) as caught, RedisLock(one_arena.client, NAME):
        raise KeyError("a bug of the user's")

    assert caught.value.__context__ is None
    assert not one_arena.client.exists(NAME)


def test_a_lost_lock_can_be_taken_again_when_asked(arena: Arena) -> None:
    lock = RedisLock(arena.client, NAME, expire=0.05)
    assert lock.acquire()
    eventually(lambda: lock.lost)
    eventually(lambda: not arena.client.exists(NAME))

    assert lock.acquire()

    assert not lock.lost
    assert lock.token is not None


def test_a_lock_that_was_never_held_is_not_lost_but_not_held_either(one_arena: Arena) -> None:
    lock = RedisLock(one_arena.client, NAME)

    assert not lock.lost
    with pytest.raises(LockLost, match="not held"):
        lock.ensure_held()
    assert not lock.release()
    assert not lock.renew()
