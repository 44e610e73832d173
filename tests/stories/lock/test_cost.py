"""Cost: one round trip for each verb, and waiters that leave Redis in peace."""

from __future__ import annotations

import time
from collections.abc import Callable

import redis

from celery_redislock import RedisLock

from ...support.arena import Arena
from ...support.deadlines import eventually
from ...support.proxy import Proxy
from ...support.waiting_threads import Waiting, until_in_line

NAME = "cheap"

#: Round trips a second that a waiter may cost.
IDLE_COST = 0.7


def round_trips(proxy: Proxy, verb: Callable[[], object]) -> int:
    """Count the requests that a verb takes."""
    before = len(proxy.requests)
    assert verb()
    return len(proxy.requests) - before


def test_every_verb_is_one_round_trip(arena: Arena) -> None:
    lock = RedisLock(arena.victim, NAME, metadata={"host": "a"})
    verbs = [lock.acquire, lock.renew, lock.owned, lock.locked, lock.holder, lock.release]
    for verb in verbs:  # now the server knows the scripts
        assert verb()

    assert {verb.__name__: round_trips(arena.proxy, verb) for verb in verbs} == {
        verb.__name__: 1 for verb in verbs
    }


def test_a_refusal_is_one_round_trip(one_arena: Arena) -> None:
    holder, loser = RedisLock(one_arena.client, NAME), RedisLock(one_arena.victim, NAME)
    assert holder.acquire()
    assert not loser.acquire()

    assert round_trips(one_arena.proxy, lambda: not loser.acquire()) == 1


def test_a_handover_costs_a_waiter_one_sleep_and_one_question(one_arena: Arena) -> None:
    holder, waiter = RedisLock(one_arena.client, NAME, 60), RedisLock(one_arena.victim, NAME, 60)
    for number_of_requests in (None, 3):
        before = len(one_arena.proxy.requests)
        assert holder.acquire()
        waiting = Waiting(waiter)
        until_in_line(one_arena.client, NAME, 1)
        assert holder.release()
        assert waiting.answer()
        # The first question is refused, then it sleeps, is woken, and asks again.
        cost = len(one_arena.proxy.requests) - before
        assert number_of_requests in (None, cost)
        assert waiter.release()


def test_twenty_idle_waiters_cost_less_than_a_round_trip_a_second_each(
    client: redis.Redis, proxy: Proxy
) -> None:
    holder = RedisLock(client, NAME, expire=60)
    assert holder.acquire()
    with redis.Redis(port=proxy.port) as idle:
        waiting = [Waiting(RedisLock(idle, NAME), then=RedisLock.release) for _ in range(20)]
        until_in_line(client, NAME, 20)
        eventually(lambda: proxy.requests)
        began_at, before = time.monotonic(), len(proxy.requests)
        eventually(lambda: time.monotonic() - began_at > 5)
        cost = (len(proxy.requests) - before) / (time.monotonic() - began_at)
        assert holder.release()
        assert all(waiter.answer() for waiter in waiting)

    assert cost / 20 <= IDLE_COST
