"""Several: locks that are taken together, all or none, by a crowd that wants them in any order."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import redis

from celery_redislock import LockBusy, LockLost, RedisLock, RedisLocks, StoreUnavailable

from ...mutants import several as wrong
from ...support.arena import Arena
from ...support.deadlines import eventually
from ...support.servers import Server
from ...support.waiting_threads import Waiting, until_in_line
from .crowd import gather

A, B, C = "several:a", "several:b", "several:c"

Check = Callable[[redis.Redis, Any], None]


def locks_of(client: redis.Redis, *names: str, expire: float = 30, **options: Any) -> list[RedisLock]:
    """Return locks that nobody has taken."""
    return [RedisLock(client, name, expire, **options) for name in names]


def busy(client: redis.Redis, name: str, expire: float = 60) -> RedisLock:
    """Return a lock that somebody else has taken."""
    lock = RedisLock(client, name, expire)
    assert lock.acquire()
    return lock


def taken(client: redis.Redis) -> set[str]:
    """Return which locks are taken."""
    return {name for name in (A, B, C) if client.exists(name)}


def check_that_all_are_taken(client: redis.Redis, several: Any) -> None:
    """A list that takes only its first lock is the worst that can be."""
    locks = several(locks_of(client, C, A, B))

    assert locks.acquire()

    assert taken(client) == {A, B, C}, "a lock of the list was not taken"
    assert locks.release()
    assert taken(client) == set()


def check_that_none_is_kept(client: redis.Redis, several: Any) -> None:
    """Whoever is refused one holds none."""
    for name in (A, B, C):
        other = busy(client, name)
        locks = several(locks_of(client, A, B, C))

        assert not locks.acquire()

        assert taken(client) == {name}, "what was taken before a refusal was kept"
        assert not locks.remaining
        assert other.release()


def check_that_there_is_one_wait(client: redis.Redis, several: Any) -> None:
    """Each of three locks comes free too late for two of the others."""
    others = [busy(client, A, 0.5), busy(client, B, 1.0), busy(client, C, 60)]
    began_at = time.monotonic()

    assert not several(locks_of(client, A, B, C)).acquire(blocking=True, timeout=1.5)

    assert time.monotonic() - began_at < 2.2, "it has waited for each lock as long as for all"
    assert taken(client) == {C}
    assert others[2].release()


def check_that_the_earlier_are_kept(client: redis.Redis, several: Any) -> None:
    """Another lock is waited for longer than a lease of the first lasts, and it does not renew itself."""
    other = busy(client, B)
    locks = several(locks_of(client, A, B, expire=1))
    waiting = Waiting(locks, 20)
    until_in_line(client, B, 1)
    later = Waiting(RedisLock(client, A, 30), 3)
    assert not later.answer(), "the first was not kept while another was waited for"
    assert other.release()

    assert waiting.answer()

    assert locks.owned()
    assert locks.remaining > 0.7, "the first has a lease that began long ago"
    assert locks.release()


def check_that_one_lost_is_all_lost(client: redis.Redis, several: Any) -> None:
    """Whatever is written under a list of locks needs all of them."""
    for name in (A, B, C):
        locks = several(locks_of(client, A, B, C, expire=1, renew=True))
        assert locks.acquire()
        client.delete(name)

        eventually(partial(getattr, locks, "lost"), 2, "one lock is lost, and the list is not")

        assert name in (locks.loss or ""), "it does not say which lock is lost"
        with pytest.raises(LockLost, match=name):
            locks.ensure_held()
        assert locks.fencing_tokens == {}
        assert not locks.release()
        assert taken(client) == set()


def check_that_nobody_is_stuck(client: redis.Redis, several: Any, patience_s: float = 30.0) -> None:
    """Eight processes want two to four of six locks, in any order."""
    seen = gather(client, 4, several, patience_s)

    assert seen.stuck == 0, "somebody has waited for a lock that never came"
    assert seen.met == 0
    assert seen.rounds > 50
    assert seen.left == []


CHECKS: tuple[Check, ...] = (
    check_that_all_are_taken,
    check_that_none_is_kept,
    check_that_there_is_one_wait,
    check_that_the_earlier_are_kept,
    check_that_one_lost_is_all_lost,
    check_that_nobody_is_stuck,
)


@pytest.fixture
def client(client_factory: Callable[..., redis.Redis]) -> redis.Redis:
    """Give a client of an empty server."""
    client = client_factory()
    client.flushall()
    return client


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_several_locks_are_safe(check: Check, client: redis.Redis) -> None:
    check(client, RedisLocks)


@pytest.mark.parametrize(
    ("several", "check", "words"),
    [
        (wrong.TakesOnlyTheFirst, check_that_all_are_taken, "was not taken"),
        (wrong.KeepsWhatItHas, check_that_none_is_kept, "was kept"),
        (wrong.WaitsForEach, check_that_there_is_one_wait, "for each lock"),
        (wrong.LetsTheEarlierEnd, check_that_the_earlier_are_kept, "was not kept"),
        (wrong.IsLostWithTheLast, check_that_one_lost_is_all_lost, "the list is not"),
    ],
)
def test_a_wrong_list_is_caught(several: Any, check: Check, words: str, client: redis.Redis) -> None:
    with pytest.raises(AssertionError, match=words):
        check(client, several)


def test_locks_that_are_taken_as_they_are_given_are_caught(client: redis.Redis) -> None:
    with pytest.raises(AssertionError, match="that never came"):
        check_that_nobody_is_stuck(client, wrong.TakesThemAsGiven, patience_s=3)


def test_a_name_that_is_given_twice_counts_once(client: redis.Redis) -> None:
    locks = RedisLocks(locks_of(client, B, A, B))

    assert locks.names == (A, B)
    with locks:
        assert list(locks.fencing_tokens) == [A, B]
    assert taken(client) == set()


def test_a_name_in_two_kinds_is_held_as_the_stricter(client: redis.Redis) -> None:
    kinds = [
        RedisLock(client, A, 30, shared=True),
        RedisLock(client, A, 30),
        RedisLock(client, A, 30, limit=9),
    ]
    reader = RedisLock(client, A, 30, shared=True)

    with RedisLocks(kinds):
        assert not reader.acquire(), "a reader is beside a writer"
    with RedisLocks([kinds[0], RedisLock(client, B, 30)]):
        assert reader.acquire()
        assert reader.release()


def test_two_of_each_tenant_and_three_in_all(client: redis.Redis) -> None:
    def place(tenant: str) -> RedisLocks:
        return RedisLocks([RedisLock(client, "api", 30, limit=3), RedisLock(client, tenant, 30, limit=2)])

    first, second, third = place(A), place(A), place(A)
    assert first.acquire()
    assert second.acquire()
    assert not third.acquire(), "three of one tenant"
    other, fourth = place(B), place(C)

    assert other.acquire(), "the place of who was refused was kept"

    assert not fourth.acquire(), "four in all"
    assert [each.slots for each in (first, second, other)] == [
        {"api": 0, A: 0},
        {"api": 1, A: 1},
        {"api": 2, B: 0},
    ]
    for each in (first, second, other):
        assert each.release()
    assert taken(client) == set()


def test_readers_are_kept_while_another_lock_is_waited_for(client: redis.Redis) -> None:
    other = busy(client, B)
    locks = RedisLocks([RedisLock(client, A, 1, shared=True), RedisLock(client, B, 30)])
    waiting = Waiting(locks, 20)  # type: ignore[arg-type]
    until_in_line(client, B, 1)

    assert not RedisLock(client, A, 30).acquire(blocking=True, timeout=2), "the reader was not kept"
    assert other.release()

    assert waiting.answer()
    assert locks.owned()
    assert locks.release()


def test_each_lock_has_its_number_and_its_place(client: redis.Redis) -> None:
    first, second = locks_of(client, A, B)
    locks = RedisLocks([second, first])
    assert (locks.fencing_tokens, locks.slots) == ({}, {})

    with locks:
        assert locks.fencing_tokens == {A: first.fencing_token, B: second.fencing_token}
        assert locks.slots == {A: None, B: None}

    assert (locks.fencing_tokens, locks.slots) == ({}, {})


def test_the_busy_one_is_named(client: redis.Redis) -> None:
    other = RedisLock(client, B, 60, metadata={"id": "someone"})
    assert other.acquire()

    with pytest.raises(LockBusy) as caught, RedisLocks(locks_of(client, A, B, C), wait=0):
        pass

    assert caught.value.name == B
    assert caught.value.holder is not None
    assert caught.value.holder.metadata["id"] == "someone"
    assert 50 < (caught.value.retry_after or 0) <= 60


def test_with_a_wait_of_zero_nothing_is_waited_for(client: redis.Redis) -> None:
    busy(client, B)
    began_at = time.monotonic()

    assert not RedisLocks(locks_of(client, A, B)).acquire(blocking=True, timeout=0)

    assert time.monotonic() - began_at < 1
    assert client.zcard(f"redislock.waiters:{{{B}}}") == 0


def test_whoever_waits_for_the_second_holds_the_first(client: redis.Redis) -> None:
    other = busy(client, B)
    waiting = Waiting(RedisLocks(locks_of(client, B, A)), 20, RedisLocks.release)  # type: ignore[arg-type]
    until_in_line(client, B, 1)

    assert taken(client) == {A, B}

    assert other.release()
    assert waiting.answer()
    eventually(lambda: taken(client) == set())


def test_a_loss_while_another_is_waited_for_is_told_and_all_is_given_back(client: redis.Redis) -> None:
    other = busy(client, B)
    first, second = locks_of(client, A, B, expire=1)
    waiting = Waiting(RedisLocks([first, second]), 20)  # type: ignore[arg-type]
    until_in_line(client, B, 1)
    assert RedisLock(client, A).force_release()
    eventually(lambda: first.lost)
    assert other.release()

    with pytest.raises(LockLost, match=A):
        waiting.answer()

    eventually(lambda: taken(client) == set())


def test_min_hold_counts_for_what_was_done_and_not_for_what_was_refused(client: redis.Redis) -> None:
    other = busy(client, B)
    locks = RedisLocks(locks_of(client, A, B, min_hold=20))
    assert not locks.acquire()
    assert taken(client) == {B}
    assert other.release()

    assert locks.acquire()
    assert locks.release()

    assert taken(client) == {A, B}


def test_an_outage_names_the_lock_and_keeps_nothing(one_arena: Arena) -> None:
    locks = RedisLocks(locks_of(one_arena.victim, A, B))
    assert locks.acquire()
    one_arena.proxy.blackhole()
    began_at = time.monotonic()

    with pytest.raises(StoreUnavailable, match=B):
        locks.release()

    assert time.monotonic() - began_at < 6.5, "it has waited for each lock as long as for all"
    one_arena.proxy.heal()
    assert locks.release(), "it cannot be released again"


def test_a_body_that_fails_gives_all_back(client: redis.Redis) -> None:
    with pytest.raises(KeyError) as caught, RedisLocks(locks_of(client, A, B)):
        raise KeyError("a bug of the user's")

    assert caught.value.__context__ is None
    assert taken(client) == set()


def test_a_place_in_line_is_given_up_by_timeout(client: redis.Redis, server: Server) -> None:
    busy(client, B)

    assert not RedisLocks(locks_of(client, A, B)).acquire(blocking=True, timeout=0.3)

    assert taken(client) == {B}
    assert client.zcard(f"redislock.waiters:{{{B}}}") == 0
