"""Slow links: a call is over in time, and leaves nothing in Redis that nobody knows of."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis

from celery_redislock import LockBusy, RedisLock, StoreUnavailable

from ...support.arena import Arena
from ...support.deadlines import eventually
from ...support.servers import Server
from .links import silent_addresses

NAME = "far away"
#: No call waits longer for Redis; a timeout is kept within so much; seconds.
LONGEST, KEPT_WITHIN = 5.0, 0.15
#: What two busy cores add, seconds.
SLACK = 0.25


def far_client(arena: Arena, **options: Any) -> redis.Redis:
    """Return a client with nothing open, which has much to say when it opens."""
    return arena.make_victim(**{"socket_timeout": None, "db": 1, "client_name": "far", **options})


def taken(lock: RedisLock, *arguments: Any) -> tuple[bool, float]:
    """Ask for a lock; return whether it was granted, and the seconds that it took."""
    began_at = time.monotonic()
    try:
        granted = lock.acquire(*arguments)
    except StoreUnavailable:
        granted = False
    return granted, time.monotonic() - began_at


def is_free(arena: Arena, name: str = NAME) -> bool:
    """Whether nobody has the lock, seen past the link."""
    arena.client.select(1)
    return not arena.client.exists(name)


@pytest.fixture
def link(one_arena: Arena) -> Arena:
    """Give an arena whose server knows the scripts."""
    assert RedisLock(one_arena.client, "warm").acquire()
    return one_arena


def test_a_free_lock_is_taken_in_time_or_left_free(link: Arena) -> None:
    link.proxy.delay(replies=0.02)
    lock = RedisLock(far_client(link), NAME)

    granted, took = taken(lock, True, 0.1)

    assert took < 0.1 + KEPT_WITHIN
    assert granted or is_free(link)
    assert lock.acquire(True, 0.1) is not granted, "what was opened should have been kept"


@pytest.mark.parametrize("round_trip", [0.3, 0.5])
def test_a_call_works_within_five_seconds(link: Arena, round_trip: float) -> None:
    link.proxy.delay(replies=round_trip)

    granted, took = taken(RedisLock(far_client(link), NAME))

    assert granted
    assert took < LONGEST


def test_who_does_not_wait_asks_once_however_long_that_takes(link: Arena) -> None:
    link.proxy.delay(replies=0.12)
    lock = RedisLock(far_client(link), NAME, expire=30)

    assert lock.acquire(True, 0)
    assert not RedisLock(far_client(link), NAME).acquire(True, 0)
    with pytest.raises(LockBusy), RedisLock(far_client(link), NAME, wait=0):
        pass


def test_what_was_opened_too_late_serves_the_next_call(link: Arena) -> None:
    link.proxy.delay(replies=0.15)
    lock = RedisLock(far_client(link), NAME)

    assert not taken(lock, True, 0.2)[0]
    assert is_free(link)
    eventually(lambda: _is_named(link), 3, "somebody should open it")

    eventually(lambda: taken(lock, True, 0.2)[0], 5, "the next call should find it open")


def _is_named(link: Arena) -> bool:
    return any(client["name"] == "far" and client["db"] == "1" for client in link.client.client_list())


def test_nothing_is_sent_that_cannot_be_answered_in_time(link: Arena) -> None:
    client = far_client(link)
    link.proxy.delay(replies=0.3)
    assert RedisLock(client, "opens").acquire()
    before = len(link.proxy.requests)

    granted, took = taken(RedisLock(client, NAME), True, 0.1)

    assert not granted
    assert took < 0.1 + KEPT_WITHIN
    assert len(link.proxy.requests) == before
    assert RedisLock(client, NAME).acquire(), "the connection should have been kept"


def test_what_was_sent_and_not_answered_in_time_is_given_back(link: Arena) -> None:
    client = far_client(link)
    assert RedisLock(client, "opens").acquire()
    link.proxy.delay(replies=0.5)

    granted, took = taken(RedisLock(client, NAME, expire=30), True, 0.1)

    assert not granted
    assert took < 0.1 + KEPT_WITHIN
    eventually(lambda: is_free(link), 1, "it should have been given back")


def test_a_call_that_is_never_answered_gives_back_what_it_may_have_taken(link: Arena) -> None:
    client = far_client(link)
    assert RedisLock(client, "opens").acquire()
    link.proxy.delay(replies=6)

    granted, took = taken(RedisLock(client, NAME, expire=30))

    assert not granted
    assert took < LONGEST + SLACK
    eventually(lambda: is_free(link), 1, "it should have been given back")


@pytest.mark.parametrize("round_trip", [0.04, 0.25])
def test_a_waiter_far_away_is_told_that_the_lock_is_busy(link: Arena, round_trip: float) -> None:
    client = far_client(link)
    link.proxy.delay(replies=round_trip)
    assert RedisLock(client, NAME, expire=30).acquire()
    began_at = time.monotonic()

    assert not RedisLock(client, NAME).acquire(True, 1.5)

    assert 1.5 - 1.5 * round_trip < time.monotonic() - began_at < 1.5 + KEPT_WITHIN


def test_a_lock_is_renewed_while_opening_takes_longer_than_a_renewal_may(link: Arena) -> None:
    client = far_client(link)
    lock = RedisLock(client, NAME, expire=1.2, renew=True)
    assert lock.acquire()
    link.proxy.delay(replies=0.08)

    time.sleep(2)

    assert not lock.lost
    assert not is_free(link)


@pytest.mark.parametrize("timeout", [0.3, 2.0])
def test_a_timeout_is_kept_however_slow_the_answers(link: Arena, timeout: float) -> None:
    link.proxy.delay(replies=1.6)

    assert taken(RedisLock(far_client(link), NAME), True, timeout)[1] < timeout + KEPT_WITHIN


@pytest.mark.parametrize("verb", ["acquire", "holder", "locked", "force_release"])
def test_no_verb_takes_longer_than_five_seconds_however_slow_the_answers(link: Arena, verb: str) -> None:
    link.proxy.delay(replies=1.3)
    call: Callable[[], object] = getattr(RedisLock(far_client(link), NAME), verb)
    began_at = time.monotonic()

    with suppress(StoreUnavailable):
        call()

    assert time.monotonic() - began_at < LONGEST + SLACK


@pytest.mark.parametrize(("arguments", "longest"), [((), LONGEST), ((True, 1), 1 + KEPT_WITHIN)])
def test_a_name_with_silent_addresses_takes_no_longer(
    arguments: tuple[Any, ...], longest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = socket.getaddrinfo
    with silent_addresses(4) as addresses, redis.Redis(host="many") as client:
        found = [known(*address, type=socket.SOCK_STREAM)[0] for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

        granted, took = taken(RedisLock(client, NAME), *arguments)

    assert not granted
    assert took < longest + SLACK


def test_an_address_that_answers_is_found_behind_silent_ones(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = socket.getaddrinfo
    with silent_addresses(2) as addresses, redis.Redis(host="many", port=server.port) as client:
        all_of_them = [*addresses, ("127.0.0.1", server.port)]
        found = [known(*address, type=socket.SOCK_STREAM)[0] for address in all_of_them]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

        assert taken(RedisLock(client, "behind"))[0]
