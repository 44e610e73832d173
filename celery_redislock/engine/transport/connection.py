"""BoundedConnection: one connection, used again only after an exchange that ended cleanly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..protocol.script import Undo
from ..protocol.wire import Command, packed
from .bounded import BoundedSocket, Clock, NoSocket, reader_of
from .replication import missing_acks, wait_for
from .unread import UnreadReply

#: Makes an open connection of redis-py, and its socket, until the clock's deadline.
Connect = Callable[[Clock], tuple[Any, BoundedSocket | NoSocket]]

#: What an idle connection is given for a sign of life, seconds; or so many round trips.
SIGN_OF_LIFE_S, ROUND_TRIPS = 0.1, 4
#: With less than this left none is opened, seconds: certificates alone take some of it.
OPENING_S = 0.03
#: For the word that is sent behind a question which was not answered, seconds.
LAST_WORD_S = 0.02


class BoundedConnection:
    """One connection.

    Whatever ends an exchange before its last reply was read, an exception of a signal handler at any
    point included, the connection is not ready: what it reads next may be another's answer. It opens a new
    connection then.

    Args:
        connect: Opens a connection.
        step_s: What each step of the opening takes at most, seconds.

    Attributes:
        is_ready: It is open, and every reply was read.
        is_owed: All was sent, and not all replies came.
        unread: The reply that comes first: nobody has waited for it.
        was_slow: It could not be opened in time, although somebody answered.
        used_at: When the last exchange began, monotonic clock.
        undo: What takes back the question that was not answered.
    """

    def __init__(self, connect: Connect, step_s: float) -> None:
        self._connect = connect
        self._step_s = step_s
        self._inner: Any = None
        self._sock: Any = None
        self._read: Callable[[], Any] = _nothing
        self._round_trip_s = 0.0
        self.is_ready = False
        self.is_owed = False
        self.unread: UnreadReply | None = None
        self.was_slow = False
        self.used_at = 0.0
        self.undo: Undo | None = None

    def open(self, _: Sequence[Command], within: float) -> None:
        """Open the connection, if it is not; see `Exchange`.

        Raises:
            redis.RedisError: It could not be opened in so many seconds.
        """
        if not self.is_ready:
            self._make_ready(time.monotonic() + within)

    def post(self, command: Command, now: float) -> UnreadReply:
        """Send a command; its reply is read by `settle`, or when the connection is used next.

        Args:
            command: The command.
            now: What the monotonic clock says.

        Raises:
            redis.RedisError: It could not be sent.
        """
        self.used_at = now
        self.is_ready = self.is_owed = False
        self._sock.begin(packed(command), now + self._step_s, self._step_s)
        self.is_owed = True
        self.unread = unread = UnreadReply()
        return unread

    def settle(self, deadline: float) -> bool:
        """Read the reply that nobody has waited for, if there is one; return whether the connection is ready.

        Args:
            deadline: Until when the reply is waited for, on the monotonic clock; but for one step at most.
        """
        # Taken away first: interrupted after this, the connection is not ready, and opens anew.
        unread, self.unread = self.unread, None
        if unread is None:
            return self.is_ready
        self._sock.resume(min(deadline, time.monotonic() + self._step_s))
        try:
            reply = self._reply_or_error()
        except (redis.RedisError, OSError):  # who posted the command asks again
            return False
        self.is_ready = True
        unread.answer(reply)
        return True

    def ask(self, command: Command, now: float, deadline: float, within: float = math.inf) -> Any:
        """Send a command and return its reply.

        Args:
            command: The command.
            now: What the monotonic clock says.
            deadline: When all must be over, on that clock.
            within: Seconds for the answer, once the connection is open.

        Raises:
            redis.RedisError: Redis refused, or did not answer in time.
        """
        self.used_at = now
        unread = self.unread
        if unread is None and not self.is_ready:
            now = self._make_ready(deadline)
        if now + within < deadline:
            deadline, left_s = now + within, within
        else:
            left_s = deadline - now
            self._ensure_time(left_s)
        # Marked before anything is sent, whatever happens from here on.
        self.is_ready = self.is_owed = False
        self._sock.begin(packed(command), deadline, left_s)
        self.is_owed = True
        if unread is not None:
            # It comes first, and most often with the other: both are received at once.
            self.unread = None
            unread.answer(self._reply_or_error())
        try:
            # It stays open when no reply comes, for a last word.
            reply = self._read()
        except redis.ResponseError as error:
            reply = error
        except OSError as error:
            raise _lost(error) from error
        self.is_ready = True
        if isinstance(reply, redis.ResponseError):
            raise reply
        return reply

    def ask_replicated(
        self, command: Command, now: float, deadline: float, acks: int, within: float = math.inf
    ) -> Any:
        """Send a command, have replicas acknowledge it in the same round trip, and return its reply."""
        self.used_at = now
        self._ready(deadline)
        reply = self.exchange([command], min(within, deadline - time.monotonic()), acks)[0]
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
        deadline = time.monotonic() + within
        left_s = self._ready(deadline)
        if acks:
            commands = [*commands, wait_for(acks, left_s)]
        self.is_ready = self.is_owed = False
        self._sock.begin(b"".join(map(packed, commands)), deadline, left_s)
        self.is_owed = True

    def receive(self, count: int, deadline: float, acks: int = 0) -> list[Any]:
        """Return the replies to `count` commands that were sent, until `deadline` of the monotonic clock."""
        self._sock.deadline = deadline
        replies = [self._reply_or_error() for _ in range(count + bool(acks))]
        self.is_ready = True
        missing = missing_acks(replies.pop(), acks) if acks else None
        return [missing if missing and not isinstance(reply, Exception) else reply for reply in replies]

    def has_gone_bad(self) -> bool:
        """Whether the server has closed it, or there is something to read that nobody asked for."""
        try:
            return bool(self._inner.can_read(timeout=0))
        except (redis.RedisError, OSError):
            return True

    def is_alive(self, deadline: float) -> bool:
        """Whether there is a sign of life, soon."""
        now = time.monotonic()
        within = max(SIGN_OF_LIFE_S, ROUND_TRIPS * self._round_trip_s)
        with suppress(redis.RedisError, OSError):  # also where PING is forbidden there is an answer
            self.ask(("PING",), now, deadline, within)
        return self.is_ready

    def say(self, command: Command) -> None:
        """Send a last word behind a question that was not answered in time; never raises, never waits long.

        On this connection it comes after the question, however late that comes.
        """
        if not self.is_owed:
            return
        with suppress(redis.RedisError, OSError):
            self._sock.begin(packed(command), time.monotonic() + LAST_WORD_S, LAST_WORD_S)

    def close(self) -> None:
        """Close the connection; it opens again when it is used."""
        self.is_ready = self.is_owed = False
        self.unread = None
        inner, self._inner, self._sock, self._read = self._inner, None, None, _nothing
        if inner is not None:
            inner.disconnect()

    def _ready(self, deadline: float) -> float:
        """Open the connection if it is not, and return the seconds that are left."""
        now = time.monotonic() if self.is_ready else self._make_ready(deadline)
        self._ensure_time(deadline - now)
        return deadline - now

    def _make_ready(self, deadline: float) -> float:
        """Read what is unread, or else open the connection, and return the time."""
        return time.monotonic() if self.settle(deadline) else self._open(deadline)

    def _open(self, deadline: float) -> float:
        """Open the connection, and return the time."""
        self.close()
        self.was_slow = False
        if deadline - time.monotonic() < OPENING_S:
            raise RedisTimeoutError("no time is left to open a connection")
        clock = Clock(deadline, self._step_s)
        try:
            inner, sock = self._connect(clock)
        except RedisTimeoutError:
            self.was_slow = clock.is_answered and time.monotonic() >= deadline
            raise
        self._round_trip_s = clock.round_trip_s
        self._inner, self._sock, self._read = inner, sock, reader_of(inner)
        self.used_at = time.monotonic()
        self.is_ready = True
        return self.used_at

    def _ensure_time(self, left_s: float) -> None:
        """Send nothing that cannot be answered in time: it would be done, and nobody would know.

        Raises:
            redis.TimeoutError: There is too little time; the connection stays open.
        """
        if left_s <= self._round_trip_s or left_s <= 0:
            # What took long once need not take so long for ever.
            self._round_trip_s *= 0.75
            raise RedisTimeoutError(
                f"not sent: a round trip takes longer than the {max(left_s, 0):.2f} s that are left"
            )

    def _reply_or_error(self) -> Any:
        try:
            return self._read()
        except redis.ResponseError as error:
            return error
        except OSError as error:
            raise _lost(error) from error


def _nothing() -> Any:
    raise RedisConnectionError("the connection is closed")


def _lost(error: OSError) -> redis.RedisError:
    if isinstance(error, TimeoutError):
        return RedisTimeoutError("no answer in time")
    return RedisConnectionError(f"the connection was lost: {error}")
