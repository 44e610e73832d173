"""Waiting: processes in line, who dies there or is interrupted, and what ``with`` says."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
import redis

from celery_redislock import LockBusy, RedisLock
from celery_redislock.engine.lease.verbs import LockVerbs
from celery_redislock.engine.protocol.exclusive import Busy
from celery_redislock.engine.transport.clients import store_of

from ...support.arena import Arena, companion
from ...support.waiting_threads import Waiting, until_in_line
from .contender import Contender

NAME = "waited for"

#: What a dead or stopped waiter may cost the others, seconds: a second, and what two busy cores add.
COST_OF_ONE_DEAD = 2.5

StartContender = Callable[..., Contender]


def held(client: redis.Redis, expire: float = 60) -> RedisLock:
    """Return the lock, taken."""
    lock = RedisLock(client, NAME, expire=expire)
    assert lock.acquire()
    return lock


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
    assert isinstance(verbs.acquire(leaver, 60_000, 4000, "{}"), Busy)
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


def test_a_watcher_that_dies_does_not_stop_the_watch(client: redis.Redis, contend: StartContender) -> None:
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
