"""No-op tasks are published while the worker stands still, then drained by prefork with two processes.

Broker and locks are on the one server; every task has an argument of its own, so that no lock is busy.
celery-once and celery-singleton lock at the publication, celery_redislock when a run starts. The floor asks
Redis when a run starts and when it ends, and does nothing else. Ratios are to a plain task in the same round.
Processor time is that of publisher, worker and server together; it depends less on what else goes on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support import processes

from .. import machine
from ..contenders import TASKS
from ..crew import Agent
from ..environments import MAIN, variables_of
from ..table import Column

if TYPE_CHECKING:
    from ..bench import Bench

NAME = "celery"
TITLE = "Celery: publish and drain"

PLAIN = "plain"

COLUMNS = (
    Column("tasks/s", "tasks_per_s", digits=0),
    Column("publish + drain, to plain", "tasks_per_s", against=PLAIN),
    Column("publish alone, to plain", "published_per_s", against=PLAIN),
    Column("drain alone, to plain", "drained_per_s", against=PLAIN),
    Column("tasks of processor time, to plain", "tasks_per_cpu_s", against=PLAIN),
    Column("worker CPU, µs a task", "worker_us", digits=0, quartiles=False),
    Column("server CPU, µs a task", "server_us", digits=0, quartiles=False),
)

#: By name: the module can be imported only where its environment variables are set.
PUBLISH = "benchmarks.celery_app:publish"

_READY_WITHIN_S, _DRAINED_WITHIN_S = 60.0, 120.0


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
        took: dict[str, float] = self._publisher.call(PUBLISH, first=self._published, amount=amount)
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

    def cpu_s(self) -> float:
        """Return the processor time of the worker's processes."""
        return sum(map(machine.cpu_seconds, processes.living(group=self._worker.pid)))


def run(bench: Bench) -> None:
    """Publish and drain one kind after the other."""
    amount = 40 if bench.settings.quick else 1000
    with ExitStack() as stack:
        lines = {kind: stack.enter_context(_line(kind, bench)) for kind in bench.choose(TASKS)}
        for kind in bench.interleaved(lines, bench.settings.rounds_or(5), flush=False):
            line = lines[kind]
            before, worker = bench.counters(), line.cpu_s()
            published = line.publish(amount)
            drained_s = line.drain()
            time.sleep(0.05)  # the last releases
            worker_s, server_s = line.cpu_s() - worker, bench.counters().since(before).cpu_s
            bench.add(
                "",
                kind,
                tasks_per_s=amount / (published["seconds"] + drained_s),
                published_per_s=amount / published["seconds"],
                drained_per_s=amount / drained_s,
                tasks_per_cpu_s=amount / (published["cpu_s"] + worker_s + server_s),
                worker_us=worker_s / amount * 1e6,
                server_us=server_s / amount * 1e6,
            )


@contextmanager
def _line(kind: str, bench: Bench) -> Iterator[Line]:
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        counted = Path(folder) / "counted"
        counted.touch()
        variables = {
            "BENCHMARKS_BROKER": bench.server.url,
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
