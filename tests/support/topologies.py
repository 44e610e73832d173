"""Topologies: a master with replicas under three Sentinels, and a cluster, of real servers on free ports."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot
from redis.sentinel import Sentinel

from .deadlines import eventually
from .servers import Server, free_port

#: What the Sentinels call the master.
SERVICE = "locks"

#: How long a node must be silent before it counts as down; milliseconds. Two busy cores are slow at times.
DOWN_AFTER_MS = 2000

#: A failover takes this long at most, seconds, on two busy cores.
FAILOVER_WITHIN = 45.0

#: Replicas are in step within milliseconds, and the first copy of the data is sent at once.
_REPLICATION = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")


class Replicated:
    """A master and two replicas under three Sentinels."""

    def __init__(self, kind: str = "redis") -> None:
        self._kind = kind
        self._stack = ExitStack()
        self.servers: list[Server] = []
        self.sentinels: list[Server] = []

    def __enter__(self) -> Replicated:
        with ExitStack() as stack:
            first = stack.enter_context(Server(self._kind, options=_REPLICATION))
            of_first = ("--replicaof", f"127.0.0.1 {first.port}")
            self.servers = [first, *(self._start(stack, (*_REPLICATION, *of_first)) for _ in range(2))]
            self.sentinels = [self._start_sentinel(stack, first.port) for _ in range(3)]
            self._stack = stack.pop_all()
        eventually(self.is_whole, FAILOVER_WITHIN, "all Sentinels should know all servers")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """Where the locks of a task are."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"sentinel://{hosts}/0?service={SERVICE}"

    def client(self, **options: Any) -> redis.Redis:
        """Return a client of whoever is the master."""
        addresses = [("127.0.0.1", sentinel.port) for sentinel in self.sentinels]
        client: redis.Redis = Sentinel(addresses, socket_timeout=1).master_for(SERVICE, **options)
        return client

    def owner(self, _name: str = "") -> Server:
        """Return the master, whatever the name of a lock."""
        return self.master()

    def replicas(self, _name: str = "") -> list[Server]:
        """Return the replicas."""
        return [server for server in self.servers if server is not self.master()]

    def master(self) -> Server:
        """Return the server that most Sentinels name."""
        ports = [self._named_by(sentinel) for sentinel in self.sentinels]
        port = max(set(ports), key=ports.count)
        return next(server for server in self.servers if server.port == port)

    def is_whole(self) -> bool:
        """Whether one master has two replicas in step, and every Sentinel knows that."""
        masters = {self._named_by(sentinel) for sentinel in self.sentinels}
        if len(masters) != 1 or None in masters:
            return False
        for sentinel in self.sentinels:
            with sentinel.client(decode_responses=True) as client:
                seen = client.execute_command("SENTINEL", "MASTERS")
                state = next(iter(seen.values())) if isinstance(seen, dict) else seen[0]
                if not isinstance(state, dict):
                    state = dict(zip(state[::2], state[1::2], strict=True))
                if state["num-other-sentinels"] != "2" and state["num-other-sentinels"] != 2:
                    return False
                if int(state["num-slaves"]) < 2 or str(state["flags"]) not in ("master", "{'master'}"):
                    return False
        with self.master().client() as client:
            return _replicas_in_step(client) == 2

    def fail_over(self, _name: str = "") -> None:
        """Kill the master; return when another has taken over, and the old one is its replica."""
        old = self.master()
        old.kill()
        eventually(lambda: self.master() is not old, FAILOVER_WITHIN, "a replica should take over")
        self.join_again(old)

    def join_again(self, old: Server) -> None:
        """Bring a former master back as a replica, empty, and wait until all is whole."""
        if not old.is_running:
            old.start()
            with old.client() as client:
                client.replicaof("127.0.0.1", self.master().port)
        eventually(self.is_whole, FAILOVER_WITHIN, "the former master should be a replica")

    def switch(self, _name: str = "") -> None:
        """Have the Sentinels change the master in good order."""
        old = self.master()
        with self.sentinels[0].client() as client:
            client.execute_command("SENTINEL", "FAILOVER", SERVICE)
        eventually(lambda: self.master() is not old, FAILOVER_WITHIN, "a replica should take over")
        eventually(self.is_whole, FAILOVER_WITHIN, "the former master should be a replica")

    def _named_by(self, sentinel: Server) -> int | None:
        with sentinel.client() as client, suppress(redis.ConnectionError, redis.TimeoutError):
            found = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
            return int(found[1]) if found else None
        return None

    def _start(self, stack: ExitStack, options: tuple[str, ...]) -> Server:
        return stack.enter_context(Server(self._kind, options=options))

    def _start_sentinel(self, stack: ExitStack, port: int) -> Server:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sentinel-")))
        return stack.enter_context(SentinelServer(self._kind, folder, port))


