"""Bounded: a connection of redis-py whose steps all end at one deadline.

redis-py gives each step a time-out of its own: each address of a name, each reply of the handshake, each
piece of a reply. Here the step's time-out is what is left until the deadline of the exchange.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from time import monotonic
from typing import Any

from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from ..protocol.wire import packed

#: One step, to connect, to send or to be answered: so that a lost reply leaves time for a second attempt.
STEP_S = 2.0
#: A socket's own time-out is set anew when it is longer than it should be by so much, seconds.
SLACK_S = 0.02
#: No time-out is shorter than this, seconds: 0 means "do not wait" to a socket.
LEAST_S = 0.001
#: To load the certificates of a machine takes about so long, seconds.
CERTIFICATES_S = 0.03
#: The first of several addresses is given so long before half of the time, seconds.
ADDRESS_S = 0.1

#: Objects of the client's pool, which redis-py 7 and later put there; our connections have none.
_OF_THE_POOL = ("maint_notifications", "oss_cluster_", "orig_", "himport_registry", "retry_on")
#: What would cost a round trip each: to tell the server the library's name, and its version.
_OF_THE_LIBRARY = ("lib_name", "lib_version", "driver_info")
_TAKES_DRIVER_INFO = "driver_info" in inspect.signature(AbstractConnection.__init__).parameters
_UNSAID = dict.fromkeys(("driver_info",) if _TAKES_DRIVER_INFO else ("lib_name", "lib_version"))


class Clock:
    """Until when a connection may take its steps.

    Attributes:
        deadline: Of the monotonic clock.
        step_s: What one step takes at most, seconds.
        round_trip_s: What the last reply of the handshake took, or to connect if there was none.
        is_answered: Somebody is there.
        called_at: When the address was called that was called last.
    """

    def __init__(self, deadline: float, step_s: float) -> None:
        self.deadline, self.step_s = deadline, step_s
        self.round_trip_s = 0.0
        self.is_answered = False
        self.called_at = 0.0

    def left(self) -> float:
        """Return what the next step may take, seconds."""
        return max(min(self.deadline - monotonic(), self.step_s), LEAST_S)


class BoundedSocket:
    """A socket that waits until a deadline, however many steps it takes.

    Attributes:
        deadline: Of the monotonic clock; None: it waits as `settimeout` says.
    """

    __slots__ = ("_clock", "_is_begun", "_sent_at", "_sock", "_timeout_s", "deadline")

    def __init__(self, sock: Any, clock: Clock) -> None:
        self._sock = sock
        #: While the connection opens.
        self._clock: Clock | None = clock
        self._sent_at = 0.0
        self._timeout_s: float | None = None
        self._is_begun = False
        self.deadline: float | None = clock.deadline

    def is_open(self) -> None:
        """From now on each step may take the whole time until the deadline."""
        self._clock = None

    def begin(self, data: bytes, deadline: float, left_s: float) -> None:
        """Send, and wait for what comes back until the deadline, `left_s` seconds from now.

        Raises:
            redis.RedisError: It could not be sent.
        """
        self.deadline = deadline
        timeout_s = self._timeout_s
        if timeout_s is None or not left_s <= timeout_s <= left_s + SLACK_S:
            self._set(left_s)
        # The first to read need not look at the clock again.
        self._is_begun = True
        try:
            self._sock.sendall(data)
        except TimeoutError as error:
            raise RedisTimeoutError("it could not be sent in time") from error
        except OSError as error:
            raise RedisConnectionError(f"it could not be sent: {error}") from error

    def resume(self, deadline: float) -> None:
        """Wait until another deadline for what is still to come back."""
        self.deadline, self._is_begun = deadline, False

    def settimeout(self, seconds: float | None) -> None:
        """Wait for so long at each step, until there is a deadline again."""
        self.deadline, self._is_begun = None, False
        self._set(seconds)

    def sendall(self, data: Any) -> None:
        """Send."""
        self._bound()
        if self._clock is not None:
            self._sent_at = monotonic()
        self._sock.sendall(data)

    def recv_into(self, buffer: Any) -> int:
        """Receive, as hiredis does."""
        if self._is_begun:
            self._is_begun = False
        else:
            self._bound()
        count: int = self._sock.recv_into(buffer)
        if self._clock is not None:
            self._take_note(self._clock)
        return count

    def recv(self, *arguments: Any) -> bytes:
        """Receive, as redis-py's own parser does."""
        if self._is_begun:
            self._is_begun = False
        else:
            self._bound()
        received: bytes = self._sock.recv(*arguments)
        if self._clock is not None:
            self._take_note(self._clock)
        return received

    def fileno(self) -> int:
        """Return the descriptor."""
        descriptor: int = self._sock.fileno()
        return descriptor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def _take_note(self, clock: Clock) -> None:
        clock.round_trip_s, clock.is_answered = monotonic() - self._sent_at, True

    def _bound(self) -> None:
        deadline = self.deadline
        if deadline is None:
            return
        left_s = deadline - monotonic()
        if left_s <= 0:
            raise TimeoutError("no time is left")
        if self._clock is not None and left_s > self._clock.step_s:
            left_s = self._clock.step_s
        timeout_s = self._timeout_s
        # Each change is a system call.
        if timeout_s is None or not left_s <= timeout_s <= left_s + SLACK_S:
            self._set(max(left_s, LEAST_S))

    def _set(self, seconds: float | None) -> None:
        self._sock.settimeout(seconds)
        self._timeout_s = seconds


