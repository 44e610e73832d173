"""Links: ways to a server that are long, or lead nowhere."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from ...support.servers import free_port


@contextmanager
def silent_addresses(count: int) -> Iterator[list[tuple[str, int]]]:
    """Give addresses that answer no call, as those of hosts that are gone."""
    with ExitStack() as stack:
        addresses = []
        for _ in range(count):
            listening = stack.enter_context(socket.create_server(("127.0.0.1", free_port()), backlog=0))
            addresses.append(listening.getsockname())
            for _ in range(3):
                caller = stack.enter_context(closing(socket.socket()))
                caller.setblocking(False)
                caller.connect_ex(listening.getsockname())
        yield addresses
