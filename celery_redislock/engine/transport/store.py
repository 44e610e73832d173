"""Store: the Redis behind a user's client, spoken to in bounded time on connections of our own."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import redis
from redis.exceptions import NoScriptError, ResponseError

from ..protocol.script import Script, Undo
from ..protocol.wire import Argument, Command
from .bounded import STEP_S
from .unread import UnreadReply

#: A call is over after this many seconds, whatever the client's own settings say.
CALL_S = 5.0
#: One attempt of a call, once the connection is open: so that a lost reply leaves time for a second one.
ATTEMPT_S = STEP_S
#: A question gets at least so long, seconds: the end of a timeout does not cut off a healthy answer.
LEAST_ATTEMPT_S = 0.1
#: Connections that are kept while nobody uses them.
KEPT = 4


class Store(ABC):
    """What keeps the locks: one server, the master that sentinels name, or the masters of a cluster.

    The client's own connections are left alone: its time-outs may be none or minutes, it may decode
    replies, and a waiter would occupy its pool. Ours go to the same place with the same credentials.
    """

    #: What one attempt of a call takes at most, seconds.
    _attempt_s: float

    def __init__(self) -> None:
        #: Digests of the scripts that it has run for this process: it knows them, unless it was restarted.
        self.has_run: set[str] = set()

    @property
    @abstractmethod
    def round_trip_s(self) -> float:
        """What a question and its answer took when a connection was opened last, seconds; 0.0: not known."""

    def call(self, command: Command, within: float = CALL_S, acks: int = 0, undo: Undo | None = None) -> Any:
        """Send a command, again if its reply is lost, and return the reply.

        Only for commands that may be sent twice. One deadline holds for all: to find the server, to open
        a connection, each attempt.

        Args:
            command: The command and its arguments.
            within: Seconds after which it is over; at most `CALL_S`.
            acks: As in `ask`.
            undo: What takes the command back: sent behind it, on the same connection, when it was sent, not
                answered, and is given up.

        Raises:
            redis.RedisError: Redis refused, or could not be reached.
        """
        now = time.monotonic()
        deadline = now + (within if within < CALL_S else CALL_S)
        failures = 0
        while True:
            try:
                return self.attempt(command, now, deadline, self._attempt_s, acks, undo)
            except (redis.RedisError, OSError) as error:
                failures += 1
                pause_s = self.pause_after(error, failures, deadline)
                if pause_s is None:
                    self.take_back(undo)
                    raise
            time.sleep(pause_s)
            now = time.monotonic()

    @abstractmethod
    def pause_after(self, error: Exception, failures: int, deadline: float) -> float | None:
        """Return how long a call waits before its next attempt, seconds; None: it gives up.

        Args:
            error: Of the last attempt.
            failures: How many attempts have failed.
            deadline: When the call must be over, on the monotonic clock.
        """

    def run(
        self,
        script: Script,
        keys: tuple[bytes, ...],
        arguments: tuple[Argument, ...] = (),
        within: float = CALL_S,
        acks: int = 0,
        undo: Undo | None = None,
    ) -> Any:
        """Run a script and return its reply, in at most `within` seconds.

        Args:
            script: The script; like every one of ours it may be sent twice.
            keys: All that it declares.
            arguments: What else it takes.
            within: Seconds, for all attempts together.
            acks: As in `ask`.
            undo: As in `call`.

        Raises:
            NotReplicated: Fewer than `acks` replicas have acknowledged what it did.
            redis.RedisError: Redis refused, or could not be reached.
        """
        began_at = time.monotonic()
        try:
            try:
                reply = self.call(script.command(keys, arguments), within, acks, undo)
            except NoScriptError:
                # After a restart, a failover or SCRIPT FLUSH; EVAL makes the server remember it again.
                left_s = within - (time.monotonic() - began_at)
                reply = self.call(script.in_full(keys, arguments), left_s, acks, undo)
        except ResponseError as error:
            forbidden = script.forbidden(error)
            if forbidden is None:
                raise
            raise forbidden from error
        self.has_run.add(script.sha)
        return reply

    def ask(self, command: Command, within: float, acks: int = 0) -> Any:
        """Send a command once and wait at most `within` seconds for its reply.

        Args:
            command: The command and its arguments.
            within: Seconds.
            acks: How many replicas must have acknowledged its effect.

        Raises:
            NotReplicated: It is done, but fewer did.
            redis.RedisError: Redis refused, or did not answer in time.
        """
        now = time.monotonic()
        return self.attempt(command, now, now + within, acks=acks)

    @abstractmethod
    def attempt(
        self,
        command: Command,
        now: float,
        deadline: float,
        within: float = math.inf,
        acks: int = 0,
        undo: Undo | None = None,
    ) -> Any:
        """Send a command once and return its reply.

        Nothing is sent that cannot be answered in time. A connection that was opened too late is kept.

        Args:
            command: The command and its arguments.
            now: What the monotonic clock says.
            deadline: When all must be over, on that clock.
            within: Seconds for the reply, once the connection is open.
            acks: As in `ask`.
            undo: As in `call`, for `take_back`.

        Raises:
            NotReplicated: As in `ask`.
            redis.RedisError: Redis refused, or did not answer in time.
        """

    @abstractmethod
    def take_back(self, undo: Undo | None) -> None:
        """Send what takes back the question of a call behind each copy of it that was not answered."""

    @abstractmethod
    def post(self, command: Command, now: float) -> UnreadReply | None:
        """Send a command without waiting for its reply; never waits for a connection.

        Args:
            command: The command and its arguments; it may be sent twice.
            now: What the monotonic clock says.

        Returns:
            The reply to come; None when no open connection is at hand. Nothing is known of a command of which
            this cannot be said: `call` it.
        """

    @abstractmethod
    def read_unread(self, unread: UnreadReply, deadline: float) -> None:
        """Read a reply that nobody has read until now, if it can still be read.

        Args:
            unread: The reply; see `UnreadReply.is_here` for whether it was read.
            deadline: Until when, on the monotonic clock.
        """

    @abstractmethod
    def connection(self, timeout_s: float) -> Exchange:
        """Return a connection of its own, each step of which takes at most `timeout_s` seconds."""

    @abstractmethod
    def close_idle(self) -> None:
        """Close connections that nobody uses, but for a few: some of the callers are going to sleep."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections that nobody uses now, and the others when they are no longer used."""

    @abstractmethod
    def masters(self) -> Sequence[Store]:
        """Return the servers that together have all keys.

        Raises:
            redis.RedisError: They could not be found.
        """


class Exchange(Protocol):
    """Takes many commands at a time."""

    def open(self, commands: Sequence[Command], within: float) -> None:
        """Open what these commands need, in at most `within` seconds: not in the time of their exchange.

        Raises:
            redis.RedisError: Nothing could be opened.
        """

    def exchange(self, commands: Sequence[Command], within: float, acks: int = 0) -> list[Any]:
        """Send all commands at once and return their replies; an error stands in its place.

        Args:
            commands: Each with its arguments.
            within: Seconds.
            acks: How many replicas must have acknowledged the effects, or `NotReplicated` stands there.

        Raises:
            redis.RedisError: Not all replies came in time; none is returned.
        """

    def close(self) -> None:
        """Close what is open; it opens again when it is used."""
