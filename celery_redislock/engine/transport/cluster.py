"""Cluster: the store that sends each command to the master which has its key's slot, wherever that moves."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import redis
from redis.crc import key_slot
from redis.exceptions import ClusterDownError

from ..protocol.script import Undo
from ..protocol.wire import Command
from .cluster_pipeline import ClusterPipeline
from .redirection import Redirection, key_of, redirection
from .routing import AGAIN_S, LOOK_UP_S, Address, RoutedStore, passes, placed, share_of
from .server import Server
from .unread import UnreadReply

#: A slot that is sent to and fro more often than this is not followed further.
REDIRECTIONS = 5


@dataclass(frozen=True, eq=False)
class ClusterAddress:
    """A cluster by some of its nodes. Unlike a `redis.RedisCluster` it asks for nothing when it is made.

    Attributes:
        seeds: Host and port of nodes.
        connection_class: Of redis-py.
        options: What makes the connections, without an address.
        remap: As ``address_remap`` of `redis.RedisCluster`.
    """

    seeds: tuple[Address, ...]
    connection_class: Any = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)
    remap: Callable[[Address], Address] | None = field(default=None, repr=False)


class ClusterStore(RoutedStore):
    """The masters of a cluster.

    Which of them has a slot is asked for once, corrected by what they answer, and asked for again
    after a failure.
    """

    def __init__(self, address: ClusterAddress) -> None:
        super().__init__(address.options)
        # Not the address itself: stores are kept by it, weakly, and must be able to go with it.
        self._seeds, self._remap = address.seeds, address.remap
        self._connection_class, self._options = address.connection_class, address.options
        self._servers: dict[Address, Server] = {}
        self._owners: dict[int, Address] = {}
        self._nodes: list[Address] = list(address.seeds)
        self._is_stale = True

    @property
    def round_trip_s(self) -> float:
        """What a question and its answer took at the farthest of the nodes."""
        return max((server.round_trip_s for server in list(self._servers.values())), default=0.0)

    def attempt(
        self,
        command: Command,
        now: float,
        deadline: float,
        within: float = math.inf,
        acks: int = 0,
        undo: Undo | None = None,
    ) -> Any:
        """Send a command to the master of its key's slot, and on to where that sends it."""
        key = key_of(command)
        address, is_asking = self.owner_of(key, deadline), False
        for _ in range(REDIRECTIONS):
            try:
                now = time.monotonic()
                server = self.server_at(address)
                if is_asking:
                    return _asking(server, command, deadline, within, acks)
                return server.attempt(command, now, deadline, within, acks, undo)
            except (redis.RedisError, OSError) as error:
                self.doubt(address, error)
                onward = self.sent_on(address, error)
                if onward is None or time.monotonic() >= deadline:
                    raise
            address, is_asking = onward.address, onward.is_asking
        raise ClusterDownError("CLUSTERDOWN the nodes do not agree on which of them has the slot")

    def post(self, command: Command, now: float) -> UnreadReply | None:
        """Send a command to the master of its key's slot, if that is known, without waiting for its reply."""
        key = key_of(command)
        owner = None if self._is_stale or key is None else self._owners.get(key_slot(key))
        return None if owner is None else self.server_at(owner).post(command, now)

    def read_unread(self, unread: UnreadReply, deadline: float) -> None:
        """Read a reply, of whichever node it is."""
        for server in list(self._servers.values()):
            server.read_unread(unread, deadline)

    def connection(self, timeout_s: float) -> ClusterPipeline:
        """Return one connection to each master that is needed."""
        return ClusterPipeline(self, timeout_s)

    def close_idle(self) -> None:
        """Close connections to masters that nobody uses."""
        for server in list(self._servers.values()):
            server.close_idle()

    def take_back(self, undo: Undo | None) -> None:
        """Take back what the masters were asked."""
        for server in list(self._servers.values()):
            server.take_back(undo)

    def close(self) -> None:
        """Close the connections to all nodes."""
        for server in list(self._servers.values()):
            server.close()

    def masters(self) -> Sequence[Server]:
        """Return all masters that have slots."""
        self._look_up(time.monotonic() + self._attempt_s)
        return [self.server_at(address) for address in dict.fromkeys(self._owners.values())]

    def owner_of(self, key: bytes | None, deadline: float) -> Address:
        """Return the master that has a key, or any for None.

        Raises:
            redis.RedisError: It is not known, and no node says so.
        """
        slot = random.randrange(16384) if key is None else key_slot(key)  # noqa: S311
        if self._is_stale or slot not in self._owners:
            try:
                self._look_up(deadline)
            except (redis.RedisError, OSError):
                if slot not in self._owners:
                    raise
        try:
            return self._owners[slot]
        except KeyError:
            raise ClusterDownError(f"CLUSTERDOWN no node has slot {slot}") from None

    def server_at(self, address: Address) -> Server:
        """Return the server at an address."""
        try:
            return self._servers[address]
        except KeyError:
            server = Server(self._connection_class, placed(address, self._options))
            return self._servers.setdefault(address, server)

    def sent_on(self, address: Address, error: Exception) -> Redirection | None:
        """Return where a node sends a command on to, if it does, and take note of it."""
        told = redirection(error, address)
        if told is None:
            return None
        onward = replace(told, address=self._mapped(told.address))
        # A slot that is on its way has not changed its owner yet.
        if not onward.is_asking:
            self._owners[onward.slot] = onward.address
        return onward

    def doubt(self, address: Address, error: Exception) -> None:
        """Ask for the owners again before the next command, and this node last, if it may have failed."""
        if passes(error):
            self._is_stale = True
            self._nodes = [*(node for node in self._nodes if node != address), address]

    def _look_up(self, deadline: float) -> None:
        failure: Exception = ClusterDownError("CLUSTERDOWN no node is known")
        for node in list(dict.fromkeys((*self._nodes, *self._seeds))):
            try:
                now = time.monotonic()
                within = share_of(deadline)
                ranges = self.server_at(node).attempt(("CLUSTER", "SLOTS"), now, now + within, LOOK_UP_S)
                return self._take(node, ranges)
            except (redis.RedisError, OSError) as error:
                failure = error
            if time.monotonic() + AGAIN_S >= deadline:
                break
        raise failure

    def _take(self, told_by: Address, ranges: Sequence[Any]) -> None:
        """Replace what is known by the answer of one node."""
        owners: dict[int, Address] = {}
        nodes: list[Address] = []
        for first, last, *of_range in ranges:
            addresses = [self._mapped(_address(node, told_by)) for node in of_range]
            owners.update(dict.fromkeys(range(first, last + 1), addresses[0]))
            nodes += addresses
        if not owners:
            raise ClusterDownError("CLUSTERDOWN the node knows of no slots")
        self._owners, self._nodes, self._is_stale = owners, list(dict.fromkeys((told_by, *nodes))), False
        self._servers = {address: self._servers[address] for address in nodes if address in self._servers}

    def _mapped(self, address: Address) -> Address:
        return self._remap(address) if self._remap else address


def _asking(server: Server, command: Command, deadline: float, within: float, acks: int) -> Any:
    replies = server.exchange([("ASKING",), command], deadline, within, acks)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies[1]


def _address(node: Sequence[Any], told_by: Address) -> Address:
    """Return a node's address; one that does not know its own host is where we met it."""
    host = (node[0] or b"").decode()
    return (host if host not in ("", "?") else told_by[0], int(node[1]))
