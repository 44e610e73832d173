"""Sentinel: the store whose server is the master that sentinels name, looked up again after each failure."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import redis
from redis.sentinel import MasterNotFoundError

from ..protocol.script import Undo
from ..protocol.wire import Command
from .connection import BoundedConnection
from .routing import AGAIN_S, LOOK_UP_S, Address, RoutedStore, left_until, passes, placed, share_of
from .server import Server
from .unread import UnreadReply


class SentinelStore(RoutedStore):
    """The master of one service.

    Args:
        sentinels: Any of them is asked, in turn.
        service: What they call the master.
        connection_class: Of the connections to the master.
        options: What makes them, without an address.
        force_host: Reach the master at this host, whatever the sentinels say.
    """

    def __init__(
        self,
        sentinels: Sequence[Server],
        service: str,
        connection_class: Any,
        options: Mapping[str, Any],
        force_host: str | None = None,
    ) -> None:
        super().__init__(options)
        self._sentinels = deque(sentinels)
        self._service = service
        self._connection_class = connection_class
        self._options = options
        self._force_host = force_host
        self._known: tuple[Address, Server] | None = None
        self._is_stale = True

    @property
    def round_trip_s(self) -> float:
        """What a question to the master and its answer took."""
        return 0.0 if self._known is None else self._known[1].round_trip_s

    def attempt(
        self,
        command: Command,
        now: float,
        deadline: float,
        within: float = math.inf,
        acks: int = 0,
        undo: Undo | None = None,
    ) -> Any:
        """Send a command once, to the master."""
        if self._is_stale or self._known is None:
            master, now = self.master(deadline), time.monotonic()
        else:
            master = self._known[1]
        try:
            return master.attempt(command, now, deadline, within, acks, undo)
        except (redis.RedisError, OSError) as error:
            self.doubt(error)
            raise

    def post(self, command: Command, now: float) -> UnreadReply | None:
        """Send a command to the master that is known, without waiting for its reply."""
        known = None if self._is_stale else self._known
        return None if known is None else known[1].post(command, now)

    def read_unread(self, unread: UnreadReply, deadline: float) -> None:
        """Read a reply of the master, if it is still the same."""
        if self._known is not None:
            self._known[1].read_unread(unread, deadline)

    def connection(self, timeout_s: float) -> SentinelConnection:
        """Return a connection to the master of the moment."""
        return SentinelConnection(self, timeout_s)

    def close_idle(self) -> None:
        """Close connections to the master that nobody uses."""
        if self._known is not None:
            self._known[1].close_idle()

    def take_back(self, undo: Undo | None) -> None:
        """Take back what the master was asked."""
        if self._known is not None:
            self._known[1].take_back(undo)

    def close(self) -> None:
        """Close the connections to the master and to the sentinels."""
        known = [] if self._known is None else [self._known[1]]
        for server in (*known, *self._sentinels):
            server.close()

    def masters(self) -> Sequence[Server]:
        """Return the master."""
        return [self.master(time.monotonic() + self._attempt_s)]

    def doubt(self, error: Exception) -> None:
        """Ask for the master again before the next command, if another one may have taken over."""
        if passes(error):
            self._is_stale = True

    def master(self, deadline: float) -> Server:
        """Return the master; while no sentinel answers, the last one that was known.

        Raises:
            redis.RedisError: No sentinel knows it, and there was none before.
        """
        if self._is_stale or self._known is None:
            try:
                self._look_up(deadline)
            except (redis.RedisError, OSError):
                if self._known is None:
                    raise
        assert self._known is not None  # noqa: S101
        return self._known[1]

    def _look_up(self, deadline: float) -> None:
        failure: Exception | None = None
        for _ in range(len(self._sentinels)):
            sentinel = self._sentinels[0]
            # Whatever it says, the next look-up begins with another: this one may be cut off from the rest.
            self._sentinels.rotate(-1)
            try:
                question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
                now = time.monotonic()
                found = sentinel.attempt(question, now, now + share_of(deadline), LOOK_UP_S)
            except (redis.RedisError, OSError) as error:
                failure = error
            else:
                if found is not None:
                    return self._use((self._force_host or found[0].decode(), int(found[1])))
            if time.monotonic() + AGAIN_S >= deadline:
                break
        raise MasterNotFoundError(f"no sentinel could name the master {self._service!r}") from failure

    def _use(self, address: Address) -> None:
        if self._known is None or self._known[0] != address:
            self._known = address, Server(self._connection_class, placed(address, self._options))
        self._is_stale = False


class SentinelConnection:
    """A connection to the master of the moment, for many commands at a time."""

    def __init__(self, store: SentinelStore, timeout_s: float) -> None:
        self._store = store
        self._timeout_s = timeout_s
        self._master: Server | None = None
        self._connection: BoundedConnection | None = None

    def open(self, commands: Sequence[Command], within: float) -> None:
        """Open the connection."""
        deadline = time.monotonic() + within
        connection = self._connection_to(self._store.master(deadline))
        try:
            connection.open(commands, left_until(deadline))
        except (redis.RedisError, OSError) as error:
            self._store.doubt(error)
            raise

    def exchange(self, commands: Sequence[Command], within: float, acks: int = 0) -> list[Any]:
        """Send all commands at once to the master and return their replies."""
        deadline = time.monotonic() + within
        connection = self._connection_to(self._store.master(deadline))
        try:
            replies = connection.exchange(commands, left_until(deadline), acks)
        except (redis.RedisError, OSError) as error:
            self._store.doubt(error)
            raise
        for reply in replies:
            if isinstance(reply, Exception):
                self._store.doubt(reply)
        return replies

    def close(self) -> None:
        """Close the connection; it opens again when it is used."""
        if self._connection is not None:
            self._connection.close()

    def _connection_to(self, master: Server) -> BoundedConnection:
        if self._connection is None or self._master is not master:
            self.close()
            self._master, self._connection = master, master.connection(self._timeout_s)
        return self._connection
