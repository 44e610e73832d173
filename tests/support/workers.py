"""Workers: real Celery worker processes, started, watched and ended by a test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import processes
from .deadlines import eventually
from .places import ROOT, python_path

#: Seconds: importing Celery and forking a pool on two busy cores.
_READY_WITHIN = 40.0

#: Seconds that a warm shutdown may take before the worker is killed.
_GRACE = 15.0


class Worker:
    """One ``celery worker`` with its pool, a process group of its own."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
        self.name = name
        self._process = process
        self._log_path = log_path

    @property
    def pid(self) -> int:
        """The parent's process id, which is the group's too."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the parent process exists, paused or not."""
        return self._process.poll() is None

    def children(self) -> list[int]:
        """List the pids of the living children: the pool's, with prefork."""
        return processes.living(parent=self.pid)

    def log(self) -> str:
        """Return all that worker and tasks have written."""
        return self._log_path.read_text(errors="replace")

    def wait_for_log(self, text: str, within: float = 20.0) -> None:
        """Return when the text stands in the log.

        Raises:
            AssertionError: When it does not come in time, or the worker ended without it.
        """
        eventually(
            lambda: text in self.log() or not self.is_running,
            within,
            f"worker {self.name} should write {text!r}",
        )
        assert text in self.log(), f"worker {self.name} ended without writing {text!r}"

    def wait(self, within: float = 20.0) -> int:
        """Wait until the parent process has ended, and return its exit code."""
        return self._process.wait(within)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the parent process alone: SIGTERM asks for a warm shutdown."""
        self._process.send_signal(number)

    def pause(self) -> None:
        """Stop parent and pool in mid-air, as a suspended host would."""
        processes.signal_group(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let parent and pool go on after `pause`."""
        processes.signal_group(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill parent and pool at once, as a host that loses its power does."""
        processes.signal_group(self.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def running_worker(
    app: str,
    *,
    env: Mapping[str, str],
    pool: str = "prefork",
    concurrency: int = 2,
    cwd: Path | None = None,
    args: Sequence[str] = (),
    name: str | None = None,
) -> Iterator[Worker]:
    """Run a worker for the length of a ``with`` block, and leave no process behind.

    Args:
        app: What ``celery -A`` takes, importable from the repository's root or from ``cwd``.
        env: Added to the environment of the test run.
        pool: Any pool that Celery knows.
        concurrency: Number of processes or threads.
        cwd: Where the worker starts; the repository's root when None.
        args: More arguments of ``celery worker``, such as ``("-Q", "mail")``.
        name: Its node name; one that no other worker has when None.

    Raises:
        AssertionError: When it does not become ready, or processes outlive its shutdown.
    """
    name = name or f"test-{uuid.uuid4().hex[:8]}@localhost"
    command = [sys.executable, "-m", "celery", "-A", app, "worker", "-n", name, "-P", pool]
    command += ["-c", str(concurrency), "-l", "INFO"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat", *args]
    with tempfile.NamedTemporaryFile(prefix="worker-", suffix=".log") as output:
        process = processes.start(command, output=output, env=_environment(env), cwd=cwd or ROOT)
        worker = Worker(name, process, Path(output.name))
        try:
            worker.wait_for_log(f"{name} ready.", _READY_WITHIN)
            yield worker
        except BaseException:
            processes.end_group(process, grace=_GRACE)
            print(f"---- log of worker {name} ----\n{worker.log()}", file=sys.stderr)
            raise
        left_over = processes.end_group(process, grace=_GRACE)
        assert not left_over, f"{left_over} outlived worker {name}:\n{worker.log()}"


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": python_path(), "PYTHONUNBUFFERED": "1", **changes}
