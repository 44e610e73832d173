"""A place beside 0, 10, 100 or 1,000 other holders is taken and given back by one client.

It makes a lock for each cycle. Ratios are to a free lock that one holds alone, in the same round, of cycles
that nothing disturbed: the fastest tenth of a slice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..contenders import SHARED, contender_of
from ..table import Column
from .free_cycle import cycles

if TYPE_CHECKING:
    from ..bench import Bench

NAME = "shared_cycle"
TITLE = "A lock that several hold: acquire and release"

ALONE = "redislock"

COLUMNS = (
    Column("undisturbed, µs", "undisturbed_us", digits=0),
    Column("to a lock for one", "undisturbed_us", against=ALONE),
    Column("client CPU, µs", "client_us", digits=0, quartiles=False),
    Column("server CPU, µs", "server_us", digits=0, quartiles=False),
    Column("round trips", "round_trips", digits=1, quartiles=False),
)

OTHERS = (0, 10, 100, 1000)

_TTL_S = 600


def run(bench: Bench) -> None:
    """Give each kind many short slices beside so many others."""
    slice_s = 0.03 if bench.settings.quick else 0.05
    for others in OTHERS[:2] if bench.settings.quick else OTHERS:
        case = f"{others:,} others"
        for name in bench.interleaved(bench.choose([ALONE, *SHARED]), bench.settings.rounds_or(16), case):
            agent = bench.agent(name)
            if name != ALONE:
                agent.call(hold, contender=name, port=bench.port, amount=others)
            arguments = {"contender": name, "port": bench.port, "case": "new"}
            agent.call(cycles, **arguments, seconds=slice_s / 5)  # warm
            before = bench.counters()
            done = agent.call(cycles, **arguments, seconds=slice_s)
            server = bench.counters().since(before)
            bench.add(
                case,
                name,
                undisturbed_us=done["undisturbed_s"] * 1e6,
                client_us=done["cpu_s"] / done["cycles"] * 1e6,
                server_us=server.cpu_s / done["cycles"] * 1e6,
                round_trips=server.round_trips / done["cycles"],
            )


def hold(contender: str, port: int, amount: int) -> None:
    """Take so many places, and leave them; runs in the agent."""
    one = contender_of(contender, port)
    for _ in range(amount):
        one.acquire(one.make("free", _TTL_S))
