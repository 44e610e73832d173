"""Exclusive: a whole conversation about a lock that needs no more than a way to send a command."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import pytest
import redis

from celery_redislock import RedisLock
from celery_redislock.engine.lease.lease import Lease, now
from celery_redislock.engine.lease.terms import terms_of
from celery_redislock.engine.protocol import exclusive, holder_record
from celery_redislock.engine.protocol.exclusive import Busy, Granted, Refused, Released
from celery_redislock.engine.protocol.keys import LockKeys, keys_of
from celery_redislock.engine.protocol.script import Question, Script

NAME = "conversation"
TTL_MS = 30_000
METADATA = holder_record.write({"id": "first"})


def asked(client: redis.Redis, question: Question) -> Any:
    """Send a question as any client of Redis may, also an asyncio one."""
    script, keys, arguments = question
    try:
        return client.execute_command(*script.command(keys, arguments))
    except redis.exceptions.NoScriptError:
        return client.execute_command(*script.in_full(keys, arguments))


@pytest.fixture
def keys() -> LockKeys:
    """Give the keys of a lock."""
    return keys_of(NAME)


def acquire(client: redis.Redis, keys: LockKeys, token: str, *, patience_ms: int = 0) -> Any:
    """Ask for the lock and read the answer."""
    sent_at = now()
    question = exclusive.acquire(keys, token, TTL_MS, patience_ms, METADATA, sent_at)
    return exclusive.acquired(asked(client, question), sent_at)


def test_a_lock_is_taken_renewed_and_given_back(client: redis.Redis, keys: LockKeys) -> None:
    """What an asyncio twin does, too: the terms, the questions and the count of the lease are the same."""
    terms, token = terms_of(30, None, 0, None, 0), uuid4().hex

    granted = acquire(client, keys, token)
    assert isinstance(granted, Granted)
    lease = Lease.granted(token, granted.fencing_token, terms.ttl_ms, granted.sent_at, terms.max_hold_ms)
    time.sleep(0.05)
    sent_at = now()
    assert asked(client, exclusive.renew(keys, token, lease.renewal_ms(sent_at))) == 1
    renewed = lease.renewed(sent_at, terms.ttl_ms)

    assert renewed.remaining(now()) > lease.remaining(now())
    assert exclusive.released(asked(client, exclusive.release(keys, token, 0, "done"))) == Released(False)
    assert not client.execute_command(*exclusive.exists(keys))
    assert acquire(client, keys, uuid4().hex).last_done == exclusive.number_of_work("done")


def test_a_busy_lock_tells_its_holder_and_wakes_the_waiter(client: redis.Redis, keys: LockKeys) -> None:
    holder, waiter = uuid4().hex, uuid4().hex
    granted = acquire(client, keys, holder)

    busy = acquire(client, keys, waiter, patience_ms=4000)
    assert isinstance(busy, Busy)
    assert busy.holder.metadata == {"id": "first"}
    assert busy.holder.fencing_token == granted.fencing_token
    asked(client, exclusive.release(keys, holder, 0, ""))
    mailbox, message = client.execute_command(*exclusive.sleep([keys.mailbox(waiter)], 2))

    assert mailbox == keys.mailbox(waiter)
    assert message != exclusive.INTERRUPT
    assert acquire(client, keys, waiter).fencing_token > granted.fencing_token


def test_a_sleeper_can_be_interrupted(client: redis.Redis, keys: LockKeys) -> None:
    mailbox = keys.mailbox(uuid4().hex)

    asked(client, exclusive.interrupt(mailbox))

    message = client.execute_command(*exclusive.sleep([mailbox], 2))
    assert list(message) == [mailbox, exclusive.INTERRUPT]


def test_what_was_granted_unseen_is_left_again(client: redis.Redis, keys: LockKeys) -> None:
    token, asked_at = uuid4().hex, now()
    question = exclusive.acquire(keys, token, TTL_MS, 0, METADATA, asked_at)
    asked(client, question)

    asked(client, exclusive.leave(keys, token, asked_at))

    assert exclusive.acquired(asked(client, question), asked_at) is None
    assert not client.exists(NAME)


def test_the_undo_of_a_question_leaves_what_a_later_one_was_granted(
    client: redis.Redis, keys: LockKeys
) -> None:
    token, asked_at = uuid4().hex, now()
    question = exclusive.acquire(keys, token, TTL_MS, 0, METADATA, asked_at)
    asked(client, question)
    later = exclusive.acquire_again(question, asked_at + 1)

    assert isinstance(exclusive.acquired(asked(client, later), asked_at + 1), Granted)
    asked(client, exclusive.undo_of(question))

    assert client.get(NAME) == token.encode()
    asked(client, exclusive.undo_of(later))
    assert not client.exists(NAME)


@pytest.mark.parametrize("more", [{}, {"ticket": "t" * 32}, {"mark": "m" * 32}, {"ticket": "t", "mark": "m"}])
def test_a_question_that_is_asked_again_differs_by_its_number(keys: LockKeys, more: Any) -> None:
    question = exclusive.acquire(keys, "token", TTL_MS, 0, METADATA, 1.0, **more)

    assert exclusive.acquire_again(question, 2.0) == exclusive.acquire(
        keys, "token", TTL_MS, 0, METADATA, 2.0, **more
    )
    assert exclusive.undo_of(question) == exclusive.leave(keys, "token", 1.0, more.get("mark", ""))


def test_a_lock_is_looked_at_and_taken_away(client: redis.Redis, keys: LockKeys) -> None:
    token = uuid4().hex
    acquire(client, keys, token)
    acquire(client, keys, uuid4().hex, patience_ms=4000)

    seen = exclusive.inspected(NAME, asked(client, exclusive.inspect(keys)))
    assert seen is not None
    assert (seen.waiters, seen.is_kept) == (1, False)
    owner = client.execute_command(*exclusive.owner(keys))
    assert owner == token.encode()
    assert asked(client, exclusive.force_release(keys, owner)) == 1

    for _ in range(2):
        refusal = exclusive.renewed(asked(client, exclusive.renew(keys, token, TTL_MS)))
        assert refusal == Refused(is_forced=True)
        answer = exclusive.released(asked(client, exclusive.release(keys, token, 0, "")))
        assert answer == Refused(is_forced=True)


def test_a_free_lock_is_seen_to_be_free(client: redis.Redis, keys: LockKeys) -> None:
    assert exclusive.inspected(NAME, asked(client, exclusive.inspect(keys))) is None


def test_it_excludes_the_lock_of_this_package(client: redis.Redis, keys: LockKeys) -> None:
    acquire(client, keys, uuid4().hex)

    lock = RedisLock(client, NAME)

    assert not lock.acquire()
    assert lock.holder() is not None


def test_the_number_of_a_question_grows() -> None:
    at = now()

    assert int(exclusive.number_of(at + 0.000_01)) > int(exclusive.number_of(at))


def test_a_question_is_a_command_at_once_and_in_full(keys: LockKeys) -> None:
    script, declared, arguments = exclusive.renew(keys, "token", 1000)

    assert Script.command(script, declared, arguments) == (
        "EVALSHA", exclusive.RENEW.sha, 4, *declared, "token", 1000
    )  # fmt: skip
    assert script.in_full(declared, arguments)[1] == exclusive.RENEW.source
