"""Checks: what a publish lock promises, asked of any class; each raises AssertionError on a wrong one."""

from __future__ import annotations

import threading
from typing import Any
from uuid import uuid4

import redis

from celery_redislock import RedisLock

NAME = "checked"
QUEUED = f"redislock.reservation:{{{NAME}}}"

TTL_MS = 5000


def of_many_at_once_one_takes_it(kind: Any, client: redis.Redis) -> None:
    """Whoever does not is told who did."""
    start = threading.Barrier(8)
    answers: list[tuple[str, Any]] = []

    def publish(number: int) -> None:
        lock = kind(client, NAME)
        start.wait()
        for turn in range(5):
            work = f"work-{number}-{turn}"
            answers.append((work, lock.take(uuid4().hex, work, TTL_MS)))

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    took = [work for work, there in answers if there is None]
    assert len(took) == 1, f"{len(took)} took it"
    assert {there.metadata["id"] for _, there in answers if there is not None} == set(took)


def nobody_frees_anothers(kind: Any, client: redis.Redis) -> None:
    """A publisher whose own ran out, and whose publication fails late."""
    late, owner = kind(client, NAME), kind(client, NAME)
    late_token, token = uuid4().hex, uuid4().hex
    assert late.take(late_token, "late", TTL_MS) is None
    client.delete(QUEUED)
    assert owner.take(token, "owner", TTL_MS) is None

    late.free(late_token)

    assert client.get(QUEUED) == f"{token} owner".encode(), "it freed the publish lock of another"
    assert owner.free(token)


def a_holder_of_the_lock_counts(kind: Any, client: redis.Redis) -> None:
    """One that waits *or runs*."""
    with RedisLock(client, NAME, metadata={"id": "runs"}):
        there = kind(client, NAME).take(uuid4().hex, "work", TTL_MS)

        assert there is not None, "it is published beside one that runs"
        assert there.metadata["id"] == "runs"


def a_second_send_gets_the_same_answer(kind: Any, client: redis.Redis) -> None:
    """The reply was lost, and the publisher asks again."""
    token, lock = uuid4().hex, kind(client, NAME)

    answers = [lock.take(token, "work", TTL_MS) for _ in range(2)]

    assert answers == [None, None], "it met itself"


ALL = (
    of_many_at_once_one_takes_it,
    nobody_frees_anothers,
    a_holder_of_the_lock_counts,
    a_second_send_gets_the_same_answer,
)
