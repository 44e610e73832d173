"""Waiting: first come, first served; woken at once; nobody's death or departure holds up the others."""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Callable

import pytest
import redis

from celery_redislock import LockBusy, RedisLock
from celery_redislock.engine.lease.verbs import LockVerbs, Refused
from celery_redislock.engine.transport.clients import store_of

from ...support.deadlines import eventually
from .arena import Arena, companion
from .contender import Contender
from .waiting_threads import Waiting, until_in_line

NAME = "waited for"

#: What a dead or stopped waiter may cost the others, seconds: a second, and what two busy cores add.
COST_OF_ONE_DEAD = 2.5

StartContender = Callable[..., Contender]


def held(client: redis.Redis, expire: float = 60) -> RedisLock:
    """Return the lock, taken."""
    lock = RedisLock(client, NAME, expire=expire)
    assert lock.acquire()
    return lock


def test_threads_get_the_lock_in_the_order_of_their_coming(arena: Arena) -> None:
    holder, order, waiting = held(arena.client), [], []
    for n in range(10):

        def take_note(lock: RedisLock, n: int = n) -> None:
            order.append(n)
            assert lock.release()

        waiting.append(Waiting(RedisLock(arena.client, NAME), then=take_note))
        until_in_line(arena.client, NAME, n + 1)

    assert holder.release()

    assert all(waiter.answer(within=5) for waiter in waiting)
    assert order == list(range(10))


def test_processes_get_the_lock_in_the_order_of_their_coming(
    client: redis.Redis, contend: StartContender
) -> None:
    holder, contenders = held(client), [contend(NAME) for _ in range(10)]
    for n, contender in enumerate(contenders):
        contender.tell("acquire", blocking=True, timeout=30)
        contender.tell("release")
        until_in_line(client, NAME, n + 1)

    assert holder.release()

    moments = []
    for contender in contenders:
        got, moment = contender.hear_with_moment()
        assert got
        assert contender.hear()
        moments.append(moment)
    assert moments == sorted(moments)


def test_a_waiter_is_woken_by_the_release(arena: Arena) -> None:
    holder, waiting = held(arena.client), Waiting(RedisLock(arena.client, NAME))
    until_in_line(arena.client, NAME, 1)

    assert holder.release()
    released_at = time.monotonic()

    assert waiting.answer()
    assert waiting.ended_at - released_at < 0.5


def test_nobody_overtakes_those_in_line(arena: Arena) -> None:
    holder, waiting = held(arena.client), Waiting(RedisLock(arena.client, NAME))
    until_in_line(arena.client, NAME, 1)

    assert holder.release()

    assert not RedisLock(arena.client, NAME).acquire()
    assert waiting.answer()


@pytest.mark.parametrize("timeout", [0.2, 0.9])
def test_a_timeout_is_kept(client: redis.Redis, timeout: float) -> None:
    holder = held(client)
    waiters = [Waiting(RedisLock(client, NAME), timeout) for _ in range(3)]

    assert not any(waiter.answer() for waiter in waiters)

    late = [waiter.ended_at - waiter.began_at - timeout for waiter in waiters]
    assert abs(statistics.median(late)) < 0.15
    assert holder.release()


def test_a_timeout_of_zero_asks_once(one_arena: Arena) -> None:
    lock = RedisLock(one_arena.client, NAME)
    assert lock.acquire(blocking=True, timeout=0)

    assert not lock.acquire(blocking=True, timeout=0)

    assert not one_arena.client.exists(companion("waiters", NAME))


def test_with_waits_as_long_as_it_was_told_and_then_tells_who_is_in_the_way(one_arena: Arena) -> None:
    holder = RedisLock(one_arena.client, NAME, expire=5, metadata={"host": "a"})
    assert holder.acquire()

    with pytest.raises(LockBusy) as busy, RedisLock(one_arena.client, NAME, wait=0.2):
        pass

    assert busy.value.name == NAME
    assert busy.value.holder is not None
    assert busy.value.holder.metadata == {"host": "a"}
    assert busy.value.holder.fencing_token == holder.fencing_token
    assert busy.value.retry_after is not None
    assert 4 < busy.value.retry_after < 5


def test_with_takes_and_releases(arena: Arena) -> None:
    with RedisLock(arena.client, NAME) as lock:
        assert lock.owned()

    assert not lock.locked()
    assert not lock.lost


