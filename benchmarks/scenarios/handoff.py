"""One holds, 1, 10 or 50 processes wait; whoever gets the lock holds it for 2 ms, releases, and waits again.

It waits again only when the next one has the lock, so that every release hands over to another.
The handoff is counted from the return of `release`, and from its start, to the return of the next
`acquire`; both ends are read from one clock of the machine. Round trips are all that the server was
asked for, divided by the handoffs. Fairness is most wins over mean wins: 1 is a perfect turn.
"""

from __future__ import annotations

import os
import struct
import tempfile
import time
from collections import Counter
from itertools import pairwise
from multiprocessing.synchronize import Barrier, Semaphore
from typing import TYPE_CHECKING, Any

import redis

from .. import contest
from ..contenders import LOCKS, contender_of
from ..counters import counters
from ..statistics import quantile
from ..table import Column

if TYPE_CHECKING:
    from ..bench import Bench

NAME = "handoff"
TITLE = "Handing over to a waiter"

COLUMNS = (
    Column("median, ms", "handoff_ms", share=0.5),
    Column("p99, ms", "handoff_ms", share=0.99),
    Column("from the start of `release`: median, ms", "from_start_ms", share=0.5),
    Column("p99, ms", "from_start_ms", share=0.99),
    Column("round trips", "round_trips", digits=1),
    Column("fairness", "fairness"),
    Column("handoffs/s", "handoffs_per_s", digits=0, quartiles=False),
    Column("overlaps", "overlaps", digits=0, worst=True),
)

WAITERS = (1, 10, 50)

_TTL_S = 30
_HOLD_S = 0.002
_SETTLE_S = 0.3
_WIN = struct.Struct("=iddd")


def run(bench: Bench) -> None:
    """Give every contender some seconds with each number of waiters."""
    seconds = 0.3 if bench.settings.quick else 0.8
    for waiters in (1, 5) if bench.settings.quick else WAITERS:
        case = f"{waiters} waiting"
        for name in bench.interleaved(bench.choose(LOCKS), bench.settings.rounds_or(5), case):
            arguments = {"contender": name, "port": bench.port, "waiters": waiters, "seconds": seconds}
            bench.add(case, name, **bench.agent(name).call(contend, **arguments))


def contend(contender: str, port: int, waiters: int, seconds: float) -> dict[str, Any]:
    """Let processes take turns for so many seconds; runs in the agent."""
    ready, resting = contest.fork.Barrier(waiters + 2), contest.fork.Semaphore(0)
    with redis.Redis(port=port) as client, tempfile.TemporaryFile() as journal:
        os.set_inheritable(journal.fileno(), True)
        arguments = [
            (contender, port, number, journal.fileno(), ready, resting) for number in range(waiters + 1)
        ]
        with contest.processes(_take_turns, arguments):
            ready.wait(60)
            time.sleep(2 * _SETTLE_S)
            begin, before = time.monotonic(), counters(client)
            time.sleep(seconds)
            asked, end = counters(client).since(before), time.monotonic()
        os.lseek(journal.fileno(), 0, os.SEEK_SET)
        wins = sorted(_WIN.iter_unpack(journal.read()), key=lambda win: win[1])
    return judged(wins, begin, end, asked.round_trips, waiters)


def _take_turns(
    contender: str, port: int, number: int, journal: int, ready: Barrier, resting: Semaphore
) -> None:
    one = contender_of(contender, port)
    lock = one.make("handed over", _TTL_S)
    holds_first = number == 0
    if holds_first:
        one.wait(lock)
        ready.wait()
        time.sleep(_SETTLE_S)  # until all others stand in line
    else:
        ready.wait()
        one.wait(lock)
    while True:
        acquired = time.monotonic()
        if not holds_first:
            resting.release()  # the one before us may wait again
        holds_first = False
        time.sleep(_HOLD_S)
        started = time.monotonic()
        one.release(lock)
        released = time.monotonic()
        os.write(journal, _WIN.pack(number, acquired, started, released))
        resting.acquire()
        one.wait(lock)


def judged(
    wins: list[tuple[int, float, float, float]], begin: float, end: float, round_trips: int, waiters: int
) -> dict[str, Any]:
    pairs = [(earlier, later) for earlier, later in pairwise(wins) if begin <= later[1] < end]
    if not pairs:
        return {"handoffs_per_s": 0.0}
    handoffs = [1000 * (later[1] - earlier[3]) for earlier, later in pairs]
    from_start = [1000 * (later[1] - earlier[2]) for earlier, later in pairs]
    won = Counter(later[0] for _, later in pairs)
    return {
        "handoff_ms": handoffs,
        "from_start_ms": from_start,
        "median_ms": quantile(handoffs, 0.5),
        "p99_ms": quantile(handoffs, 0.99),
        "round_trips": round_trips / len(pairs),
        "fairness": max(won.values()) / (len(pairs) / (waiters + 1)),
        "handoffs_per_s": len(pairs) / (end - begin),
        "overlaps": sum(later[1] < earlier[2] for earlier, later in pairs),
    }
