"""Checks: what makes a lock safe, asked of any lock class; each raises AssertionError on an unsafe one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

import redis

from celery_redislock import RedisLock, StoreUnavailable

from ...support.deadlines import eventually
from ...support.proxy import Proxy
from .arena import Arena, companion
from .waiting_threads import Waiting

NAME = "the lock"

#: A lease longer than any test.
LONG = 60.0


class LockClass(Protocol):
    """What makes locks: `RedisLock`, or something that wrongly takes itself for one."""

    def __call__(self, client: redis.Redis, name: str, expire: float = ..., /) -> RedisLock:
        """Make a lock."""


Check = Callable[[LockClass, Arena], None]
Fault = Callable[[Proxy], object]


def swallow(proxy: Proxy) -> None:
    """Lose the next reply that has to do with the lock; its client sees nothing but silence."""
    proxy.swallow_replies(1, matching=NAME.encode())


def drop(proxy: Proxy) -> None:
    """Lose the next reply that has to do with the lock; its client sees the connection close."""
    proxy.drop_connection_after_request(1, matching=NAME.encode())


FAULTS: tuple[Fault, ...] = (swallow, drop)


def one_after_the_other(lock_class: LockClass, arena: Arena) -> None:
    """A lock is busy for others while it is held, and free afterwards: what a demo shows."""
    first, second = (lock_class(arena.client, NAME, LONG) for _ in range(2))

    assert first.acquire()
    assert not second.acquire(), "two hold the lock"
    assert first.release()
    assert second.acquire()
    assert second.release()

    assert not arena.client.exists(NAME)


def a_former_owner_cannot_release(lock_class: LockClass, arena: Arena) -> None:
    """A holder that was too slow must not free the lock of the next."""
    former, owner = lock_class(arena.client, NAME, 0.05), lock_class(arena.client, NAME, LONG)
    assert former.acquire()
    eventually(lambda: not arena.client.exists(NAME))
    assert owner.acquire()

    assert not former.release(), "a former owner released"

    assert owner.owned()


def a_former_owner_cannot_renew(lock_class: LockClass, arena: Arena) -> None:
    """A holder that was too slow must not take the lock of the next, nor prolong it."""
    former, owner = lock_class(arena.client, NAME, 0.05), lock_class(arena.client, NAME, LONG)
    assert former.acquire()
    eventually(lambda: not arena.client.exists(NAME))
    assert owner.acquire()

    assert not former.renew(), "a former owner renewed"

    assert owner.owned()
    assert arena.client.pttl(NAME) > LONG * 500


def a_loser_frees_nothing(lock_class: LockClass, arena: Arena) -> None:
    """``finally: lock.release()`` also runs in those who did not get the lock."""
    winner, loser = (lock_class(arena.client, NAME, LONG) for _ in range(2))
    assert winner.acquire()
    assert not loser.acquire()

    assert not loser.release(), "a loser released"

    assert winner.owned()


def a_lost_reply_of_acquire_is_no_refusal(lock_class: LockClass, arena: Arena) -> None:
    """The lock was granted and nobody heard: asking again must not find it busy with ourselves."""
    for fault in FAULTS:
        for client in (arena.victim, arena.make_victim_that_sends_once()):
            before = arena.proxy.fired
            lock, other = lock_class(client, NAME, LONG), lock_class(arena.client, NAME, LONG)
            fault(arena.proxy)

            assert lock.acquire(), "it waited for itself"

            assert arena.proxy.fired == before + 1, "the fault did not happen"
            assert lock.token is not None
            assert arena.client.get(NAME) == lock.token.encode()
            assert lock.fencing_token is not None
            assert last_fencing_token(arena) == lock.fencing_token
            assert not other.acquire()
            assert lock.release()
            assert not arena.client.exists(NAME)


def a_lost_reply_of_release_is_a_release(lock_class: LockClass, arena: Arena) -> None:
    """The lock was freed and nobody heard: asking again must not report it as lost."""
    for fault in FAULTS:
        for client in (arena.victim, arena.make_victim_that_sends_once()):
            lock = lock_class(client, NAME, LONG)
            assert lock.acquire()
            fault(arena.proxy)

            assert lock.release(), "a release that happened was reported as a failure"

            assert not lock.lost
            assert not arena.client.exists(NAME)


def a_lost_reply_of_release_leaves_the_next_holder_alone(lock_class: LockClass, arena: Arena) -> None:
    """When the release is sent again, the next may hold the lock already, or have released it too."""
    for next_releases in (False, True):
        lock, successor = lock_class(arena.victim, NAME, LONG), lock_class(arena.client, NAME, LONG)
        assert lock.acquire()
        waiting = Waiting(successor)
        eventually(lambda: arena.client.zcard(companion("waiters", NAME)))
        swallow(arena.proxy)
        released: list[bool] = []
        release = partial(lambda lock, answers: answers.append(lock.release()), lock, released)
        releasing = threading.Thread(target=release)
        releasing.start()
        assert waiting.answer()
        assert releasing.is_alive(), "the reply was not lost"
        if next_releases:
            assert successor.release()
        releasing.join()

        assert released == [True], "a release that happened was reported as a failure"

        assert successor.owned() is not next_releases
        assert successor.release() is not next_releases


def a_lost_reply_of_renew_is_a_renewal(lock_class: LockClass, arena: Arena) -> None:
    """The lease goes on and nobody heard: it must not be taken for lost."""
    for fault in FAULTS:
        lock = lock_class(arena.victim, NAME, LONG)
        assert lock.acquire()
        arena.client.pexpire(NAME, 5000)
        fault(arena.proxy)

        assert lock.renew(), "a renewal that happened was reported as a loss"

        assert not lock.lost
        assert arena.client.pttl(NAME) > LONG * 500
        assert lock.release()


def fencing_tokens_grow(lock_class: LockClass, arena: Arena) -> None:
    """The guarded resource refuses smaller numbers: one that repeats lets a former holder in."""
    grants: list[int] = []
    losses: list[Callable[[], object]] = [
        lambda: None,
        lambda: arena.client.delete(NAME),
        lambda: arena.client.delete(*arena.client.keys()),
        arena.client.flushall,
        lambda: arena.client.pexpire(NAME, 1) and eventually(lambda: not arena.client.exists(NAME)),
    ]
    for lose in losses * 3:
        lock = lock_class(arena.client, NAME, LONG)
        assert lock.acquire()
        assert isinstance(lock.fencing_token, int)
        grants.append(lock.fencing_token)
        lose()
        lock.release()

    assert grants == sorted(set(grants)), "a fencing token came again"


def a_renewal_never_creates_the_lock(lock_class: LockClass, arena: Arena) -> None:
    """Where the lock is gone another may have had it: taking it again in silence hides that."""
    lock = lock_class(arena.client, NAME, LONG)
    assert lock.acquire()
    arena.client.delete(NAME)

    assert not lock.renew(), "it came back from the dead"

    assert lock.lost
    assert not arena.client.exists(NAME)


def a_lease_is_not_believed_longer_than_redis_keeps_it(lock_class: LockClass, arena: Arena) -> None:
    """On a slow network the lease has begun long before its holder hears of it."""
    lock = lock_class(arena.make_victim(socket_timeout=2), NAME, 2.0)
    arena.proxy.delay(replies=0.15)

    def believed_until() -> float:
        return time.monotonic() + lock.remaining

    def kept_until() -> float:
        left_ms = int(arena.client.pttl(NAME))
        return time.monotonic() + left_ms / 1000

    assert lock.acquire()
    assert believed_until() <= kept_until(), "it believes in a lease that has ended"
    assert lock.renew()
    assert believed_until() <= kept_until(), "it believes in a lease that has ended"


def an_outage_is_never_a_grant(lock_class: LockClass, arena: Arena) -> None:
    """Fail-open is the favourite short cut of those who never had two runs at once."""
    arena.proxy.cut()
    lock = lock_class(arena.victim, NAME, LONG)

    with suppress(StoreUnavailable):
        assert not lock.acquire(), "it holds what nobody gave"

    assert lock.token is None


def last_fencing_token(arena: Arena) -> int:
    """Return what Redis remembers as the last number given."""
    return int(arena.client.get(companion("fence", NAME)))


ALL: tuple[Check, ...] = (
    one_after_the_other,
    a_former_owner_cannot_release,
    a_former_owner_cannot_renew,
    a_loser_frees_nothing,
    a_lost_reply_of_acquire_is_no_refusal,
    a_lost_reply_of_release_is_a_release,
    a_lost_reply_of_release_leaves_the_next_holder_alone,
    a_lost_reply_of_renew_is_a_renewal,
    fencing_tokens_grow,
    a_renewal_never_creates_the_lock,
    a_lease_is_not_believed_longer_than_redis_keeps_it,
    an_outage_is_never_a_grant,
)
