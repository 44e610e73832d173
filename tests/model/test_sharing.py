"""The scripts of shared locks keep their promises in any sequence of readers, writers, limits and deaths."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from celery_redislock.engine.protocol import exclusive, limit, shared
from celery_redislock.engine.protocol.script import Script

from ..mutants.scripts import gone_wrong, rewritten
from .sharing import LimitedMachine, SharingMachine

_SETTINGS = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
#: To find that something is wrong, not to find the shortest way there; the same sequences each time.
_FINDS = settings(_SETTINGS, phases=[Phase.generate], print_blob=False, max_examples=600, derandomize=True)

SCRIPTS = [
    value
    for module in (exclusive, shared, limit)
    for value in vars(module).values()
    if isinstance(value, Script)
]


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """Give a waiter minutes to take its turn, and to be late: nothing ends by itself."""

    def patient(source: str) -> str:
        return re.sub(r"local (TURN|GRACE|MAILBOX_TTL|QUEUE_TTL)_MS = \d+", r"local \1_MS = 120000", source)

    with ExitStack() as stack:
        for script in {id(script): script for script in SCRIPTS}.values():
            stack.enter_context(rewritten(script, patient))
        yield


def _play(
    client: redis.Redis, how: settings, machine: Callable[[redis.Redis], SharingMachine] = SharingMachine
) -> None:
    run_state_machine_as_test(lambda: machine(client), settings=how)


def test_readers_and_writers_keep_to_the_rules(client: redis.Redis) -> None:
    _play(client, _SETTINGS)


def test_they_keep_to_the_rules_while_an_operator_changes_the_limit(client: redis.Redis) -> None:
    _play(client, _SETTINGS, LimitedMachine)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_readers_and_writers_keep_to_the_rules_in_many_more_sequences(client: redis.Redis) -> None:
    for machine in (SharingMachine, LimitedMachine):
        _play(client, settings(_SETTINGS, max_examples=1500, stateful_step_count=60), machine)


#: What a script says, what it says when it breaks a promise, and what is found.
_WRONG = {
    "a writer does not stop those behind it": (
        shared.ACQUIRE,
        "elseif not is_anybody_ahead and fits(for_all or limit, count) then",
        "elseif fits(for_all or limit, count) then",
        "overtaken",
    ),
    "a limit counts one too few": (
        shared.ACQUIRE,
        "number < tonumber(limit)",
        "number <= tonumber(limit)",
        "more than the limit|beyond the limit",
    ),
    "a release lets nobody in": (
        shared.RELEASE,
        "number, is_left = admit(keys, now, number)",
        "number, is_left = number, false",
        "was not let in",
    ),
    "a new group remembers the one that was lost": (
        shared.ACQUIRE,
        "            redis.call('DEL', sharers, places, gaps)\n",
        "",
        "could renew it|did not grow|not let in|refused|beyond the limit",
    ),
    "the mark ends with the soonest lease": (
        shared.RENEW,
        "0, 0, 'REV', 'WITHSCORES')[2]\n    return ends and ends - now or 0",
        "0, 0, 'WITHSCORES')[2]\n    return ends and ends - now - 100000 or 0",
        "ends before a lease",
    ),
    "a slot that is free again is forgotten": (
        shared.RELEASE,
        "redis.call('ZADD', keys.gaps, slot, slot)",
        "",
        "two have one slot|beyond the limit",
    ),
    "who leaves first ends it for all": (
        shared.RELEASE,
        "redis.call('ZCARD', sharers) == 1",
        "true",
        "is gone|lost it|could not give it back|refused|came in beside",
    ),
    "force tells nobody": (
        shared.FORCE_RELEASE,
        "last[1] .. BY_FORCE",
        "last[1]",
        "not told of force",
    ),
}


@pytest.mark.parametrize(("script", "right", "wrong", "words"), _WRONG.values(), ids=_WRONG)
def test_the_model_finds_a_script_that_is_wrong(
    client: redis.Redis, script: Script, right: str, wrong: str, words: str
) -> None:
    with gone_wrong(script, right, wrong), pytest.raises(BaseException, match=words):
        _play(client, _FINDS)


#: The same, of what an operator changes.
_WRONG_WITH_LIMITS = {
    "to lower a limit evicts": (
        limit.LIMIT,
        "    settle(keys, now)\nend\nreturn 1",
        "    local most = tonumber(number) or 99\n"
        "    for _, token in ipairs(redis.call('ZRANGE', keys.sharers, most, -1)) do\n"
        "        remove(keys, token)\n    end\n    settle(keys, now)\nend\nreturn 1",
        "put somebody out",
    ),
    "to raise a limit wakes nobody": (
        limit.LIMIT,
        "    settle(keys, now)\nend\nreturn 1",
        "end\nreturn 1",
        "was not let in",
    ),
}


@pytest.mark.parametrize(
    ("script", "right", "wrong", "words"), _WRONG_WITH_LIMITS.values(), ids=_WRONG_WITH_LIMITS
)
def test_the_model_finds_a_limit_that_is_wrong(
    client: redis.Redis, script: Script, right: str, wrong: str, words: str
) -> None:
    with gone_wrong(script, right, wrong), pytest.raises(BaseException, match=words):
        _play(client, _FINDS, LimitedMachine)
