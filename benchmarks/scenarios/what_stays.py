"""12,000 tasks with arguments of their own have run: what is left in Redis of their locks two minutes later?

Each row has a server, a publisher and a worker of its own. "In use" is the server's own `used_memory`,
against what it was before the first call. The keys are those of the locks and what is kept beside them, each
weighed by `MEMORY USAGE`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from tests.support.servers import Server

from ..celery_line import Case, running_line
from ..counters import counters
from ..keyspace import keys_like
from ..table import Column

if TYPE_CHECKING:
    from ..bench import Bench

NAME = "what_stays"
TITLE = "Celery: what stays of locks that are free again"

COLUMNS = (
    Column("calls", "calls", digits=0),
    Column("keys left", "keys", digits=0),
    Column("bytes of the heaviest", "heaviest_bytes", digits=0),
    Column("seconds that the last one has left", "left_s", digits=0),
    Column("in use, more than before, bytes a call", "in_use_bytes", digits=0),
)

_CASES = {"acknowledged early": Case(), "acknowledged late": Case(acks_late=True)}
_KINDS = ("plain", "locked")


def run(bench: Bench) -> None:
    """Let tasks run, one case after the other; then look at each when its time has come."""
    amount, later_s = (40, 0.5) if bench.settings.quick else (12_000, 120.0)
    with ExitStack() as stack:
        looks = []
        for title, case in _CASES.items():
            for kind in bench.interleaved(bench.choose(_KINDS), 1, title, flush=False):
                look = stack.enter_context(_ran(bench, kind, case, amount))
                looks.append((time.monotonic() + later_s, title, kind, look))
        for due, title, kind, look in looks:
            time.sleep(max(0.0, due - time.monotonic()))
            bench.add(title, kind, calls=amount, **look())


@contextmanager
def _ran(bench: Bench, kind: str, case: Case, amount: int) -> Iterator[Callable[[], dict[str, float]]]:
    """Run tasks on a server of their own; give what looks at it while the worker is still there."""
    with (
        Server(bench.server.kind) as server,
        running_line(kind, server.url, case) as line,
        server.client() as client,
    ):
        before = counters(client).memory

        def look() -> dict[str, float]:
            in_use = counters(client).memory
            keys = keys_like(client, "*redislock*")
            return {
                "keys": len(keys),
                "heaviest_bytes": max((key.weight for key in keys), default=0),
                "left_s": max((key.left_ms for key in keys), default=0) / 1000,
                "in_use_bytes": (in_use - before) / amount,
            }

        line.publish(amount - line.published)  # some have warmed it up
        line.drain(within_s=600)
        yield look