class SentinelServer(Server):
    """A Sentinel: the same program, with a file that it writes its state to.

    Args:
        kind: As of any server.
        folder: For the file.
        master_port: Of the master at first.
        options: More command line options.
        quorum: How many Sentinels must agree that a master is down.
    """

    def __init__(
        self, kind: str, folder: Path, master_port: int, options: tuple[str, ...] = (), quorum: int = 2
    ) -> None:
        super().__init__(kind, options=options)
        self._file = folder / "sentinel.conf"
        self._file.write_text(
            f"sentinel monitor {SERVICE} 127.0.0.1 {master_port} {quorum}\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {SERVICE} 6000\n"
            f"sentinel parallel-syncs {SERVICE} 2\n"
        )

    def _command(self, port: int) -> list[str | Path]:
        binary = super()._command(port)[0]
        return [binary, self._file, "--port", str(port), "--bind", "127.0.0.1", *self._options, "--sentinel"]


class Cluster:
    """Masters that share the slots, and a replica for each."""

    def __init__(self, masters: int = 3, replicas: int = 3, kind: str = "redis", **options: Any) -> None:
        self._counts = masters, replicas
        self._kind = kind
        self._options = options
        self._stack = ExitStack()
        self.servers: list[Server] = []

    def __enter__(self) -> Cluster:
        masters, replicas = self._counts
        with ExitStack() as stack:
            self.servers = [stack.enter_context(self._node()) for _ in range(masters + replicas)]
            self._form(masters)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """Where the locks of a task are."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers[:3])
        return f"redis+cluster://{hosts}"

    def client(self, **options: Any) -> redis.RedisCluster:
        """Return a new client; closing it is up to the caller."""
        return redis.RedisCluster(host="127.0.0.1", port=self.servers[0].port, **options)

    def owner(self, name: str) -> Server:
        """Return the master that has the slot of a name."""
        slot = key_slot(name.encode())
        for server in self.masters():
            with server.client() as client:
                for first, last, node, *_ in client.execute_command("CLUSTER SLOTS"):
                    if first <= slot <= last:
                        return self._at(int(node[1]))
        raise AssertionError(f"nobody has slot {slot}")

    def replicas(self, name: str) -> list[Server]:
        """Return the replicas of the master of a name."""
        port = self.owner(name).port
        return [server for server in self.servers if _master_port(server) == port]

    def masters(self) -> list[Server]:
        """Return the masters that live."""
        return [server for server in self.servers if server.is_running and _role(server) == "master"]

    def fail_over(self, name: str) -> None:
        """Kill the master of a name; return when its replica has taken over, and it is back as replica."""
        old = self.owner(name)
        old.kill()

        def is_taken_over() -> bool:
            with suppress(AssertionError, redis.RedisError):
                return self.owner(name) is not old
            return False

        eventually(is_taken_over, FAILOVER_WITHIN, "a replica should take over")
        old.start()
        self._join_again()

    def switch(self, name: str) -> None:
        """Have a replica of the master of a name take over in good order."""
        replica = self.replicas(name)[0]

        def takes_over() -> bool:
            """Ask again: a node gives up after five seconds when the others have no time for it."""
            with replica.client() as client, suppress(redis.ResponseError):
                client.execute_command("CLUSTER", "FAILOVER")
            with suppress(AssertionError):
                eventually(lambda: self.owner(name) is replica, 8)
            return self.owner(name) is replica

        eventually(takes_over, FAILOVER_WITHIN, "the replica should take over")
        self._join_again()

    def move(self, name: str, pause: Callable[[], object] = lambda: None) -> None:
        """Move the slot of a name to another master, key by key, as ``redis-cli --cluster reshard`` does.

        Args:
            name: Any key of the slot.
            pause: Called after each key that was moved.
        """
        slot, source = key_slot(name.encode()), self.owner(name)
        target = next(server for server in self.masters() if server is not source)
        ids = {server: _node_id(server) for server in (source, target)}
        with source.client() as old, target.client() as new:
            new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
            old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
            while keys := old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1):
                old.execute_command("MIGRATE", "127.0.0.1", target.port, keys[0], 0, 5000)
                pause()
            for server in (target, source, *(s for s in self.masters() if s not in (source, target))):
                with server.client() as client:
                    client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target])

    def _join_again(self) -> None:
        """Wait until the former master is a replica.

        Raises:
            AssertionError: It is none in time; each node says how it sees the others.
        """
        try:
            eventually(self.is_whole, FAILOVER_WITHIN, "the former master should be a replica")
        except AssertionError as error:
            seen = [f"{server!r}: {self._seen_by(server)}" for server in self.servers]
            raise AssertionError("\n".join([str(error), *seen])) from None

    def _seen_by(self, server: Server) -> str:
        try:
            with server.client() as client:
                role = client.info("replication")
                nodes = client.execute_command("CLUSTER NODES")
                return f"{role['role']}, link {role.get('master_link_status')}, {nodes}"
        except redis.RedisError as error:
            return repr(error)

    def is_whole(self) -> bool:
        """Whether all nodes agree, every slot is served and every replica is in step."""
        return all(self._is_content(server) for server in self.servers)

    def _is_content(self, server: Server) -> bool:
        with server.client() as client, suppress(redis.ConnectionError, redis.TimeoutError):
            info = client.execute_command("CLUSTER", "INFO")
            text = info if isinstance(info, dict) else dict(_lines(info))
            nodes = client.execute_command("CLUSTER", "NODES")
            words = str(nodes)
            known = text["cluster_state"] == "ok" and int(text["cluster_known_nodes"]) == len(self.servers)
            role = client.info("replication")
            in_step = role["role"] == "master" or role["master_link_status"] == "up"
            return known and in_step and "fail" not in words.replace("nofailover", "")
        return False

    def _node(self) -> Server:
        options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-node-timeout")
        options += (str(DOWN_AFTER_MS), "--cluster-replica-validity-factor", "0", *_REPLICATION)
        return Server(self._kind, options=(*options, *self._options.get("options", ())))

    def _form(self, masters: int) -> None:
        heads = self.servers[:masters]
        for number, server in enumerate(heads):
            with server.client() as client:
                first, last = (16384 * (number + step) // masters for step in (0, 1))
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        with self.servers[0].client() as client:
            for server in self.servers[1:]:
                bus = int(server._options[server._options.index("--cluster-port") + 1])
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", server.port, bus)
        eventually(lambda: all(self._knows_all(server) for server in self.servers), FAILOVER_WITHIN)
        for number, server in enumerate(self.servers[masters:]):
            with server.client() as client:
                client.execute_command("CLUSTER", "REPLICATE", _node_id(heads[number % masters]))
        eventually(self.is_whole, FAILOVER_WITHIN, "the cluster should have formed")

    def _knows_all(self, server: Server) -> bool:
        with server.client() as client:
            info = client.execute_command("CLUSTER", "INFO")
            text = info if isinstance(info, dict) else dict(_lines(info))
            return int(text["cluster_known_nodes"]) == len(self.servers)

    def _at(self, port: int) -> Server:
        return next(server for server in self.servers if server.port == port)


def _lines(info: bytes | str) -> list[tuple[str, str]]:
    text = info.decode() if isinstance(info, bytes) else info
    return [(line.split(":", 1)[0], line.split(":", 1)[1]) for line in text.split() if ":" in line]


def _node_id(server: Server) -> str:
    with server.client() as client:
        found = client.execute_command("CLUSTER", "MYID")
        return found.decode() if isinstance(found, bytes) else str(found)


def _role(server: Server) -> str:
    with server.client() as client:
        return str(client.info("replication")["role"])


def _master_port(server: Server) -> int | None:
    with server.client() as client:
        port = client.info("replication").get("master_port")
        return None if port is None else int(port)


def _replicas_in_step(client: redis.Redis) -> int:
    found = client.info("replication")
    replicas = [found[f"slave{number}"] for number in range(found.get("connected_slaves", 0))]
    return sum(replica["state"] == "online" for replica in replicas)


def alone(*options: str) -> Server:
    """Return a cluster of one node, to be started and then given its slots by `take_all_slots`."""
    return Server("redis", options=("--cluster-enabled", "yes", "--cluster-port", str(free_port()), *options))


def take_all_slots(node: Server) -> None:
    """Make one node the whole cluster."""
    with node.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        eventually(lambda: "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO")))
