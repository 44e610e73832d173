"""Loss: Redis itself is gone, or whoever is told of the loss has a bug."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pytest

from celery_redislock import LockLost, RedisLock

from ...support.arena import Arena
from ...support.deadlines import eventually
from ...support.servers import Server

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
