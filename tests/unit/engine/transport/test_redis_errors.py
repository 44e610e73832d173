"""Redis errors: each is told as an event, with what was asked, where it becomes an error of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
import redis

from celery_redislock import RedisLock, StoreUnavailable, events
from celery_redislock.engine import inspect, inspect_all, members_in_flight, store_of
from celery_redislock.engine.companion import Companion
from celery_redislock.engine.inspection import server_time
from celery_redislock.engine.transport.store import Store
from celery_redislock.events import StoreFailed

NAME = "told of"


@pytest.fixture
def told() -> Iterator[list[StoreFailed]]:
    """Listen."""
    told: list[StoreFailed] = []
    events.listen(StoreFailed, told.append)
    yield told
    events.unlisten(StoreFailed, told.append)


def ask_for(client: redis.Redis) -> object:
    """Ask for a lock."""
    return RedisLock(client, NAME).acquire()


#: What asks Redis -> which verb is told.
ASKED: dict[str, Callable[[redis.Redis], object]] = {
    "acquire": ask_for,
    "exists": lambda client: RedisLock(client, NAME).locked(),
    "force_release": lambda client: RedisLock(client, NAME).force_release(),
    "inspect": lambda client: inspect(store_of(client), NAME),
    "scan": lambda client: list(inspect_all(client, NAME)),
    "members": lambda client: members_in_flight(client, NAME),
    "time": lambda client: server_time(store_of(client), NAME),
    "hget": lambda client: Companion(client, NAME).call("HGET", "a", "b"),
}


@pytest.mark.parametrize("verb", ASKED)
def test_what_fails_is_told_once_with_the_verb_and_the_error(
    verb: str, client: redis.Redis, told: list[StoreFailed]
) -> None:
    away: Any = mock.patch.object(Store, "call", side_effect=redis.TimeoutError("no answer"))

    with away, pytest.raises(StoreUnavailable):
        ASKED[verb](client)

    assert told == [StoreFailed(verb, "TimeoutError")]


def test_what_succeeds_is_not_told(client: redis.Redis, told: list[StoreFailed]) -> None:
    for ask in ASKED.values():
        ask(client)

    assert told == []


def test_a_listener_that_raises_changes_nothing_of_the_error(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: StoreFailed) -> None:
        raise ValueError("a bug of the listener's")

    events.listen(StoreFailed, fails)
    try:
        with (
            mock.patch.object(Store, "call", side_effect=redis.TimeoutError("no answer")),
            pytest.raises(StoreUnavailable, match="it does not answer"),
        ):
            ask_for(client)
    finally:
        events.unlisten(StoreFailed, fails)
    assert "a listener to StoreFailed events has failed" in caplog.text
