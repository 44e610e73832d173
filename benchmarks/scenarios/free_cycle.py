"""A free lock is taken and given back by one client, in slices of a twentieth of a second.

"New" makes a lock object for each cycle, as a task does; "reused" makes one. Ratios are to two `PING`s
through redis-py in the same round: of cycles that nothing disturbed (the fastest tenth of a slice), so that
what else the machine does matters little, and of the client's processor time, which leaves nothing out.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..contenders import FLOOR, LOCKS, PINGS, contender_of
from ..contenders.protocol import Contender
from ..statistics import quantile
from ..table import Column

if TYPE_CHECKING:
    from ..bench import Bench

NAME = "free_cycle"
TITLE = "A free lock: acquire and release"

#: Those whose client is not the one of the floor -> the floor of their own client.
_OWN_FLOOR = {
    "redlock-ng": "floor-redis5",
    "sherlock": "floor-redis4",
    "redislock-pure": "floor-pure",
    "redislock-repacked-pure": "floor-pure",
}

COLUMNS = (
    Column("cycles/s", "cycles_per_s", digits=0),
    Column("undisturbed, to the floor", "undisturbed_per_s", against=FLOOR),
    Column("of processor time, to the floor", "cycles_per_cpu_s", against=FLOOR),
    Column(
        "undisturbed, to its own client's floor", "undisturbed_per_s", against=_OWN_FLOOR, quartiles=False
    ),
    Column("client CPU, µs", "client_us", digits=0, quartiles=False),
    Column("server CPU, µs", "server_us", digits=0, quartiles=False),
    Column("round trips", "round_trips", digits=1, quartiles=False),
)

_TTL_S = 30
_connected: dict[str, Contender] = {}


def run(bench: Bench) -> None:
    """Give every contender many short slices."""
    slice_s = 0.03 if bench.settings.quick else 0.05
    for case in ("new", "reused"):
        for name in bench.interleaved(bench.choose([*PINGS, *LOCKS]), bench.settings.rounds_or(24), case):
            agent = bench.agent(name)
            agent.call(cycles, contender=name, port=bench.port, case=case, seconds=slice_s / 5)  # warm
            before = bench.counters()
            done = agent.call(cycles, contender=name, port=bench.port, case=case, seconds=slice_s)
            server = bench.counters().since(before)
            bench.add(
                case,
                name,
                cycles_per_s=done["cycles"] / done["seconds"],
                undisturbed_per_s=1 / done["undisturbed_s"],
                cycles_per_cpu_s=done["cycles"] / done["cpu_s"],
                client_us=done["cpu_s"] / done["cycles"] * 1e6,
                server_us=server.cpu_s / done["cycles"] * 1e6,
                round_trips=server.round_trips / done["cycles"],
            )


def cycles(contender: str, port: int, case: str, seconds: float) -> dict[str, float]:
    """Lock and unlock one name for so many seconds; runs in the agent."""
    if contender not in _connected:
        _connected[contender] = contender_of(contender, port)
    one = _connected[contender]
    reused = one.make("free", _TTL_S) if case == "reused" else None
    took: list[float] = []
    cpu, start = time.process_time(), time.perf_counter()
    end = start
    while end - start < seconds:
        lock = reused if case == "reused" else one.make("free", _TTL_S)
        if not one.acquire(lock):
            raise RuntimeError(f"{contender} found a free lock busy")
        one.release(lock)
        before, end = end, time.perf_counter()
        took.append(end - before)
    return {
        "cycles": len(took),
        "seconds": end - start,
        "undisturbed_s": quantile(took, 0.1),
        "cpu_s": time.process_time() - cpu,
    }
