"""Tasks are published while the worker stands still, then drained by prefork.

Five cases: bodies that do nothing, with two processes, with four, and with RabbitMQ as broker; and bodies
that sleep for 10 ms and for 100 ms. Else the broker is the one server, which has all locks. RabbitMQ shares
the cores of the machine with all others, and its processor time is in no column.

Every call has an argument of its own, as most calls of users have; so each has a lock of its own, and none is
busy. celery-once and celery-singleton lock at the publication, celery_redislock when a run starts. Ratios are
to a plain task in the same round of the same case. Processor time is that of publisher, worker and server
together; it depends less on what else goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from .. import rabbitmq
from ..celery_line import RABBITMQ, Case, Line, running_line
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

CASES = (Case(), Case(processes=4), Case(broker=RABBITMQ), Case(body_ms=10), Case(body_ms=100))

_KINDS = (PLAIN, "locked", "celery-once", "celery-singleton", "locked-off")

#: By length of the body: some seconds of work in each round.
_TASKS = {0: 800, 10: 300, 100: 60}


def run(bench: Bench) -> None:
    """Measure one case after the other."""
    for case in measurable(bench):
        amount = 20 if bench.settings.quick else _TASKS[case.body_ms]
        with ExitStack() as stack:
            lines = {
                kind: stack.enter_context(running_line(kind, bench.server.url, case))
                for kind in bench.choose(_KINDS)
            }
            for kind in bench.interleaved(lines, bench.settings.rounds_or(5), case.title, flush=False):
                bench.add(case.title, kind, **_measure(bench, lines[kind], amount))


def measurable(bench: Bench) -> Iterator[Case]:
    """Give the cases whose broker answers; say of each other that it is left out."""
    for case in CASES:
        if case.broker == RABBITMQ and not rabbitmq.answers():
            bench.leave_out(case.title, "no RabbitMQ answers, see AMQP_URL")
        else:
            yield case


def _measure(bench: Bench, line: Line, amount: int) -> dict[str, float]:
    before, used = bench.counters(), line.usage()
    published = line.publish(amount)
    drained_s = line.drain()
    time.sleep(0.05)  # the last releases
    worker, server_s = line.usage().since(used), bench.counters().since(before).cpu_s
    worker_s = worker.parent_s + worker.pool_s
    return {
        "tasks_per_s": amount / (published["seconds"] + drained_s),
        "published_per_s": amount / published["seconds"],
        "drained_per_s": amount / drained_s,
        "tasks_per_cpu_s": amount / (published["cpu_s"] + worker_s + server_s),
        "worker_us": worker_s / amount * 1e6,
        "server_us": server_s / amount * 1e6,
    }
