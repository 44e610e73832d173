"""Server: the store that is one server, and its connections that nobody uses at the moment.

What can be trusted of an idle connection is asked when it is used again: that the server has not closed it,
and, after a long time, that it still answers. What is too many goes some seconds after its last use.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakSet, ref

import redis
from redis.backoff import FullJitterBackoff
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..protocol.script import Undo
from ..protocol.wire import Command
from .bounded import BoundedSocket, Clock, NoSocket, connected, step_of
from .connection import BoundedConnection
from .store import CALL_S, KEPT, Store
from .unread import UnreadReply

#: Attempts after the first, and the pauses before them: many clients do not all come back at once.
RETRIES = 3
_BACKOFF = FullJitterBackoff(cap=0.2, base=0.02)
#: An idle connection is looked at after this long, seconds: a look costs a system call. What the server has
#: closed sooner is noticed by the question, which is asked again.
LOOKED_AT_S = 0.05
#: An idle connection must give a sign of life after this long if `health_check_interval` is not set, seconds:
#: a firewall may have forgotten it.
TRUSTED_S = 15.0
#: With a longer round trip than this, seconds, opening a connection may take more than a question has.
FAR_S = 0.02
#: Surplus connections are closed so long after their last use, looked for so often; seconds.
SURPLUS_S, TIDIED_EACH_S = 3.0, 1.0


class Server(Store):
    """One server.

    Args:
        connection_class: Of redis-py.
        options: What makes its connections, address and credentials included; read anew for each.
        step_s: What one step takes at most, seconds; None: what the options say.
    """

    def __init__(
        self, connection_class: Any, options: Mapping[str, Any], step_s: float | None = None
    ) -> None:
        super().__init__()
        self._connection_class = connection_class
        self._options = options
        self._attempt_s = step_of(options) if step_s is None else min(step_s, step_of(options))
        self._trusted_s = float(options.get("health_check_interval") or TRUSTED_S)
        self._round_trip_s = 0.0
        self.begin_afresh()
        _servers.add(self)

    def begin_afresh(self) -> None:
        """Know of no connection. So begins the child of a fork: the sockets are the parent's."""
        #: Who took a connection out of a deque brings it back to that one: a new deque forgets them all.
        self._idle: deque[BoundedConnection] = deque()
        #: Not answered in time, kept open for some seconds: what was sent arrives, and can be taken back.
        self._left: deque[BoundedConnection] = deque()
        self._tidier: threading.Thread | None = None
        self._opener: threading.Thread | None = None

    @property
    def round_trip_s(self) -> float:
        """What a question and its answer took when a connection was opened last."""
        return self._round_trip_s

    def pause_after(self, error: Exception, failures: int, deadline: float) -> float | None:
        """Return how long a call waits before its next attempt; None: it gives up."""
        if isinstance(error, AuthenticationError) or not isinstance(
            error, (RedisConnectionError, RedisTimeoutError)
        ):
            return None
        # After a silence the next attempt may take as long as the last one.
        needed_s = self._attempt_s if isinstance(error, RedisTimeoutError) else 0.0
        now = time.monotonic()
        if failures > RETRIES or now + needed_s >= deadline:
            return None
        return min(float(_BACKOFF.compute(failures)), max(deadline - now, 0))

    def attempt(
        self,
        command: Command,
        now: float,
        deadline: float,
        within: float = math.inf,
        acks: int = 0,
        undo: Undo | None = None,
    ) -> Any:
        """Send a command once."""
        idle = self._idle
        try:
            connection = idle.pop()
        except IndexError:
            connection = self.connection(self._attempt_s)
        else:
            if now - connection.used_at > LOOKED_AT_S:
                self._look_at(connection, now, deadline)
        if within == math.inf and self._round_trip_s > FAR_S and not idle:
            # It may sleep for long: the next question should find another connection open, so far away.
            self._open_later()
        try:
            if acks:
                reply = connection.ask_replicated(command, now, deadline, acks, within)
            else:
                reply = connection.ask(command, now, deadline, within)
        except BaseException as error:
            self._after_failure(idle, connection, error, is_call=within < math.inf, undo=undo)
            raise
        idle.append(connection)
        if len(idle) > KEPT:
            self._tidy_later()
        return reply

    def post(self, command: Command, now: float) -> UnreadReply | None:
        """Send a command on a connection that is open, and leave its reply there."""
        idle = self._idle
        try:
            connection = idle.pop()
        except IndexError:
            return None
        try:
            if now - connection.used_at > LOOKED_AT_S:
                self._look_at(connection, now, now + self._attempt_s)
            if connection.is_ready or connection.settle(now + self._attempt_s):
                unread = connection.post(command, now)
                idle.append(connection)
                return unread
        except (redis.RedisError, OSError):
            pass  # the caller asks in the usual way
        except BaseException:
            connection.close()
            raise
        connection.close()
        return None

    def read_unread(self, unread: UnreadReply, deadline: float) -> None:
        """Read a reply, unless its connection is in use: who uses it has read the reply, or lost it."""
        idle = self._idle
        connection = next((each for each in list(idle) if each.unread is unread), None)
        if connection is None:
            return
        try:
            idle.remove(connection)
        except (ValueError, IndexError):  # somebody uses it now
            return
        try:
            is_ready = connection.settle(deadline)
        except BaseException:
            connection.close()
            raise
        if is_ready:
            idle.append(connection)
        else:
            connection.close()

    def exchange(
        self, commands: Sequence[Command], deadline: float, within: float = math.inf, acks: int = 0
    ) -> list[Any]:
        """Send some commands at once, on a connection for this time; an error stands in its place."""
        now, idle = time.monotonic(), self._idle
        try:
            connection = idle.pop()
            self._look_at(connection, now, deadline)
        except IndexError:
            connection = self.connection(self._attempt_s)
        try:
            connection.open(commands, deadline - now)
            replies = connection.exchange(commands, min(within, deadline - time.monotonic()), acks)
        except BaseException as error:
            self._after_failure(idle, connection, error, is_call=True, undo=None)
            raise
        idle.append(connection)
        return replies

    def connection(self, timeout_s: float) -> BoundedConnection:
        """Return a connection of its own, each step of which takes at most `timeout_s` seconds."""
        return BoundedConnection(self._connect, timeout_s)

    def close_idle(self) -> None:
        """Close connections that nobody uses, those first that were not used for longest."""
        self._close_surplus(math.inf)

    def close(self) -> None:
        """Close the connections that nobody uses now, and the others when they are no longer used."""
        idle, self._idle = self._idle, deque()
        _close_all(idle)

    def take_back(self, undo: Undo | None) -> None:
        """Send what takes back the question of a call behind each copy of it that was not answered."""
        for connection in list(self._left):
            if undo is not None and connection.undo is undo:
                script, keys, arguments = undo()
                connection.say(script.in_full(keys, arguments))

    def masters(self) -> Sequence[Server]:
        """Return this one."""
        return [self]

    def _connect(self, clock: Clock) -> tuple[Any, BoundedSocket | NoSocket]:
        connection = connected(self._connection_class, self._options, clock)
        self._round_trip_s = clock.round_trip_s
        return connection

    def _look_at(self, connection: BoundedConnection, now: float, deadline: float) -> None:
        """Close an idle connection that cannot be trusted: it opens anew."""
        is_old = now - connection.used_at > self._trusted_s
        if (
            not connection.settle(deadline)
            or connection.has_gone_bad()
            or (is_old and not connection.is_alive(deadline))
        ):
            connection.close()
            # Those below were not used for longer.
            _close_all(self._idle)

    def _after_failure(
        self,
        idle: deque[BoundedConnection],
        connection: BoundedConnection,
        error: BaseException,
        *,
        is_call: bool,
        undo: Undo | None,
    ) -> None:
        if connection.is_ready:
            # Redis refused, or nothing was sent.
            idle.append(connection)
            return
        if isinstance(error, RedisTimeoutError) and connection.is_owed and undo is not None:
            connection.undo = undo
            self._left.append(connection)
            self._tidy_later()
            return
        connection.close()
        if connection.was_slow:
            self._open_later()
        elif isinstance(error, RedisConnectionError) or is_call:
            # Those that were not used for longer have met the same fate.
            _close_all(idle)

    def _open_later(self) -> None:
        """Open a connection for the next question: this one had too little time for it."""
        if self._opener is None or not self._opener.is_alive():
            self._opener = _started(self._open_for_the_next, "redislock-opening")

    def _open_for_the_next(self) -> None:
        connection, idle = self.connection(self._attempt_s), self._idle
        with suppress(redis.RedisError, OSError):
            connection.open((), CALL_S)
            idle.append(connection)

    def _tidy_later(self) -> None:
        if self._tidier is None or not self._tidier.is_alive():
            server = ref(self)
            self._tidier = _started(lambda: _tidy(server), "redislock-tidying")

    def is_tidied(self) -> bool:
        """Close what was not used for some seconds, but for a few; whether there is nothing more to close."""
        before = time.monotonic() - SURPLUS_S
        self._close_surplus(before)
        while self._left and self._left[0].used_at < before - CALL_S:
            with suppress(IndexError):
                self._left.popleft().close()
        return len(self._idle) <= KEPT and not self._left

    def _close_surplus(self, before: float) -> None:
        idle = self._idle
        while len(idle) > KEPT:
            try:
                connection = idle.popleft()
            except IndexError:  # somebody uses it now
                return
            if connection.used_at > before:
                idle.appendleft(connection)
                return
            connection.close()


def _close_all(connections: deque[BoundedConnection]) -> None:
    while connections:
        with suppress(IndexError):  # somebody uses it now
            connections.popleft().close()


def _tidy(server: ref[Server]) -> None:
    while True:
        time.sleep(TIDIED_EACH_S)
        there = server()
        if there is None or there.is_tidied():
            return
        del there


def _started(work: Callable[[], None], name: str) -> threading.Thread | None:
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no thread can be had now: it is not worth an error
        return None
    return thread


#: Of this process, wherever they are used: the servers of a cluster stand in no other table.
_servers: WeakSet[Server] = WeakSet()


def _after_fork() -> None:
    for server in list(_servers):
        server.begin_afresh()


os.register_at_fork(after_in_child=_after_fork)
