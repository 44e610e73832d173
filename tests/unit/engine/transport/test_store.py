"""Store: how a call goes on after a failure, and how a script is sent."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import pytest
import redis
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
)

from celery_redislock.engine.protocol.script import Question, Script
from celery_redislock.engine.protocol.wire import Command
from celery_redislock.engine.transport.routing import PAUSE_FIRST_S, PAUSE_LONGEST_S, RoutedStore
from celery_redislock.engine.transport.server import RETRIES, Server
from celery_redislock.engine.transport.store import CALL_S, Exchange, Store
from celery_redislock.engine.transport.unread import UnreadReply

SCRIPT = Script("return redis.call('GET', KEYS[1])", "0" * 40)
KEYS, ARGUMENTS = (b"key",), ("word",)
UNDO: Question = (SCRIPT, KEYS, ("undo",))


class Scripted(Store):
    """A store whose attempts end as a test says, one after the other."""

    _attempt_s = 2.0
    round_trip_s = 0.0

    def __init__(self, *ends: Any, pause_s: float | None = 0.0) -> None:
        super().__init__()
        self._ends, self._pause_s = list(ends), pause_s
        self.sent: list[Command] = []
        self.left_s: list[float] = []
        self.taken_back: list[Question | None] = []

    def attempt(
        self,
        command: Command,
        now: float,
        deadline: float,
        within: float = math.inf,
        acks: int = 0,
        undo: Question | None = None,
    ) -> Any:
        """End as the next of the ends."""
        self.sent.append(command)
        self.left_s.append(deadline - now)
        end = self._ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    def pause_after(self, error: Exception, failures: int, deadline: float) -> float | None:
        """Pause as long as the test says."""
        return self._pause_s

    def take_back(self, undo: Question | None) -> None:
        """Remember it."""
        self.taken_back.append(undo)

    def post(self, command: Command, now: float) -> None:
        """Have no connection."""

    def read_unread(self, unread: UnreadReply, deadline: float) -> None:
        """Have none."""

    def connection(self, timeout_s: float) -> Exchange:
        """Have none."""
        raise NotImplementedError

    def close_idle(self) -> None:
        """Have none."""

    def close(self) -> None:
        """Have none."""

    def masters(self) -> Sequence[Store]:
        """Be one."""
        return [self]


def test_a_call_is_sent_again_until_it_is_answered() -> None:
    store = Scripted(redis.ConnectionError(), OSError(), b"right")

    assert store.call(("GET", b"key"), undo=UNDO) == b"right"

    assert len(store.sent) == 3
    assert store.taken_back == []


def test_what_is_given_up_is_taken_back() -> None:
    store = Scripted(redis.TimeoutError(), pause_s=None)

    with pytest.raises(redis.TimeoutError):
        store.call(("GET", b"key"), undo=UNDO)

    assert store.taken_back == [UNDO]


@pytest.mark.parametrize(("within", "has"), [(1.0, 1.0), (60.0, CALL_S), (math.inf, CALL_S)])
def test_no_call_has_more_than_its_time(within: float, has: float) -> None:
    store = Scripted(b"right")

    store.call(("GET", b"key"), within)

    assert store.left_s == [pytest.approx(has)]


def test_a_script_is_sent_by_its_digest_and_in_full_where_it_is_not_known() -> None:
    store = Scripted(NoScriptError(), b"right", pause_s=None)

    assert store.run(SCRIPT, KEYS, ARGUMENTS) == b"right"

    assert store.sent == [SCRIPT.command(KEYS, ARGUMENTS), SCRIPT.in_full(KEYS, ARGUMENTS)]


def test_a_script_that_may_not_run_a_command_says_which() -> None:
    error = ResponseError("ACL failure in script: this user can't run this command script: user_script:1")
    store = Scripted(error, pause_s=None)

    with pytest.raises(NoPermissionError, match="may not run GET"):
        store.run(SCRIPT, KEYS, ARGUMENTS)


@pytest.fixture
def server() -> Server:
    """Give a server that is never asked."""
    return Server(redis.Connection, {})


@pytest.fixture
def routed(monkeypatch: pytest.MonkeyPatch) -> RoutedStore:
    """Give a store of several servers, none of which is asked."""
    monkeypatch.setattr(RoutedStore, "__abstractmethods__", frozenset())
    return RoutedStore({})  # type: ignore[abstract]


def in_time() -> float:
    """Return a deadline that leaves enough."""
    return time.monotonic() + CALL_S


@pytest.mark.parametrize("error", [redis.ConnectionError(), redis.TimeoutError()], ids=repr)
def test_one_server_is_asked_some_times(server: Server, error: Exception) -> None:
    pauses = [server.pause_after(error, failures, in_time()) for failures in range(1, RETRIES + 2)]

    assert None not in pauses[:RETRIES]
    assert pauses[RETRIES] is None


@pytest.mark.parametrize(
    "error", [AuthenticationError(), ResponseError("no"), ReadOnlyError(), OSError()], ids=repr
)
def test_one_server_is_not_asked_again_what_it_has_refused(server: Server, error: Exception) -> None:
    assert server.pause_after(error, 1, in_time()) is None


def test_after_a_silence_there_must_be_time_for_another(server: Server, routed: RoutedStore) -> None:
    for store in (server, routed):
        assert store.pause_after(redis.TimeoutError(), 1, time.monotonic() + 1.0) is None
        assert store.pause_after(redis.ConnectionError(), 1, time.monotonic() + 1.0) is not None


@pytest.mark.parametrize("error", [redis.ConnectionError(), ReadOnlyError("READONLY"), OSError()], ids=repr)
def test_several_servers_are_asked_until_the_time_is_up(routed: RoutedStore, error: Exception) -> None:
    pauses = [routed.pause_after(error, failures, in_time()) for failures in range(1, 12)]

    assert pauses[0] == PAUSE_FIRST_S
    assert pauses[-1] == PAUSE_LONGEST_S
    assert routed.pause_after(error, 1, time.monotonic()) is None


@pytest.mark.parametrize("error", [AuthenticationError(), ResponseError("no")], ids=repr)
def test_several_servers_are_not_asked_again_what_one_has_refused(
    routed: RoutedStore, error: Exception
) -> None:
    assert routed.pause_after(error, 1, in_time()) is None
