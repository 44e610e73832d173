"""Counters: what a server has done, as it says itself; MONITOR would slow it down."""

from __future__ import annotations

from dataclasses import dataclass

import redis


@dataclass(frozen=True)
class Counters:
    """What a server has done since its start.

    Attributes:
        round_trips: Requests read from sockets: a pipeline is one, and so is a script with all it calls.
        cpu_s: Processor time, seconds.
        memory: Bytes in use.
        clients: Connections, this one included.
    """

    round_trips: int
    cpu_s: float
    memory: int
    clients: int

    def since(self, earlier: Counters) -> Counters:
        """Return the differences; the earlier question itself does not count."""
        return Counters(
            self.round_trips - earlier.round_trips - 1,
            self.cpu_s - earlier.cpu_s,
            self.memory - earlier.memory,
            self.clients - earlier.clients,
        )


def counters(client: redis.Redis) -> Counters:
    """Ask a server what it has done; one round trip."""
    info = client.info()
    return Counters(
        info["total_reads_processed"],
        info["used_cpu_user"] + info["used_cpu_sys"],
        info["used_memory"],
        info["connected_clients"],
    )
