"""Cluster pipeline: many commands at a time to a cluster, in one pipeline for each master."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

import redis

from ..protocol.wire import Command
from .connection import BoundedConnection
from .redirection import Redirection, key_of
from .routing import Address, left_until
from .server import Server

#: Commands that are sent on more often than this keep the error that sent them.
ROUNDS = 3


class Cluster(Protocol):
    """What a pipeline needs to know: `ClusterStore` knows it."""

    def owner_of(self, key: bytes | None, deadline: float) -> Address:
        """Return the master that has a key."""

    def server_at(self, address: Address) -> Server:
        """Return the server at an address."""

    def sent_on(self, address: Address, error: Exception) -> Redirection | None:
        """Return where a node sends a command on to, and take note of it."""

    def doubt(self, address: Address, error: Exception) -> None:
        """Take note of a failure."""


#: A node, and whether its commands must go behind an ASKING.
_Way = tuple[Address, bool]


class ClusterPipeline:
    """A connection to each master that is needed.

    A command without a key goes ahead of the others to each of them. A master that fails spoils the
    replies of its own commands alone: the error stands in their place.
    """

    def __init__(self, cluster: Cluster, timeout_s: float) -> None:
        self._cluster = cluster
        self._timeout_s = timeout_s
        self._connections: dict[Address, BoundedConnection] = {}
        #: Nodes that failed last, which are served behind the others.
        self._slow: set[Address] = set()

    def open(self, commands: Sequence[Command], within: float) -> None:
        """Open a connection to each master that has one of the keys, where that is possible."""
        deadline = time.monotonic() + within
        keys = [key for key in map(key_of, commands) if key is not None]
        for address in {self._cluster.owner_of(key, deadline) for key in keys}:
            with suppress(redis.RedisError, OSError):
                self._connection_to((address, False)).open(commands, left_until(deadline) / 2)

    def exchange(self, commands: Sequence[Command], within: float, acks: int = 0) -> list[Any]:
        """Send all commands at once and return their replies.

        Raises:
            redis.RedisError: It is not known where the masters are.
        """
        deadline = time.monotonic() + within
        keys = [key_of(command) for command in commands]
        preface = [index for index, key in enumerate(keys) if key is None]
        ways: dict[int, _Way] = {
            index: (self._cluster.owner_of(key, deadline), False)
            for index, key in enumerate(keys)
            if key is not None
        }
        replies: dict[int, Any] = {}
        for _ in range(ROUNDS):
            replies.update(self._round(commands, preface, ways, deadline, acks))
            ways = self._sent_on(ways, replies)
            if not ways or time.monotonic() >= deadline:
                break
        return [replies.get(index) for index in range(len(commands))]

    def close(self) -> None:
        """Close the connections; they open again when they are used."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def _round(
        self,
        commands: Sequence[Command],
        preface: list[int],
        ways: dict[int, _Way],
        deadline: float,
        acks: int,
    ) -> dict[int, Any]:
        """Send to all masters, and then read from all: the time of one round trip."""
        batches: dict[_Way, list[int]] = defaultdict(list)
        for index, way in ways.items():
            batches[way].append(index)
        replies: dict[int, Any] = {}
        sent: list[tuple[_Way, list[int]]] = []
        for way, indices in sorted(batches.items(), key=lambda batch: batch[0][0] in self._slow):
            everything = [*preface, *indices]
            try:
                # Half of the time that is left: a node that takes no connection leaves some for the others.
                within = left_until(deadline) / 2
                self._connection_to(way).send(_behind_asking(commands, everything, way), within, acks)
                sent.append((way, everything))
            except (redis.RedisError, OSError) as error:
                replies.update(self._failed(way, indices, error))
        for way, everything in sent:
            try:
                count = len(everything) * (2 if way[1] else 1)
                received = self._connection_to(way).receive(count, deadline, acks)
            except (redis.RedisError, OSError) as error:
                replies.update(self._failed(way, everything, error))
            else:
                self._slow.discard(way[0])
                replies.update(zip(everything, _without_asking(received, way), strict=True))
        return replies

    def _sent_on(self, ways: dict[int, _Way], replies: dict[int, Any]) -> dict[int, _Way]:
        """Return the commands that go to another node, and where."""
        onward: dict[int, _Way] = {}
        for index, (address, _) in ways.items():
            reply = replies[index]
            if not isinstance(reply, Exception):
                continue
            self._cluster.doubt(address, reply)
            found = self._cluster.sent_on(address, reply)
            if found is not None:
                onward[index] = (found.address, found.is_asking)
        return onward

    def _connection_to(self, way: _Way) -> BoundedConnection:
        address, _ = way
        if address not in self._connections:
            self._connections[address] = self._cluster.server_at(address).connection(self._timeout_s)
        return self._connections[address]

    def _failed(self, way: _Way, indices: list[int], error: Exception) -> dict[int, Any]:
        self._slow.add(way[0])
        self._connections.pop(way[0]).close()
        return dict.fromkeys(indices, error)


def _behind_asking(commands: Sequence[Command], indices: list[int], way: _Way) -> list[Command]:
    chosen = [commands[index] for index in indices]
    if not way[1]:
        return chosen
    return [part for command in chosen for part in (("ASKING",), command)]


def _without_asking(received: list[Any], way: _Way) -> list[Any]:
    if not way[1]:
        return received
    pairs = zip(received[::2], received[1::2], strict=True)
    return [asked if isinstance(asked, Exception) else reply for asked, reply in pairs]
