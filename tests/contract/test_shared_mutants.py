"""Mutants of shared locks: a limit that is counted, and a wake-up of all, fail the contract."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from celery_redislock import RedisLock
from celery_redislock.engine.protocol import shared
from celery_redislock.engine.protocol.script import Script

from ..mutants.scripts import rewritten
from ..support.arena import Arena
from . import test_shared as promises
from .kinds import REDIS_LOCK
from .trial import Trial


def counts(source: str) -> str:
    """Have a script keep the number of holders beside their set: a grant adds one, a release takes one."""
    source = source.replace(
        "redis.call('ZCARD', keys.sharers)", "tonumber(redis.call('HGET', keys.places, 'n') or 0)"
    )
    source = source.replace("redis.call('ZCARD', sharers)", "tonumber(redis.call('HGET', places, 'n') or 0)")
    return source.replace(
        "redis.call('SET', lock, group_mark(), 'PX', longest)\n",
        "redis.call('SET', lock, group_mark(), 'PX', longest)\nredis.call('HINCRBY', places, 'n', 1)\n",
    )


def lets_all_in(source: str) -> str:
    """Have a release give a place to each that waits for one."""
    return source.replace("number < tonumber(limit)", "true")


def wakes_all(source: str) -> str:
    """Have a release wake all that wait; they find out that there is no place for them."""
    return source.replace(
        "is_left = admit(keys, now, number)\n",
        "is_left = admit(keys, now, number)\n"
        "    for _, each in ipairs(redis.call('ZRANGE', keys.waiters, 0, -1)) do\n"
        "        wake(keys.waiters, each)\n"
        "    end\n",
    )


WRONG = {
    "a limit that is counted": (
        shared.ACQUIRE,
        counts,
        promises.test_the_place_of_a_dead_holder_is_free_when_its_lease_ends,
        "gone for ever",
    ),
    "all are let in": (
        shared.RELEASE,
        lets_all_in,
        promises.test_a_place_that_is_given_back_goes_to_the_next_in_line,
        "more were let in",
    ),
    "all are woken": (
        shared.RELEASE,
        wakes_all,
        promises.test_exactly_as_many_are_woken_as_fit,
        "were woken",
    ),
}


@pytest.mark.parametrize(("script", "wrong", "promise", "words"), WRONG.values(), ids=WRONG)
def test_the_contract_finds_it(
    one_arena: Arena,
    script: Script,
    wrong: Callable[[str], str],
    promise: Callable[[Trial], None],
    words: str,
) -> None:
    assert REDIS_LOCK.lock_class is RedisLock
    assert wrong(script.source) != script.source

    with rewritten(script, wrong), pytest.raises(AssertionError, match=words):
        promise(Trial(REDIS_LOCK, one_arena))
