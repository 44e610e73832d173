"""Interruptions of several locks: a handler that raises, at any line, leaves none of them taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from celery_redislock import RedisLock

from ...contract.kinds import BeforeTwoOthers
from . import test_interruptions as calls
from .test_interruptions import NAME, Stand, at_every_line

pytestmark = calls.pytestmark

NAMES = (NAME, *BeforeTwoOthers.beside)


class Several(BeforeTwoOthers):
    """Three locks, with a token as one lock has it."""

    @property
    def token(self) -> str | None:
        """The token of the lock that the tests know, while anything is held."""
        held = [lock for lock in self.locks if lock.token is not None]
        return held[0].token if held else None

    @property
    def _renewal(self) -> Any:
        return self.locks[0]._renewal


class StandOfSeveral(Stand):
    """The calls of three locks are interrupted."""

    def __init__(self, client: redis.Redis, kind: type[Any] = Several, **options: Any) -> None:
        super().__init__(client, kind, **options)

    def is_free(self) -> None:
        """Compare each of the locks with one that nobody has."""
        super().is_free()
        left = [name for name in NAMES if self.client.exists(name)]
        assert not left, "an acquire that raised has left the lock taken"
        assert not self.renewed() & set(NAMES), "it is renewed for nobody"

    def is_free_or_known(self) -> None:
        """The same, or the object knows what it holds, and can release it."""
        if any(self.client.exists(name) for name in NAMES):
            assert self.lock.token is not None, "a key is left that the object does not know"
            self.lock.release()
        self.is_free()

    def all_is_well(self) -> None:
        """Compare what an interruption must leave as it was, with single locks beside these."""
        several, self.lock = self.lock, RedisLock(self.client, NAME)
        super().all_is_well()
        self.lock = several


def refused_at_the_second(stand: Stand, number: int) -> bool:
    """Take the first of the locks, and be refused the second."""
    other = RedisLock(stand.client, NAMES[1], 60)
    assert other.acquire()
    struck = stand.struck_at(number, stand.lock.acquire)
    assert other.release()
    stand.is_free()
    return struck


def waiting_for_the_second_in_vain(stand: Stand, number: int) -> bool:
    """The same, and wait for it."""
    other = RedisLock(stand.client, NAMES[1], 60)
    assert other.acquire()
    struck = stand.struck_at(number, lambda: stand.lock.acquire(blocking=True, timeout=0.01))
    assert other.release()
    stand.is_free()
    return struck


@pytest.fixture
def client(client_factory: Callable[..., redis.Redis]) -> redis.Redis:
    """Give a client of an empty server."""
    client = client_factory()
    client.flushall()
    return client


@pytest.mark.parametrize(
    "call",
    [
        calls.free_acquire,
        calls.entering,
        calls.leaving,
        calls.release,
        calls.waiting_in_vain,
        refused_at_the_second,
        waiting_for_the_second_in_vain,
    ],
    ids=lambda call: call.__name__,
)
def test_an_interruption_at_any_line_leaves_no_lock_taken(
    call: Callable[[Stand, int], bool], client: redis.Redis
) -> None:
    assert at_every_line(call, StandOfSeveral(client)) > 40


class KeepsWhatItHadTaken(Several):
    """Only the call that is interrupted is undone."""

    def _give_back(self, tokens: dict[str, str]) -> None:
        if len(tokens) < len(self.locks):
            super()._give_back(tokens)


def test_a_wrong_list_is_caught(client: redis.Redis) -> None:
    with pytest.raises(AssertionError, match="has left the lock taken"):
        at_every_line(calls.free_acquire, StandOfSeveral(client, KeepsWhatItHadTaken))
