"""The scripts keep their promises in any sequence of requests, losses and deaths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from celery_redislock.engine.protocol.exclusive import ACQUIRE, FORCE_RELEASE, LEAVE, RELEASE, RENEW

from ..mutants.scripts import gone_wrong, rewritten
from .machine import LockMachine

_SETTINGS = settings(
    max_examples=120,
    stateful_step_count=30,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
#: To find that something is wrong, not to find the shortest way there.
_FINDS = settings(_SETTINGS, phases=[Phase.generate], print_blob=False, max_examples=1200, derandomize=True)


def _patient(source: str) -> str:
    """Give a waiter a minute to take its turn, to be late, and to be woken.

    So nothing ends by itself while an example lasts, however busy the machine is.
    """
    return re.sub(r"local (TURN|GRACE|MAILBOX_TTL)_MS = \d+", r"local \1_MS = 60000", source)


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """Have all scripts be patient."""
    with ExitStack() as stack:
        for script in (ACQUIRE, RELEASE, LEAVE, FORCE_RELEASE, RENEW):
            stack.enter_context(rewritten(script, _patient))
        yield


def _play(client: redis.Redis, how: settings) -> None:
    run_state_machine_as_test(lambda: LockMachine(client), settings=how)


def _look_twice(client: redis.Redis) -> None:
    """Look for what is wrong, and once more: what is seen depends on the server's clock, too."""
    _play(client, _FINDS)
    _play(client, settings(_FINDS, derandomize=False))


def test_the_scripts_do_what_the_model_does(client: redis.Redis) -> None:
    _play(client, _SETTINGS)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_scripts_do_what_the_model_does_in_many_more_sequences(client: redis.Redis) -> None:
    _play(client, settings(_SETTINGS, max_examples=2000, stateful_step_count=50))


#: What a script says, and what it says when it breaks a promise.
_WRONG = {
    "release frees the lock whoever holds it": (
        RELEASE,
        "local is_mine = redis.call('GET', lock) == token",
        "local is_mine = true",
    ),
    "release forgets that it was done": (
        RELEASE,
        "earlier == RELEASED",
        "false",
    ),
    "a release is not remembered": (
        RELEASE,
        "redis.call('SET', questions, RELEASED, 'PX', '60000')",
        "",
    ),
    "who has left may come again": (
        LEAVE,
        "redis.call('SET', questions, number, 'PX', '60000')",
        "",
    ),
    "who leaves late leaves what he was given since": (
        LEAVE,
        "holding == token and tonumber(question) > tonumber(number)",
        "false",
    ),
    "a loss that was told is forgotten": (
        RELEASE,
        "redis.call('SET', questions, LOST, 'PX', '60000')",
        "",
    ),
    "release wakes nobody": (
        RELEASE,
        "hand_over(lock, holder, waiters, seen, now)\n    end",
        "local nobody = nil\n    end",
    ),
    "fencing tokens are counted": (
        ACQUIRE,
        "local fencing_token = now_us",
        "local counted = string.match(redis.call('GET', holder) or '', '^%S+ (%d+)') or 0\n"
        "local fencing_token = string.format('%.0f', counted + 1)",
    ),
    "newcomers pass the queue": (
        ACQUIRE,
        "redis.call('EXISTS', lock, waiters, pending, questions, done)",
        "redis.call('EXISTS', lock, questions)",
    ),
    "a second send waits for the first": (
        ACQUIRE,
        "if owner == token then\n    return confirm(is_over)",
        "if false then\n    return confirm(is_over)",
    ),
    "the queue stays for ever": (ACQUIRE, "redis.call('PEXPIRE', waiters, QUEUE_TTL_MS)", ""),
    "a waiter that has left is shown": (LEAVE, "redis.call('HDEL', seen, token, who_of(token))", ""),
    "a turn is given to the dead": (RELEASE, "if alive_until >= now then", "if true then"),
    "an operator's release wakes nobody": (
        FORCE_RELEASE,
        "hand_over(KEYS[1], KEYS[2], KEYS[3], KEYS[4], server_ms())\nreturn 1",
        "return 1",
    ),
    "a loss by force is told as any other": (
        FORCE_RELEASE,
        "redis.call('SET', KEYS[5], question .. BY_FORCE,",
        "tostring(",
    ),
    "who was ousted may come again by a late copy": (
        FORCE_RELEASE,
        "question .. BY_FORCE",
        "'0' .. BY_FORCE",
    ),
    "a loss by force is told once": (
        RELEASE,
        "redis.call('SET', questions, OUSTED, 'PX', '60000')",
        "redis.call('SET', questions, LOST, 'PX', '60000')",
    ),
}


@pytest.mark.parametrize("fault", _WRONG)
def test_the_model_sees_when(fault: str, client: redis.Redis) -> None:
    with gone_wrong(*_WRONG[fault]), pytest.raises(AssertionError):
        _look_twice(client)
