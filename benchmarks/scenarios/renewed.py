"""One process holds many locks and keeps them alive: none may be lost.

Of the peers only python-redis-lock renews by itself, with a thread for each lock.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import redis

from ..contenders import contender_of
from ..counters import counters
from ..table import Column

if TYPE_CHECKING:
    from ..bench import Bench

NAME = "renewed"
TITLE = "Renewing many locks"

COLUMNS = (
    Column("lost", "lost", digits=0, worst=True),
    Column("threads", "threads", digits=0, quartiles=False),
    Column("connections", "connections", digits=0, quartiles=False),
    Column("client CPU, s in 15 s", "client_s"),
    Column("server CPU, s in 15 s", "server_s"),
    Column("server CPU, µs a renewal", "server_us", digits=1),
    Column("round trips/s", "round_trips_per_s", digits=1, quartiles=False),
)

#: Locks -> who holds so many. Ten thousand threads are too many for a process.
_PLAN = {1000: ["python-redis-lock", "redislock"], 10_000: ["redislock"]}
_QUICK_PLAN = {20: ["python-redis-lock", "redislock"]}

TTL_S = 10


def run(bench: Bench) -> None:
    """Hold them for longer than they live without renewal, one contender after the other."""
    plan, seconds = (_QUICK_PLAN, 1) if bench.settings.quick else (_PLAN, TTL_S + 2)
    for amount, contenders in plan.items():
        case = f"{amount:,} locks for {seconds} s, ttl {TTL_S} s"
        for name in bench.interleaved(bench.choose(contenders), bench.settings.rounds_or(5), case):
            arguments = {"contender": name, "port": bench.port, "amount": amount, "seconds": seconds}
            bench.add(case, name, **bench.agent(name).call(renew, **arguments))
            bench.crew.dismiss(name)  # its threads would go on


def renew(contender: str, port: int, amount: int, seconds: float) -> dict[str, float]:
    """Hold so many renewed locks for so many seconds; runs in the agent."""
    one = contender_of(contender, port)
    threading.excepthook = lambda _: None  # a thread that dies of its connection shows in what is lost
    with redis.Redis(port=port) as client:
        alone, threads = counters(client), threading.active_count()
        locks = [one.make_renewed(f"renewed {number}", TTL_S) for number in range(amount)]
        for lock in locks:
            one.acquire(lock)
        before, cpu, start = counters(client), time.process_time(), time.monotonic()
        time.sleep(seconds)
        used, cost = time.process_time() - cpu, counters(client).since(before)
        took = time.monotonic() - start
        connections, started = counters(client).clients - alone.clients, threading.active_count() - threads
        lost = sum(not one.holds(lock) for lock in locks)
    return {
        "lost": lost,
        "threads": started,
        "connections": connections,
        "client_s": used / took * 15,
        "server_s": cost.cpu_s / took * 15,
        # Every third of the ttl, as all of them should.
        "server_us": cost.cpu_s / (amount * took / (TTL_S / 3)) * 1e6,
        "round_trips_per_s": cost.round_trips / took,
    }
