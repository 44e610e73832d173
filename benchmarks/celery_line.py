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

from . import machine, rabbitmq
from .crew import Agent
from .environments import MAIN, variables_of

#: By name: the module can be imported only where its environment variables are set.
_PUBLISH = "benchmarks.celery_app:publish"

_READY_WITHIN_S, _DRAINED_WITHIN_S = 60.0, 120.0

REDIS, RABBITMQ = "Redis", "RabbitMQ"


@dataclass(frozen=True)
class Case:
    """Under which conditions a worker drains its tasks.

    Attributes:
        body_ms: How long the body of a task sleeps; 0: it does nothing.
        processes: Of the pool.
        broker: ``REDIS``: the server that also has the locks; or ``RABBITMQ``.
        acks_late: Whether a message is acknowledged when its task has ended, not when it begins.
    """

    body_ms: int = 0
    processes: int = 2
    broker: str = REDIS
    acks_late: bool = False

    @property
    def title(self) -> str:
        """How tables call it."""
        body = f"{self.body_ms} ms" if self.body_ms else "no-op"
        broker = "" if self.broker == REDIS else f", {self.broker}"
        late = ", acknowledged late" if self.acks_late else ""
        return f"{body}, {self.processes} processes{broker}{late}"


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
    """One kind of task: its publisher, its worker, and the file that counts its runs.

    Attributes:
        published: How many tasks were published, those that warm up included.
    """

    def __init__(self, kind: str, publisher: Agent, worker: subprocess.Popen[bytes], counted: Path) -> None:
        self.kind = kind
        self._publisher = publisher
        self._worker = worker
        self._counted = counted
        self.published = 0

    def publish(self, amount: int) -> dict[str, float]:
        """Publish while the worker stands still; return wall clock and processor seconds."""
        processes.signal_group(self._worker.pid, signal.SIGSTOP)
        took: dict[str, float] = self._publisher.call(_PUBLISH, first=self.published, amount=amount)
        self.published += amount
        return took

    def drain(self, within_s: float = _DRAINED_WITHIN_S) -> float:
        """Let the worker go on until every task has run; return the seconds."""
        start = time.perf_counter()
        processes.signal_group(self._worker.pid, signal.SIGCONT)
        while self._counted.stat().st_size < self.published:
            if time.perf_counter() - start > within_s:
                raise TimeoutError(
                    f"{self.kind}: {self._counted.stat().st_size} of {self.published} tasks ran"
                )
            time.sleep(0.001)
        return time.perf_counter() - start

    def pool(self) -> list[int]:
        """Return the pids of the pool's processes."""
        return [pid for pid in processes.living(group=self._worker.pid) if pid != self._worker.pid]

    def usage(self) -> Usage:
        """Return what the worker's processes have used."""
        pool = self.pool()
        return Usage(
            machine.cpu_seconds(self._worker.pid),
            sum(map(machine.cpu_seconds, pool)),
            sum(map(machine.voluntary_switches, pool)),
        )


@contextmanager
def running_line(kind: str, server: str, case: Case) -> Iterator[Line]:
    """Run publisher and worker of one kind of task for the length of a block.

    Args:
        kind: Of the task, a name of ``contenders.TASKS``, ``TASK_PARTS`` or ``OBSERVED``.
        server: The address of the server that has the locks.
        case: The conditions.
    """
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        counted = Path(folder) / "counted"
        counted.touch()
        variables = {
            "BENCHMARKS_BROKER": server if case.broker == REDIS else rabbitmq.url(),
            "BENCHMARKS_QUEUE": Path(folder).name,  # RabbitMQ may have other users
            "BENCHMARKS_SERVER": server,
            "BENCHMARKS_KIND": kind,
            "BENCHMARKS_BODY_MS": str(case.body_ms),
            "BENCHMARKS_ACKS": "late" if case.acks_late else "early",
            "BENCHMARKS_COUNTED": str(counted),
            # Where the children count for Prometheus, if they do.
            "PROMETHEUS_MULTIPROC_DIR": folder,
        }
        with (Path(folder) / "log").open("wb") as log:
            environment = {**variables_of(MAIN), **variables}
            worker = processes.start(_worker(kind, case.processes), output=log, env=environment)
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


def _worker(kind: str, processes_in_pool: int) -> list[str]:
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.celery_app", "worker", "-n", f"{kind}@bench"]
    command += ["-P", "prefork", "-c", str(processes_in_pool), "-l", "WARNING"]
    return [*command, "--without-gossip", "--without-mingle", "--without-heartbeat"]
