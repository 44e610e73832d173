"""Network: the line between the workers and the locks' server, and all that happens to it."""

from __future__ import annotations

import random
from collections.abc import Callable

from ..support.proxy import Fault, Proxy
from ..support.servers import Server


class Line(Proxy):
    """A proxy whose connections can also be closed in one direction."""

    def half_close(self) -> None:
        """Say to all clients that no more will come; what they send is still taken."""

        async def work() -> None:
            for link in self._state.links:
                if link.client.can_write_eof() and not link.client.is_closing():
                    link.fault = Fault.SWALLOW
                    link.client.write_eof()

        self._run(work())


class Network:
    """What can go wrong between a worker and the locks.

    Each method returns for how long the trouble shall last, seconds; `heal` ends it.
    """

    def __init__(self, line: Line, server: Server, rng: random.Random) -> None:
        self._line = line
        self._server = server
        self._rng = rng

    def heal(self) -> None:
        """End all trouble."""
        self._line.heal()

    def delay(self) -> float:
        """Hold back requests and replies."""
        self._line.delay(replies=self._rng.uniform(0, 0.4), requests=self._rng.uniform(0, 0.4))
        return self._rng.uniform(0.3, 1.5)

    def swallow(self) -> float:
        """Let scripts run, and keep their replies."""
        self._line.swallow_replies(self._rng.randint(1, 4), b"EVALSHA")
        return self._rng.uniform(0.3, 1.5)

    def drop(self) -> float:
        """Let scripts run, and close in place of their replies."""
        self._line.drop_connection_after_request(self._rng.randint(1, 4), b"EVALSHA")
        return self._rng.uniform(0.3, 1.5)

    def half_close(self) -> float:
        """Close one direction of every connection."""
        self._line.half_close()
        return 0.2

    def cut(self) -> float:
        """Close and refuse connections."""
        self._line.cut()
        return self._rng.uniform(0.2, 1.5)

    def kill_clients(self) -> float:
        """Have the server close all connections."""
        with self._server.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        return 0.0

    def restart(self) -> float:
        """Restart the server with its data."""
        # Connections first, or a grant between the save and the end of the server would be lost.
        self._line.cut()
        self._server.restart(keep_data=True)
        return 0.0

    def lose_data(self) -> float:
        """Restart the server without its data."""
        self._server.kill()
        self._server.start()
        return 0.0

    def kinds(self) -> dict[str, tuple[float, Callable[[], float]]]:
        """Return what can happen, by name: how often a minute, and how."""
        return {
            "lock server: requests and replies delayed": (3, self.delay),
            "lock server: replies swallowed": (3, self.swallow),
            "lock server: closed in place of a reply": (3, self.drop),
            "lock server: connections half-closed": (3, self.half_close),
            "lock server: connections cut and refused": (3, self.cut),
            "lock server: CLIENT KILL": (3, self.kill_clients),
            "lock server: restarted with its data": (3, self.restart),
            LOSS: (3, self.lose_data),
        }


#: The trouble after which two may believe to hold a lock for the length of a lease.
LOSS = "lock server: restarted without its data"
