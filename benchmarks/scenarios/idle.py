"""Fifty wait for a lock that is not released: what does their waiting cost?

As fifty processes, and as fifty threads of one process with one client. The first line is a server that
nobody uses.
"""

from __future__ import annotations

import time
from multiprocessing.context import ForkProcess
from typing import TYPE_CHECKING

import redis

from .. import contest, machine
from ..contenders import LOCKS, contender_of
from ..counters import counters
from ..table import Column

if TYPE_CHECKING:
    from ..bench import Bench

NAME = "idle"
TITLE = "Waiting without end"

COLUMNS = (
    Column("round trips/s", "round_trips_per_s", digits=1),
    Column("server CPU, ms/s", "server_ms_per_s", digits=2),
    Column("waiters' CPU, ms/s", "client_ms_per_s", digits=1),
    Column("connections", "connections", digits=0, quartiles=False),
)

NOBODY = "nobody"

#: Longer than the lock is held here, so that no lease ends meanwhile.
_TTL_S = 60


def run(bench: Bench) -> None:
    """Let fifty wait for each contender's lock."""
    waiters, seconds, settle_s = (5, 0.5, 0.3) if bench.settings.quick else (50, 4.0, 1.0)
    for case, layout in {f"{waiters} processes": (waiters, 1), f"{waiters} threads": (1, waiters)}.items():
        _measure_nobody(bench, case, seconds)
        for name in bench.interleaved(bench.choose(LOCKS), bench.settings.rounds_or(5), case):
            arguments = {"contender": name, "port": bench.port, "layout": layout}
            times = {"settle_s": settle_s, "seconds": seconds}
            bench.add(case, name, **bench.agent(name).call(wait, **arguments, **times))


def _measure_nobody(bench: Bench, case: str, seconds: float) -> None:
    before = bench.counters()
    time.sleep(seconds)
    cost = bench.counters().since(before)
    bench.add(
        case,
        NOBODY,
        round_trips_per_s=cost.round_trips / seconds,
        server_ms_per_s=1000 * cost.cpu_s / seconds,
    )


def wait(
    contender: str, port: int, layout: tuple[int, int], settle_s: float, seconds: float
) -> dict[str, float]:
    """Hold a lock that processes, each with some threads, wait for; runs in the agent."""
    number_of_processes, threads_each = layout
    holder = contender_of(contender, port)
    lock = holder.make("busy", _TTL_S)
    with redis.Redis(port=port) as client:
        holder.acquire(lock)
        alone = counters(client)
        arguments = [(contender, port, threads_each)] * number_of_processes
        with contest.processes(_wait_in_threads, arguments) as waiting:
            time.sleep(settle_s)
            before, cpu = counters(client), _cpu_s(waiting)
            time.sleep(seconds)
            cost, used = counters(client).since(before), _cpu_s(waiting) - cpu
            connections = counters(client).clients - alone.clients
        holder.release(lock)
    return {
        "round_trips_per_s": cost.round_trips / seconds,
        "server_ms_per_s": 1000 * cost.cpu_s / seconds,
        "client_ms_per_s": 1000 * used / seconds,
        "connections": connections,
    }


def _wait_in_threads(contender: str, port: int, threads_each: int) -> None:
    one = contender_of(contender, port)
    if threads_each == 1:
        one.wait(one.make("busy", _TTL_S))
    else:
        contest.threads(lambda: one.wait(one.make("busy", _TTL_S)), [()] * threads_each)


def _cpu_s(waiting: list[ForkProcess]) -> float:
    return sum(machine.cpu_seconds(process.pid) for process in waiting if process.pid and process.is_alive())
