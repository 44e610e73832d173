"""Memory: the Redis of ``memory://``: it lives in this process, and has a clock of its own.

It is fakeredis, which runs the Lua scripts as they are. Around it stands what tests need and fakeredis has
not: time that passes at a word, for the server and for those in this process that hold locks or wait.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import redis

from ..engine import renewed_here, store_of
from ..errors import ConfigurationError
from . import under_test

__all__ = ["SCHEME", "MemoryRedis", "client_of", "refuse_several_processes"]

SCHEME = "memory"

#: Companion keys of the locks for which others wait: a hash token -> believed alive until, and a sorted set.
_SEEN, _WAITERS = b"redislock.seen", b"redislock.waiters"
#: What wakes a waiter, which then asks again; and for how long it is kept, seconds.
_WAKE_UP, _KEPT_S = b"time", 60
#: What is longer is no time, but a token.
LONGEST = 20


class MemoryRedis:
    """A Redis in this process.

    Attributes:
        client: Of redis-py.
        url: Of it alone: no two have the same.

    Raises:
        ConfigurationError: fakeredis is not installed.
    """

    _numbers = itertools.count(1)

    def __init__(self) -> None:
        self._ahead_s, self._pid = 0.0, os.getpid()
        self._server = self._make_server()
        self.url = f"{SCHEME}://{next(self._numbers)}"
        self.client = self._make_client()

    def advance(self, seconds: float) -> None:
        """Let time pass at once.

        Who renews a lease in this process goes on to hold it, and who waits in this process goes on to wait:
        they live. What is held elsewhere, and is renewed by nobody, ends.

        Args:
            seconds: At least 0.
        """
        with self._server.lock:
            watches = renewed_here(store_of(self.client))
            members = [(key, watch.token) for watch in watches for key in watch.keys]
            self._prolong({key for key, _ in members}, members, seconds)
            self._keep_waiters(seconds)
            self._ahead_s += seconds
            self._wake_waiters()

    def go_down(self) -> None:
        """Be away, as a server that cannot be reached."""
        self._server.connected = False

    def come_back(self) -> None:
        """Be there again, with all that was kept."""
        self._server.connected = True

    def refuse_child(self) -> None:
        """Refuse to be used in the child of a fork: what it writes here nobody else sees.

        Raises:
            ConfigurationError: It is one.
        """
        if os.getpid() != self._pid:
            raise ConfigurationError(
                "locks in memory (memory://) are kept in one process, and this is a child of it: "
                "use a worker pool of threads, or solo, or a Redis"
            )

    def time(self) -> float:
        """Return what its clock says, seconds since 1970."""
        return time.time() + self._ahead_s

    def _prolong(self, keys: set[bytes], members: list[tuple[bytes, str]], seconds: float) -> None:
        for key in keys:
            left_ms = self.client.pttl(key)
            if left_ms > 0:
                self.client.pexpire(key, left_ms + int(seconds * 1000))
        for key, token in members:
            # Of those who share a lock, and of the members of a batch, each has an end of its own.
            member = token.rpartition(":")[2]
            if self.client.type(key) == b"zset" and self.client.zscore(key, member) is not None:
                self.client.zincrby(key, seconds * 1000, member)

    def _keep_waiters(self, seconds: float) -> None:
        for key in self.client.scan_iter(_SEEN + b"*"):
            for field, value in self.client.hgetall(key).items():
                if len(value) < LONGEST and value.isdigit():
                    self.client.hset(key, field, int(value) + int(seconds * 1000))

    def _wake_waiters(self) -> None:
        for key in list(self.client.scan_iter(_WAITERS + b"*")):
            # Mailboxes begin with the same.
            tokens: Any = self.client.zrange(key, 0, -1) if self.client.type(key) == b"zset" else ()
            for token in tokens:
                self.client.rpush(key + b":" + token, _WAKE_UP)
                self.client.expire(key + b":" + token, _KEPT_S)

    def _make_server(self) -> Any:
        if find_spec("fakeredis") is None or find_spec("lupa") is None:
            raise ConfigurationError(
                "locks in memory (memory://) need fakeredis and lupa: install celery_redislock[pytest]"
            )
        import fakeredis

        server: Any = fakeredis.FakeServer(version=(7,))
        # `advance` sends commands while it has the lock.
        server.lock = threading.RLock()
        database = _with_clock(type(server.dbs[0]), self)
        server.dbs = defaultdict(lambda: database(server.lock))
        return server

    def _make_client(self) -> redis.Redis:
        import fakeredis

        client: redis.Redis = fakeredis.FakeRedis(
            server=self._server, connection_class=_connection_class(fakeredis.FakeRedisConnection, self)
        )
        return client


def _with_clock(database: Any, memory: MemoryRedis) -> Any:
    """Return a class of fakeredis's database whose time is that of this Redis."""

    class Clocked(database):  # type: ignore[misc]
        """Expires keys by its clock."""

        @property
        def time(self) -> float:
            """The time of the command that is under way."""
            return self._time

        @time.setter
        def time(self, _: float) -> None:
            self._time = memory.time()

    return Clocked


def _connection_class(connection: Any, memory: MemoryRedis) -> Any:
    """Return a class of fakeredis's connections for this Redis."""

    class Connection(connection):  # type: ignore[misc]
        """Tells the time of this Redis, and does not work in another process."""

        def _connect(self) -> Any:
            memory.refuse_child()
            sock = super()._connect()
            sock.time = lambda: _as_redis_tells(memory.time())
            return sock

    return Connection


def _as_redis_tells(at: float) -> list[bytes]:
    seconds, microseconds = divmod(round(at * 1e6), 1_000_000)
    return [str(seconds).encode(), str(microseconds).encode()]


#: That of ``redislock_url = "memory://"``, once it was asked for; by process: the child of a fork has none.
_of_process: dict[int, MemoryRedis] = {}


def client_of(url: str) -> redis.Redis:
    """Return the client of a Redis in memory.

    Args:
        url: That of a store that is in use, or ``memory://``: the one of this process.

    Raises:
        ConfigurationError: fakeredis is not installed, or the URL says more.
    """
    memory: MemoryRedis | None = under_test.now.memory
    if memory is not None:
        return memory.client
    if url != f"{SCHEME}://":
        raise ConfigurationError(
            f"{SCHEME}:// takes neither a host nor anything else: write redislock_url = '{SCHEME}://'"
        )
    return _of_process.setdefault(os.getpid(), MemoryRedis()).client


def refuse_several_processes(conf: Mapping[str, Any], setting: str) -> None:
    """Refuse locks in memory where the tasks of an app may run in several processes: each would have its own.

    Args:
        conf: The app's configuration.
        setting: Where the URL was written.

    Raises:
        ConfigurationError: They may.
    """
    broker = getattr(conf, "broker_url", None) or conf.get("broker_url") or conf.get("broker_transport") or ""
    if conf.get("task_always_eager") or str(broker).partition(":")[0] == SCHEME:
        return
    raise ConfigurationError(
        f"{setting} setting is {SCHEME}://, and the broker is not: workers are other processes, which would "
        f"not see these locks; use it with broker_url = '{SCHEME}://', with task_always_eager, or in a "
        "LockStore"
    )
