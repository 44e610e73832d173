"""Store: the Redis behind a user's client, spoken to in bounded time on connections of our own."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakSet

from redis.backoff import FullJitterBackoff, NoBackoff
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from .line import Line
from .wire import Command

#: A call is over after this many seconds, whatever the client's own settings say.
CALL_S = 5.0
#: One attempt of a call: so that a lost reply leaves time for a second one.
ATTEMPT_S = 2.0
#: An attempt waits at least this long, or the end of a timeout would cut off a healthy answer; seconds.
LEAST_ATTEMPT_S = 0.1
#: Attempts after the first, and the pauses before them: many clients do not all come back at once.
RETRIES = 3
#: Connections that are kept while nobody uses them and somebody begins to wait.
KEPT = 4
_BACKOFF = FullJitterBackoff(cap=0.2, base=0.02)


class Store(ABC):
    """What keeps the locks: one server, the master that sentinels name, or the masters of a cluster.

    The client's own connections are left alone: its time-outs may be none or minutes, it may decode
    replies, and a waiter would occupy its pool. Ours go to the same place with the same credentials.
    """

    @abstractmethod
    def call(self, command: Command, within: float = CALL_S, acks: int = 0) -> Any:
        """Send a command, again if its reply is lost, and return the reply.

        Only for commands that may be sent twice.

        Args:
            command: The command and its arguments.
            within: Seconds after which no further attempt is made.
            acks: As in `ask`.

        Raises:
            redis.RedisError: Redis refused, or could not be reached.
        """

    @abstractmethod
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

    @abstractmethod
    def line(self, timeout_s: float) -> Exchange:
        """Return a connection of its own, each step of which takes at most `timeout_s` seconds."""

    @abstractmethod
    def rest(self) -> None:
        """Close connections that nobody uses, but for a few: some who asked are going to sleep."""

    @abstractmethod
    def masters(self) -> Sequence[Server]:
        """Return the servers that together have all keys.

        Raises:
            redis.RedisError: They could not be found.
        """


class Exchange(Protocol):
    """Takes many commands at a time."""

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


class Server(Store):
    """One server.

    Args:
        connection_class: Of redis-py.
        options: What makes its connections, address and credentials included.
    """

    def __init__(self, connection_class: Any, options: Mapping[str, Any]) -> None:
        self._connection_class = connection_class
        self._options = bounded(options)
        self._attempt_s = self._options["socket_timeout"]
        self.begin_afresh()
        _servers.add(self)

    def begin_afresh(self) -> None:
        """Know of no connection. So begins the child of a fork: the sockets are the parent's."""
        self._idle: deque[Line] = deque()

    def call(self, command: Command, within: float = CALL_S, acks: int = 0) -> Any:
        """Send a command, again if its reply is lost."""
        deadline = time.monotonic() + min(within, CALL_S)
        attempt_s, failures = self._attempt_of(within), 0
        while True:
            try:
                return self.ask(command, attempt_s, acks)
            except AuthenticationError:
                raise
            except (RedisConnectionError, RedisTimeoutError) as error:
                failures += 1
                # After a silence the next attempt may take as long as the last one.
                needed_s = self._attempt_s if isinstance(error, RedisTimeoutError) else 0.0
                if failures > RETRIES or time.monotonic() + needed_s >= deadline:
                    raise
            time.sleep(_BACKOFF.compute(failures))
            attempt_s = self._attempt_of(deadline - time.monotonic())

    def _attempt_of(self, left_s: float) -> float:
        return self._attempt_s if left_s >= self._attempt_s else max(left_s, LEAST_ATTEMPT_S)

    def ask(self, command: Command, within: float, acks: int = 0) -> Any:
        """Send a command once."""
        try:
            line = self._idle.pop()
        except IndexError:
            line = self.line(self._attempt_s)
        try:
            return line.ask_replicated(command, within, acks) if acks else line.ask(command, within)
        finally:
            self._idle.append(line)

    def line(self, timeout_s: float) -> Line:
        """Return a connection of its own, each step of which takes at most `timeout_s` seconds."""
        timeouts = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        return Line(self._connection_class(**{**self._options, **timeouts}), timeout_s)

    def rest(self) -> None:
        """Close connections that nobody uses, those first that were not used for longest."""
        while len(self._idle) > KEPT:
            with suppress(IndexError):  # somebody uses it now
                self._idle.popleft().close()

    def masters(self) -> Sequence[Server]:
        """Return this one."""
        return [self]


def bounded(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return connection options of our own: bounded in time, replies as bytes, no retries inside."""
    # redis-py 7 and later put objects of the client's pool there; our pool makes its own.
    of_the_pool = ("maint_notifications", "oss_cluster_", "orig_", "himport_registry", "retry_on")
    kept = {name: value for name, value in options.items() if not name.startswith(of_the_pool)}
    kept.update(
        socket_timeout=min(options.get("socket_timeout") or ATTEMPT_S, ATTEMPT_S),
        socket_connect_timeout=min(options.get("socket_connect_timeout") or ATTEMPT_S, ATTEMPT_S),
        retry=Retry(NoBackoff(), 0),
        decode_responses=False,
        encoding="utf-8",
    )
    return kept


#: Of this process, wherever they are used: the servers of a cluster stand in no other table.
_servers: WeakSet[Server] = WeakSet()


def _after_fork() -> None:
    for server in list(_servers):
        server.begin_afresh()


os.register_at_fork(after_in_child=_after_fork)
