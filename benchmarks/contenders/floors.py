"""Floors: two round trips that do nothing, for what no lock of two round trips can beat by much."""

from __future__ import annotations

import socket

import redis


class _Pings:
    """Asks the server twice a cycle; holds nothing."""

    def __init__(self, port: int) -> None:
        self._client = self._connected(port)

    def _connected(self, port: int) -> redis.Redis:
        raise NotImplementedError

    def make(self, name: str, ttl_s: float) -> None:
        pass

    def make_renewed(self, name: str, ttl_s: float) -> None:
        raise NotImplementedError

    def holds(self, lock: None) -> bool:
        raise NotImplementedError

    def acquire(self, lock: None) -> bool:
        return bool(self._client.ping())

    def wait(self, lock: None) -> None:
        self._client.ping()

    def release(self, lock: None) -> None:
        self._client.ping()


class RedisPyPings(_Pings):
    """Through a client as everyone makes it; its pool has one connection."""

    def _connected(self, port: int) -> redis.Redis:
        return redis.Redis(port=port)


class SingleConnectionPings(_Pings):
    """Through a client that is tied to one connection and takes a lock around each command."""

    def _connected(self, port: int) -> redis.Redis:
        return redis.Redis(port=port, single_connection_client=True)


class RawPings(_Pings):
    """Without a client: the bytes, and the system calls that nobody can save."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def acquire(self, lock: None) -> bool:
        self._socket.sendall(b"*1\r\n$4\r\nPING\r\n")
        return self._socket.recv(64) == b"+PONG\r\n"

    def wait(self, lock: None) -> None:
        self.acquire(lock)

    def release(self, lock: None) -> None:
        self.acquire(lock)
