"""Server: the one that is measured, on a core of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.servers import Server, available_kinds

from . import machine


@contextmanager
def pinned_server() -> Iterator[Server]:
    """Start a server on the first core, and keep this process with all that it starts off that core."""
    with Server(available_kinds()[0]) as server:
        if machine.can_pin():
            servers, clients = machine.cores()
            machine.pin(server.pid, servers)
            machine.pin(os.getpid(), clients)
        yield server
