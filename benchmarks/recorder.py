"""Recorder: stands between a client and the server, and keeps what the client sends, to be sent again."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress

from tests.support.servers import free_port

#: Sent last, it tells that all before it was answered.
END = b"*2\r\n$4\r\nECHO\r\n$9\r\nthe end !\r\n"
_END_OF_ANSWERS = b"the end !\r\n"


class Recorder:
    """A proxy on `port`; use it as a context manager."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._taken: list[bytes] = []
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Recorder:
        self._listener = socket.create_server(("127.0.0.1", free_port()))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes its thread
            each.close()

    def taken(self) -> bytes:
        """Return what clients have sent since the last call."""
        taken, self._taken = self._taken, []
        return b"".join(taken)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._sockets += [client, server]
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError, ValueError):
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client:
                        self._taken.append(data)
                    (server if source is client else client).sendall(data)


def connect(port: int) -> socket.socket:
    """Return a connection without a client, to send again what was recorded."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_to_the_end(connection: socket.socket) -> None:
    """Return when what was sent before `END` is answered."""
    seen = b""
    while not seen.endswith(_END_OF_ANSWERS):
        seen = seen[-len(_END_OF_ANSWERS) :] + connection.recv(65536)
