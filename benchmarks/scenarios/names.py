"""Cycles over 1 to 100,000 names in random order, all of which were locked once before.

Does it cost more when there are more names: in the client, in the server? `PING`s know no names: they show
what the machine did meanwhile.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from ..contenders import FLOOR, contender_of
from ..table import Column

if TYPE_CHECKING:
    from ..bench import Bench

NAME = "names"
TITLE = "Many names"

COLUMNS = (
    Column("client CPU, µs a cycle", "client_us", digits=0),
    Column("server CPU, µs a cycle", "server_us", digits=0),
    Column("cycles/s, to the floor", "cycles_per_s", against=FLOOR),
)

AMOUNTS = (1, 100, 10_000, 100_000)

_TTL_S = 30
_CHUNK = 200


def run(bench: Bench) -> None:
    """Visit ever more names, then measure with each number of them in turn."""
    amounts = (1, 200) if bench.settings.quick else AMOUNTS
    contenders = bench.choose([FLOOR, "redislock"])
    for name in contenders:
        if name != FLOOR:
            task = bench.progress.add_task("names: the first visit", total=amounts[-1])
            for first in range(0, amounts[-1], _CHUNK):
                bench.agent(name).call(visit, contender=name, port=bench.port, first=first, amount=_CHUNK)
                bench.progress.advance(task, _CHUNK)
            bench.progress.update(task, visible=False)
    keys = bench.client.dbsize()
    rounds = bench.settings.rounds_or(10)
    for amount in amounts * rounds:
        for name in bench.interleaved(contenders, 1, f"{amount:,}", flush=False):
            before = bench.counters()
            done = bench.agent(name).call(
                cycles, contender=name, port=bench.port, amount=amount, seconds=0.15
            )
            server = bench.counters().since(before)
            bench.add(
                f"{amount:,} names",
                name,
                cycles_per_s=done["cycles"] / done["seconds"],
                client_us=done["cpu_s"] / done["cycles"] * 1e6,
                server_us=server.cpu_s / done["cycles"] * 1e6,
                keys=keys,
            )


def visit(contender: str, port: int, first: int, amount: int) -> None:
    """Lock and unlock so many names, one after the other; runs in the agent."""
    one = contender_of(contender, port)
    for number in range(first, first + amount):
        lock = one.make(f"name {number}", _TTL_S)
        one.acquire(lock)
        one.release(lock)


def cycles(contender: str, port: int, amount: int, seconds: float) -> dict[str, float]:
    """Lock and unlock names at random for so many seconds; runs in the agent."""
    one = contender_of(contender, port)
    one.acquire(lock := one.make("warm", _TTL_S))
    one.release(lock)
    numbers = [random.randrange(amount) for _ in range(1000)]
    done = 0
    cpu, start = time.process_time(), time.perf_counter()
    while (took := time.perf_counter() - start) < seconds:
        lock = one.make(f"name {numbers[done % 1000]}", _TTL_S)
        one.acquire(lock)
        one.release(lock)
        done += 1
    return {"cycles": done, "seconds": took, "cpu_s": time.process_time() - cpu}