def test_a_waiter_that_leaves_by_timeout_passes_the_turn_on(arena: Arena) -> None:
    holder = held(arena.client)
    leaving = Waiting(RedisLock(arena.client, NAME), timeout=2)
    until_in_line(arena.client, NAME, 1)
    staying = Waiting(RedisLock(arena.client, NAME))
    until_in_line(arena.client, NAME, 2)
    assert not leaving.answer()
    assert arena.client.zcard(companion("waiters", NAME)) == 1

    assert holder.release()
    released_at = time.monotonic()

    assert staying.answer()
    assert staying.ended_at - released_at < 0.5


def test_a_waiter_that_leaves_by_an_exception_passes_the_turn_on(
    client: redis.Redis, contend: StartContender
) -> None:
    holder, interrupted = held(client), contend(NAME)
    interrupted.tell("acquire", blocking=True, timeout=30, alarm=0.4)
    until_in_line(client, NAME, 1)
    staying = Waiting(RedisLock(client, NAME))
    until_in_line(client, NAME, 2)
    assert interrupted.hear() == "interrupted"
    assert client.zcard(companion("waiters", NAME)) == 1

    assert holder.release()
    released_at = time.monotonic()

    assert staying.answer()
    assert staying.ended_at - released_at < 0.5


def test_a_turn_that_comes_while_the_waiter_leaves_goes_on_to_the_next(arena: Arena) -> None:
    verbs = LockVerbs(store_of(arena.client), NAME)
    holder, leaver = held(arena.client), "1" * 32
    assert isinstance(verbs.acquire(leaver, 60_000, 4000, "{}"), Refused)
    staying = Waiting(RedisLock(arena.client, NAME))
    until_in_line(arena.client, NAME, 2)
    assert holder.release()
    assert verbs.is_held_with(leaver)

    for _ in range(2):  # the second send finds the other's lock, and leaves it alone
        verbs.leave(leaver, within=1)

    assert staying.answer(within=0.5)
    assert staying.lock.owned()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dead_or_stopped_waiter_costs_the_others_about_a_second(
    end: signal.Signals, client: redis.Redis, contend: StartContender
) -> None:
    holder, contender = held(client), contend(NAME)
    contender.tell("acquire", blocking=True, timeout=30)
    until_in_line(client, NAME, 1)
    waiting = Waiting(RedisLock(client, NAME))
    until_in_line(client, NAME, 2)
    contender.send_signal(end)

    assert holder.release()
    released_at = time.monotonic()

    assert waiting.answer()
    assert waiting.ended_at - released_at < COST_OF_ONE_DEAD
    if end == signal.SIGSTOP:
        contender.send_signal(signal.SIGCONT)
        assert waiting.lock.release()
        assert contender.hear()


def test_a_watchman_that_dies_does_not_stop_the_watch(client: redis.Redis, contend: StartContender) -> None:
    holder, contenders = held(client), [contend(NAME) for _ in range(2)]
    for n, contender in enumerate(contenders):
        contender.tell("acquire", blocking=True, timeout=30)
        until_in_line(client, NAME, n + 1)
    waiting = Waiting(RedisLock(client, NAME))
    until_in_line(client, NAME, 3)
    for contender in contenders:
        contender.send_signal(signal.SIGKILL)

    assert holder.release()
    released_at = time.monotonic()

    assert waiting.answer()
    assert waiting.ended_at - released_at < 2 * COST_OF_ONE_DEAD


def test_a_waiter_gets_the_lock_of_a_dead_holder_when_its_lease_ends(
    client: redis.Redis, contend: StartContender
) -> None:
    holder = contend(NAME, expire=1.5, renew=True)
    assert holder.ask("acquire")
    waiting = Waiting(RedisLock(client, NAME))
    until_in_line(client, NAME, 1)
    holder.send_signal(signal.SIGKILL)
    ends_at = time.monotonic() + client.pttl(NAME) / 1000

    assert waiting.answer()

    assert -0.05 < waiting.ended_at - ends_at < 0.4


def test_twenty_waiters_of_a_dead_holder_are_all_served(client: redis.Redis) -> None:
    client.set(NAME, "dead", px=700)
    waiting = [Waiting(RedisLock(client, NAME), then=RedisLock.release) for _ in range(20)]

    assert all(waiter.answer(within=10) for waiter in waiting)

    eventually(lambda: not client.exists(NAME, companion("waiters", NAME)))


def test_a_waiter_gets_the_lock_although_the_message_was_lost(one_arena: Arena) -> None:
    holder = held(one_arena.client, expire=2)
    waiting = Waiting(RedisLock(one_arena.make_victim(), NAME))
    until_in_line(one_arena.client, NAME, 1)
    one_arena.proxy.cut()
    one_arena.proxy.heal()

    assert holder.release()

    assert waiting.answer(within=3)
