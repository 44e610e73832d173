"""Line: one connection, each step of which is bounded in time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from .replication import missing_acks, wait_for
from .wire import Command, packed


class Line:
    """One connection.

    Args:
        connection: Of redis-py.
        step_s: What each of its steps takes at most, seconds: to connect, to send, to read.
    """

    def __init__(self, connection: Any, step_s: float) -> None:
        self._connection = connection
        self._step_s = step_s
        self._is_open = False

    def ask(self, command: Command, within: float) -> Any:
        """Send a command and return its reply.

        Raises:
            redis.RedisError: Redis refused, or did not answer in time.
        """
        try:
            # The connection's own time-out comes cheaper than a look at it.
            if within == self._step_s and self._is_open:
                self._connection.send_packed_command((packed(command),), False)
                return self._connection.read_response()
            deadline = time.monotonic() + within
            self._open(within)
            self._connection.send_packed_command((packed(command),), False)
            return self._reply_within(max(deadline - time.monotonic(), 0))
        except redis.ResponseError:
            raise
        except BaseException:
            # A reply may be under way: nobody else may read it as the answer to his command.
            self.close()
            raise

    def ask_replicated(self, command: Command, within: float, acks: int) -> Any:
        """Send a command, have replicas acknowledge it in the same round trip, and return its reply."""
        reply = self.exchange([command], within, acks)[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    def exchange(self, commands: Sequence[Command], within: float, acks: int = 0) -> list[Any]:
        """Send all commands at once and return their replies; see `Exchange`."""
        deadline = time.monotonic() + within
        self.send(commands, within, acks)
        return self.receive(len(commands), deadline, acks)

    def send(self, commands: Sequence[Command], within: float, acks: int = 0) -> None:
        """Send all commands at once, for `receive`."""
        if acks:
            commands = [*commands, wait_for(acks, within)]
        try:
            self._open(within)
            self._connection.send_packed_command((b"".join(map(packed, commands)),), False)
        except BaseException:
            self.close()
            raise

    def receive(self, count: int, deadline: float, acks: int = 0) -> list[Any]:
        """Return the replies to `count` commands that were sent, until `deadline` of the monotonic clock."""
        try:
            replies = [self._reply_or_error(deadline) for _ in range(count + bool(acks))]
        except BaseException:
            self.close()
            raise
        missing = missing_acks(replies.pop(), acks) if acks else None
        return [missing if missing and not isinstance(reply, Exception) else reply for reply in replies]

    def _open(self, within: float) -> None:
        if self._is_open:
            return
        connection = self._connection
        # redis-py would take a time of its own: too long where little is left.
        connection.socket_timeout = connection.socket_connect_timeout = min(within, self._step_s)
        connection.connect()
        if within < self._step_s:
            with suppress(AttributeError):  # fakeredis has nothing to wait for
                connection._sock.settimeout(self._step_s)
        self._is_open = True

    def _reply_within(self, within: float) -> Any:
        connection = self._connection
        try:
            # In place of a look at it, which costs a sleeper that is woken three system calls.
            connection._sock.settimeout(max(within, 0.001))
        except AttributeError:  # fakeredis
            return _reply(connection, within)
        try:
            return connection.read_response()
        finally:
            if connection._sock is not None:
                connection._sock.settimeout(self._step_s)

    def _reply_or_error(self, deadline: float) -> Any:
        try:
            return _reply(self._connection, max(deadline - time.monotonic(), 0))
        except redis.ResponseError as error:
            return error

    def close(self) -> None:
        """Close the connection; it opens again when it is used."""
        self._is_open = False
        self._connection.disconnect()


def _reply(connection: Any, within: float) -> Any:
    if not connection.can_read(timeout=within):
        raise RedisTimeoutError(f"no answer within {within:.1f} s")
    return connection.read_response()
