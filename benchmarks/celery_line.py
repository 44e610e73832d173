"""Celery line: one kind of task, its publisher, and its worker, stopped while messages are published."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import processes

from . import machine
from .crew import Agent
from .environments import MAIN, variables_of

#: By name: the module can be imported only where its environment variables are set.
_PUBLISH = "benchmarks.celery_app:publish"

_READY_WITHIN_S, _DRAINED_WITHIN_S = 60.0, 120.0


@dataclass(frozen=True)
class Usage:
    """What a worker has used since its start: seconds of processor time, and how often its pool was switched.

    Attributes:
        parent_s: Of the worker's parent.
        pool_s: Of the pool's processes together.
        switches: Voluntary context switches of the pool's processes: how often one waited.
    """

    parent_s: float
    pool_s: float
    switches: int

    def since(self, earlier: Usage) -> Usage:
        """Return the differences."""
        return Usage(
            self.parent_s - earlier.parent_s,
            self.pool_s - earlier.pool_s,
            self.switches - earlier.switches,
        )


class Line:
    """One kind of task: its publisher, its worker, and the file that counts its runs."""

    def __init__(self, kind: str, publisher: Agent, worker: subprocess.Popen[bytes], counted: Path) -> None:
        self.kind = kind
        self._publisher = publisher
        self._worker = worker
        self._counted = counted
        self._published = 0

    def publish(self, amount: int) -> dict[str, float]:
        """Publish while the worker stands still; return wall clock and processor seconds."""
        processes.signal_group(self._worker.pid, signal.SIGSTOP)
        took: dict[str, float] = self._publisher.call(_PUBLISH, first=self._published, amount=amount)
        self._published += amount
        return took

    def drain(self, within_s: float = _DRAINED_WITHIN_S) -> float:
        """Let the worker go on until every task has run; return the seconds."""
        start = time.perf_counter()
        processes.signal_group(self._worker.pid, signal.SIGCONT)
        while self._counted.stat().st_size < self._published:
            if time.perf_counter() - start > within_s:
                raise TimeoutError(
                    f"{self.kind}: {self._counted.stat().st_size} of {self._published} tasks ran"
                )
            time.sleep(0.001)
        return time.perf_counter() - start

    def usage(self) -> Usage:
        """Return what the worker's processes have used."""
        parent = self._worker.pid
        pool = [pid for pid in processes.living(group=parent) if pid != parent]
        return Usage(
            machine.cpu_seconds(parent),
            sum(map(machine.cpu_seconds, pool)),
            sum(map(machine.voluntary_switches, pool)),
        )


@contextmanager
def running_line(kind: str, url: str) -> Iterator[Line]:
    """Run publisher and worker of one kind of task for the length of a block.

    Args:
        kind: Of the task, a name of ``contenders.TASKS`` or ``TASK_PARTS``.
        url: The server that is the broker and has the locks.
    """
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        counted = Path(folder) / "counted"
        counted.touch()
        variables = {
            "BENCHMARKS_BROKER": url,
            "BENCHMARKS_KIND": kind,
            "BENCHMARKS_COUNTED": str(counted),
        }
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "benchmarks.celery_app",
            "worker",
            "-n",
            f"{kind}@bench",
        ]
        command += ["-P", "prefork", "-c", "2", "-l", "WARNING"]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        with (Path(folder) / "log").open("wb") as log:
            worker = processes.start(command, output=log, env={**variables_of(MAIN), **variables})
            publisher = Agent(variables=variables)
            try:
                line = Line(kind, publisher, worker, counted)
                line.publish(20)
                line.drain(_READY_WITHIN_S)
                yield line
            finally:
                publisher.stop()
                os.kill(worker.pid, signal.SIGCONT)
                processes.end_group(worker, grace=10)
