"""Server: the store that is one server, and its lines that nobody uses at the moment.

What can be trusted of an idle line is asked when it is used again: that the server has not closed it,
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

from ..protocol.script import Question
from ..protocol.wire import Command
from .bounded import BoundedSocket, Clock, NoSocket, connected, step_of
from .connection import Line
from .store import CALL_S, KEPT, Store

#: Attempts after the first, and the pauses before them: many clients do not all come back at once.
RETRIES = 3
_BACKOFF = FullJitterBackoff(cap=0.2, base=0.02)
#: An idle line is looked at after this long, seconds: a look costs a system call.
LOOKED_AT_S = 0.01
#: An idle line must give a sign of life after this long if `health_check_interval` is not set, seconds:
#: a firewall may have forgotten it.
TRUSTED_S = 15.0
#: With a round trip of more than this, seconds, to open a connection takes longer than who asks may have.
FAR_S = 0.02
#: Surplus lines are closed so long after their last use, looked for so often; seconds.
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
        self._connection_class = connection_class
        self._options = options
        self._attempt_s = step_of(options) if step_s is None else min(step_s, step_of(options))
        self._trusted_s = float(options.get("health_check_interval") or TRUSTED_S)
        self._round_trip_s = 0.0
        self.begin_afresh()
        _servers.add(self)

    def begin_afresh(self) -> None:
        """Know of no connection. So begins the child of a fork: the sockets are the parent's."""
        #: Who has a line brings it back to where he took it from: this one is exchanged to forget all.
        self._idle: deque[Line] = deque()
        #: Not answered in time, kept open for some seconds: what was sent arrives, and can be taken back.
        self._left: deque[Line] = deque()
        self._tidier: threading.Thread | None = None
        self._opener: threading.Thread | None = None

    @property
    def round_trip_s(self) -> float:
        """What a question and its answer took when a connection was opened last."""
        return self._round_trip_s

    def call(
        self, command: Command, within: float = CALL_S, acks: int = 0, undo: Question | None = None
    ) -> Any:
        """Send a command, again if its reply is lost."""
        now = time.monotonic()
        deadline = now + (within if within < CALL_S else CALL_S)
        failures = 0
        while True:
            try:
                return self.attempt(command, now, deadline, self._attempt_s, acks, undo)
            except AuthenticationError:
                raise
            except (RedisConnectionError, RedisTimeoutError) as error:
                failures += 1
                # After a silence the next attempt may take as long as the last one.
                needed_s = self._attempt_s if isinstance(error, RedisTimeoutError) else 0.0
                if failures > RETRIES or time.monotonic() + needed_s >= deadline:
                    self.take_back(undo)
                    raise
            time.sleep(min(_BACKOFF.compute(failures), max(deadline - time.monotonic(), 0)))
            now = time.monotonic()

    def attempt(
        self,
        command: Command,
        now: float,
        deadline: float,
        within: float = math.inf,
        acks: int = 0,
        undo: Question | None = None,
    ) -> Any:
        """Send a command once."""
        idle = self._idle
        try:
            line = idle.pop()
        except IndexError:
            line = self.line(self._attempt_s)
        else:
            if now - line.used_at > LOOKED_AT_S:
                self._look_at(line, now, deadline)
        if within == math.inf and self._round_trip_s > FAR_S and not idle:
            # It may sleep for long: who asks next should find another open, so far away.
            self._open_later()
        try:
            if acks:
                reply = line.ask_replicated(command, now, deadline, acks, within)
            else:
                reply = line.ask(command, now, deadline, within)
        except BaseException as error:
            self._after_failure(idle, line, error, is_call=within < math.inf, undo=undo)
            raise
        idle.append(line)
        if len(idle) > KEPT:
            self._tidy_later()
        return reply

    def exchange(
        self, commands: Sequence[Command], deadline: float, within: float = math.inf, acks: int = 0
    ) -> list[Any]:
        """Send some commands at once, on a connection for this time; an error stands in its place."""
        now, idle = time.monotonic(), self._idle
        try:
            line = idle.pop()
            self._look_at(line, now, deadline)
        except IndexError:
            line = self.line(self._attempt_s)
        try:
            line.open(commands, deadline - now)
            replies = line.exchange(commands, min(within, deadline - time.monotonic()), acks)
        except BaseException as error:
            self._after_failure(idle, line, error, is_call=True, undo=None)
            raise
        idle.append(line)
        return replies

    def line(self, timeout_s: float) -> Line:
        """Return a connection of its own, each step of which takes at most `timeout_s` seconds."""
        return Line(self._connect, timeout_s)

    def rest(self) -> None:
        """Close connections that nobody uses, those first that were not used for longest."""
        self._close_surplus(math.inf)

    def close(self) -> None:
        """Close the connections that nobody uses now, and the others when they are no longer used."""
        idle, self._idle = self._idle, deque()
        _close_all(idle)

    def take_back(self, undo: Question | None) -> None:
        """Send what takes back the question of a call behind each copy of it that was not answered."""
        for line in list(self._left):
            if undo is not None and line.undo is undo:
                script, keys, arguments = undo
                line.say(script.in_full(keys, arguments))

    def masters(self) -> Sequence[Server]:
        """Return this one."""
        return [self]

    def _connect(self, clock: Clock) -> tuple[Any, BoundedSocket | NoSocket]:
        connection = connected(self._connection_class, self._options, clock)
        self._round_trip_s = clock.round_trip_s
        return connection

    def _look_at(self, line: Line, now: float, deadline: float) -> None:
        """Close an idle line that cannot be trusted: it opens anew."""
        is_old = now - line.used_at > self._trusted_s
        if line.has_gone_bad() or (is_old and not line.is_alive(deadline)):
            line.close()
            # Those below were not used for longer.
            _close_all(self._idle)

    def _after_failure(
        self,
        idle: deque[Line],
        line: Line,
        error: BaseException,
        *,
        is_call: bool,
        undo: Question | None,
    ) -> None:
        if line.is_ready:
            # Redis refused, or nothing was sent.
            idle.append(line)
            return
        if isinstance(error, RedisTimeoutError) and line.is_owed and undo is not None:
            line.undo = undo
            self._left.append(line)
            self._tidy_later()
            return
        line.close()
        if line.was_slow:
            self._open_later()
        elif isinstance(error, RedisConnectionError) or is_call:
            # Those that were not used for longer have met the same fate.
            _close_all(idle)

    def _open_later(self) -> None:
        """Open a connection for the next who asks: this one had too little time for it."""
        if self._opener is None or not self._opener.is_alive():
            self._opener = _started(self._open_for_the_next, "redislock-opening")

    def _open_for_the_next(self) -> None:
        line, idle = self.line(self._attempt_s), self._idle
        with suppress(redis.RedisError, OSError):
            line.open((), CALL_S)
            idle.append(line)

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
                line = idle.popleft()
            except IndexError:  # somebody uses it now
                return
            if line.used_at > before:
                idle.appendleft(line)
                return
            line.close()


def _close_all(lines: deque[Line]) -> None:
    while lines:
        with suppress(IndexError):  # somebody uses it now
            lines.popleft().close()


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
