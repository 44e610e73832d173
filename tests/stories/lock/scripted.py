"""Scripted: a server that says what a test has written down."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: What is said to a command, as it is on the wire.
Answer = Callable[[list[bytes]], bytes]


@contextmanager
def scripted(answer: Answer) -> Iterator[tuple[str, int]]:
    """Start a server; give its address."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                words = [self._word() for _ in range(int(line[1:]))]
                self.wfile.write(answer(words))

        def _word(self) -> bytes:
            length = int(self.rfile.readline()[1:])
            return self.rfile.read(length + 2)[:-2]

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        host, port = server.server_address[:2]
        try:
            yield str(host), int(port)
        finally:
            server.shutdown()
            thread.join()
