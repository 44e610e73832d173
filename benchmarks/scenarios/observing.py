"""What it costs to be seen: a locked task that does nothing, and what is kept of its locks.

Tasks are published while the worker stands still, then drained by prefork with two processes. The kinds take
turns within each round, and the ratios are to a locked task of which nothing is seen in the same round.
"All processes" are the worker's parent, its pool and the publisher, in processor time.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..celery_line import Case, running_line
from ..contenders import OBSERVED
from ..table import Column

if TYPE_CHECKING:
    from ..bench import Bench

NAME = "observing"
TITLE = "Celery: what it costs to be seen"

UNSEEN = "locked-unseen"

COLUMNS = (
    Column("all processes, µs", "all_us", digits=0),
    Column("pool, µs", "pool_us", digits=0),
    Column("publish and drain, ms", "task_ms", digits=3),
    Column("all processes, to unseen", "all_us", against=UNSEEN, digits=3),
    Column("pool, to unseen", "pool_us", against=UNSEEN, digits=3),
    Column("publish and drain, to unseen", "task_ms", against=UNSEEN, digits=3),
)


def run(bench: Bench) -> None:
    """Publish and drain one kind after the other."""
    amount = 40 if bench.settings.quick else 1000
    with ExitStack() as stack:
        lines = {
            kind: stack.enter_context(running_line(kind, bench.server.url, Case()))
            for kind in bench.choose(OBSERVED)
        }
        for kind in bench.interleaved(lines, bench.settings.rounds_or(20), flush=False):
            line = lines[kind]
            used = line.usage()
            published = line.publish(amount)
            drained_s = line.drain()
            time.sleep(0.6)  # the last releases, and what is left to the background
            worker = line.usage().since(used)
            all_s = worker.parent_s + worker.pool_s + published["cpu_s"]
            bench.add(
                "",
                kind,
                all_us=all_s / amount * 1e6,
                pool_us=worker.pool_s / amount * 1e6,
                task_ms=(published["seconds"] + drained_s) / amount * 1e3,
            )
