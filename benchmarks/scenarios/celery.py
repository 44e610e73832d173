"""No-op tasks are published while the worker stands still, then drained by prefork with two processes.

Broker and locks are on the one server; every task has an argument of its own, so that no lock is busy.
celery-once and celery-singleton lock at the publication, celery_redislock when a run starts. The floor asks
Redis when a run starts and when it ends, and does nothing else. Ratios are to a plain task in the same round.
Processor time is that of publisher, worker and server together; it depends less on what else goes on.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..celery_line import running_line
from ..contenders import TASKS
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


def run(bench: Bench) -> None:
    """Publish and drain one kind after the other."""
    amount = 40 if bench.settings.quick else 1000
    with ExitStack() as stack:
        lines = {
            kind: stack.enter_context(running_line(kind, bench.server.url)) for kind in bench.choose(TASKS)
        }
        for kind in bench.interleaved(lines, bench.settings.rounds_or(5), flush=False):
            line = lines[kind]
            before, used = bench.counters(), line.usage()
            published = line.publish(amount)
            drained_s = line.drain()
            time.sleep(0.05)  # the last releases
            worker, server_s = line.usage().since(used), bench.counters().since(before).cpu_s
            worker_s = worker.parent_s + worker.pool_s
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
