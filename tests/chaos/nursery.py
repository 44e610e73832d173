"""Nursery: a process that has imported everything, and forks workers that are ready in no time.

On two cores that others use too, importing Celery anew for each worker that replaces a killed one takes
most of the time that there is. ``python -m tests.chaos.nursery`` reads requests from its standard input.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from ..support.places import ROOT

#: Asks Linux for a signal when the parent ends.
_PR_SET_PDEATHSIG = 1


class Child:
    """A worker that the nursery forked, as `subprocess.Popen` would show it; its exit code stays unknown."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """Return None while it is there, else 0."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def wait(self, timeout: float = 60.0) -> int:
        """Return when it is gone; a `subprocess.TimeoutExpired` when it stays."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("celery worker", timeout)
            time.sleep(0.005)
        return 0

    def terminate(self) -> None:
        """Ask it to end."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)


class Nursery:
    """Forks workers until it is closed; those that are left die with it."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(env),
            cwd=ROOT,
        )

    def fork(self, arguments: Sequence[str], log: Path) -> Child:
        """Start a worker with these arguments, as the head of a process group of its own."""
        requests, replies = self._pipes()
        requests.write(json.dumps([*arguments, str(log)]) + "\n")
        requests.flush()
        return Child(int(replies.readline()))

    def close(self) -> None:
        """End it."""
        for pipe in self._pipes():
            pipe.close()
        self._process.wait(10)

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


def _serve() -> None:
    from celery.apps import worker  # noqa: F401 - imported for those to come

    from .app import app

    app.finalize()
    app.loader.import_default_modules()
    # Nobody asks how a worker ended: it is not to stay as a zombie.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for request in sys.stdin:
        *arguments, log = json.loads(request)
        pid = os.fork()
        if pid == 0:
            _become_worker(arguments, log)
        print(pid, flush=True)


def _become_worker(arguments: list[str], log: str) -> None:
    from .app import app

    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        nothing, output = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        app.worker_main(["worker", *arguments])
    finally:
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    _serve()
