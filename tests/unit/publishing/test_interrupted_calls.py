"""Interrupted calls: `delay()` that a signal's handler tears apart keeps nobody else from publishing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import Celery, chain

from celery_redislock import locked_batch
from celery_redislock.messages.headers import TICKET_HEADER

from ...stories.lock.interruptions import interrupted_at
from ...support.applications import locked

QUEUED, LOCK = "redislock.reservation:{redislock:t}", "redislock:t"

# A connection that was taken out for a question, and torn away, is closed when it is collected.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def taken_out(app: Celery) -> Iterator[Callable[[], int]]:
    """Give what counts the messages that are out, and takes them away."""
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        yield lambda: int(channel._purge("celery"))


@pytest.mark.parametrize("scope", ["queue", "task"])
def test_a_call_that_is_not_out_has_no_publish_lock(
    app: Celery, client: redis.Redis, taken_out: Callable[[], int], scope: str
) -> None:
    task = locked(app, lambda: None, name="t", lock_scope=scope)
    task.delay()
    assert taken_out() == 1
    assert client.delete(QUEUED), f"{TICKET_HEADER}: the first message has it"
    number = 1

    while interrupted_at(number, task.delay):
        if not taken_out():
            assert not client.exists(QUEUED), f"at line {number}"
        client.delete(QUEUED)
        number += 1

    assert number > 50
    assert client.pttl(QUEUED) > 60_000, "the message keeps it for `lock_queue_ttl`"


def test_a_batch_of_which_nothing_is_out_has_no_lock(
    app: Celery, client: redis.Redis, taken_out: Callable[[], int]
) -> None:
    task = locked(app, lambda: None, name="member")
    batch = locked_batch(chain(task.si(), task.si()), lock_key="t")
    batch.delay()
    assert taken_out() == 1
    client.flushall()
    number = 1

    while interrupted_at(number, batch.delay):
        if not taken_out():
            assert not client.exists(LOCK), f"at line {number}"
        client.flushall()
        number += 1

    assert number > 100
    assert client.exists(LOCK)
