"""Workers: the crew, each a process group of its own; who is killed is replaced at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ..support import processes
from ..support.places import ROOT
from .journal import clock
from .nursery import Nursery

#: Processes in each worker's pool.
CHILDREN = 3
#: A worker that was stopped has read all that was sent to it after so many seconds.
CATCH_UP_S = 0.5


class Worker:
    """One ``celery worker``, from its start to its death."""

    def __init__(self, name: str, nursery: Nursery, logs: Path) -> None:
        self._log = logs / f"{name}.log"
        self._log.touch()
        arguments = ["-n", f"{name}@localhost", "-c", str(CHILDREN), "-l", "INFO"]
        arguments += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        self.process = nursery.fork(arguments, self._log)
        self._was_ready = False
        self._is_stopped = False
        self._went_on_at = 0.0

    @property
    def group(self) -> int:
        """The process group, which is also the parent's pid."""
        return self.process.pid

    @property
    def is_ready(self) -> bool:
        """Whether it takes messages, is not stopped, and has read what came while it was."""
        if not self._was_ready:
            self._was_ready = b" ready." in self._log.read_bytes()
        return self._was_ready and not self._is_stopped and clock() > self._went_on_at + CATCH_UP_S

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to parent and pool."""
        processes.signal_group(self.group, number)
        self._is_stopped = number is signal.SIGSTOP
        self._went_on_at = clock()


class Crew:
    """Some workers."""

    def __init__(self, size: int, env: Mapping[str, str], logs: Path) -> None:
        self._nursery = Nursery({**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **env})
        self._logs = logs
        self._started = 0
        self.workers = [self._start() for _ in range(size)]

    def _start(self) -> Worker:
        self._started += 1
        return Worker(f"worker-{self._started:04}", self._nursery, self._logs)

    @property
    def ready(self) -> list[Worker]:
        """The workers that take messages."""
        return [worker for worker in self.workers if worker.is_ready]

    def kill(self, worker: Worker) -> None:
        """Kill parent and pool of a worker, and start another."""
        worker.signal(signal.SIGKILL)
        worker.process.wait()
        self.workers[self.workers.index(worker)] = self._start()

    def replace_the_dead(self) -> list[int]:
        """Start another for each worker that ended by itself, and return the process groups of those."""
        dead = [worker for worker in self.workers if worker.process.poll() is not None]
        for worker in dead:
            self.kill(worker)
        return [worker.group for worker in dead]

    def end(self) -> None:
        """End all workers, orderly if they can."""
        for worker in self.workers:
            processes.signal_group(worker.group, signal.SIGCONT)
            worker.process.terminate()
        for worker in self.workers:
            processes.end_group(worker.process, grace=10)
        self._nursery.close()


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to one process; no matter when it has ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@contextmanager
def crew(size: int, env: Mapping[str, str], logs: Path) -> Iterator[Crew]:
    """Run some workers for the length of a ``with`` block."""
    running = Crew(size, env, logs)
    try:
        yield running
    finally:
        running.end()
