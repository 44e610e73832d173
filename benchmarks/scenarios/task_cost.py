"""Where the time of a locked task goes: processor time of a worker's parent, of its pool and of the server.

Tasks that do nothing are published while the worker stands still, then drained by prefork with two processes.
"Waits" are the voluntary context switches of the pool's processes. Ratios are to a plain task in the same
round.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..celery_line import Case, running_line
from ..contenders import TASK_PARTS, TASKS
from ..table import Column

if TYPE_CHECKING:
    from ..bench import Bench

NAME = "task_cost"
TITLE = "Celery: what one task costs"

PLAIN = "plain"

COLUMNS = (
    Column("worker's parent, µs", "parent_us", digits=0, quartiles=False),
    Column("pool, µs", "pool_us", digits=0),
    Column("server, µs", "server_us", digits=0),
    Column("waits of the pool", "waits", digits=1, quartiles=False),
    Column("pool, to plain", "pool_us", against=PLAIN),
    Column("server, to plain", "server_us", against=PLAIN),
)


def run(bench: Bench) -> None:
    """Drain one kind after the other."""
    amount = 40 if bench.settings.quick else 1000
    with ExitStack() as stack:
        lines = {
            kind: stack.enter_context(running_line(kind, bench.server.url, Case()))
            for kind in bench.choose({**TASKS, **TASK_PARTS})
        }
        for kind in bench.interleaved(lines, bench.settings.rounds_or(5), flush=False):
            line = lines[kind]
            line.publish(amount)
            before, used = bench.counters(), line.usage()
            line.drain()
            time.sleep(0.05)  # the last releases
            worker, server_s = line.usage().since(used), bench.counters().since(before).cpu_s
            bench.add(
                "",
                kind,
                parent_us=worker.parent_s / amount * 1e6,
                pool_us=worker.pool_s / amount * 1e6,
                server_us=server_s / amount * 1e6,
                waits=worker.switches / amount,
            )