class NoSocket:
    """In place of a socket, where a connection has none: fakeredis has not."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.deadline: float | None = None

    def resume(self, deadline: float) -> None:
        """Wait until another deadline: nothing to do, what comes back is there."""

    def begin(self, data: bytes, _: float, left_s: float) -> None:
        """Send, and wait for what comes back."""
        self._connection.send_packed_command((data,), False)
        if not self._connection.can_read(timeout=left_s):
            raise RedisTimeoutError(f"no answer within {left_s:.1f} s")


class _Bounded:
    """Stands before a connection class of redis-py."""

    clock: Clock

    @property
    def socket_connect_timeout(self) -> float:
        """Half of what is left for each address: a silent one leaves time for the next."""
        left_s = self.clock.left()
        self.clock.called_at = monotonic()
        return min(left_s, max((self.clock.deadline - monotonic()) / 2, ADDRESS_S))

    @socket_connect_timeout.setter
    def socket_connect_timeout(self, _: Any) -> None:
        """Redis-py's own does not count."""

    @property
    def socket_timeout(self) -> float:
        """What is left for a step; redis-py looks here when an address has answered."""
        if self.clock.called_at and not self.clock.round_trip_s:
            self.clock.round_trip_s = monotonic() - self.clock.called_at
        if isinstance(self, SSLConnection):
            # It is connected now, and asks for the time that the handshake of TLS has: after the
            # certificates were loaded, which nothing can cut short.
            self.clock.is_answered = True
            return max(self.clock.left() - CERTIFICATES_S, LEAST_S)
        return self.clock.left()

    @socket_timeout.setter
    def socket_timeout(self, _: Any) -> None:
        """Redis-py's own does not count."""

    def _connect(self) -> Any:
        sock = super()._connect()  # type: ignore[misc]
        return BoundedSocket(sock, self.clock) if hasattr(sock, "settimeout") else sock


@cache
def _bounded_class(connection_class: type) -> type:
    own = {"clock": Clock(math.inf, STEP_S)}
    return type(f"Bounded{connection_class.__name__}", (_Bounded, connection_class), own)


def private(owner: Any, name: str) -> Any:
    """Return what an object of redis-py keeps private; None where its version has no such thing.

    The only place that reads such attributes. Those are, in redis-py 5.0 to 8.1:

    * ``_sock`` of a connection: the socket, on which one deadline holds for a whole exchange. The time-out
      that ``read_response`` takes from 8.0 on is one for each piece of a reply. fakeredis has none.
    * ``_parser`` of a connection: reads a reply and nothing else. What ``read_response`` does around that
      is for others, and takes as long as to parse a reply.
    * ``_force_master_ip`` of a Sentinel, from 5.1 on: the host at which the user reaches each master.
    """
    return getattr(owner, name, None)


def reader_of(connection: Any) -> Callable[[], Any]:
    """Return what reads a reply; what Redis refused is returned or raised, and nothing is closed."""
    if type(connection).read_response is AbstractConnection.read_response:
        read: Callable[[], Any] = private(connection, "_parser").read_response
        return read
    return partial(connection.read_response, disconnect_on_error=False)


def connected(
    connection_class: type, options: Mapping[str, Any], clock: Clock
) -> tuple[Any, BoundedSocket | NoSocket]:
    """Return an open connection, and its socket.

    Raises:
        redis.RedisError: It could not be opened until the deadline, or Redis refused it.
    """
    connection = _bounded_class(connection_class)(**of_our_own(options))
    connection.clock = clock
    try:
        connection.connect()
    except BaseException:
        connection.disconnect()
        raise
    sock = private(connection, "_sock")
    if not isinstance(sock, BoundedSocket):
        return connection, NoSocket(connection)
    sock.is_open()
    return connection, sock


class _Packer:
    """Packs what redis-py sends when it opens a connection.

    The packer of hiredis ends the process when a signal handler raises while it packs a number: the
    database, or the version of the protocol.
    """

    def pack(self, *words: Any) -> list[bytes]:
        """Return a command as redis-py sends it; its name may be two words."""
        return [packed((*words[0].split(), *words[1:]))]


def of_our_own(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options for a connection that is ours alone: replies as bytes, no retries inside."""
    left_out = (*_OF_THE_POOL, *_OF_THE_LIBRARY)
    kept = {name: value for name, value in options.items() if not name.startswith(left_out)}
    return {
        **kept,
        **_UNSAID,
        "command_packer": _Packer(),
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": False,
        "encoding": "utf-8",
        "health_check_interval": 0,
    }


def step_of(options: Mapping[str, Any]) -> float:
    """Return what one step takes at most, seconds: the client's own time-out if that is shorter."""
    return min(options.get("socket_timeout") or STEP_S, STEP_S)
