"""Everyone asks in the same instant: requests of one kind, as the engine packs them, over twenty connections.

"Drained" is the time until the last answer, by the clock; processor time is the server's own. This is what
the capacity page reckons with.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import redis

from ..contenders import contender_of
from ..counters import counters
from ..recorder import END, Recorder, connect, read_to_the_end
from ..table import Column

if TYPE_CHECKING:
    from ..bench import Bench

NAME = "bursts"
TITLE = "Bursts"

COLUMNS = (
    Column("drained in, ms", "drained_ms", digits=1),
    Column("a connection's last answer, mean, ms", "answered_ms", digits=1, quartiles=False),
    Column("server CPU, µs a request", "server_us", digits=1),
)

VERBS = ("acquire", "renew", "release")
SIZES = (400, 4000)
CONTENDER = "redislock"

CONNECTIONS = 20
_TTL_S = 600


def run(bench: Bench) -> None:
    """Send bursts of each kind, one after the other, so that each finds what it needs."""
    if CONTENDER not in bench.settings.contenders:
        return
    agent = bench.agent(CONTENDER)
    for size in (100,) if bench.settings.quick else SIZES:
        bench.client.flushall()
        agent.call(record, port=bench.port, size=size)
        for _ in bench.interleaved([CONTENDER], bench.settings.rounds_or(8), f"{size:,}", flush=False):
            for verb in VERBS:
                bench.add(f"{size:,} x {verb}", CONTENDER, **agent.call(send, port=bench.port, verb=verb))


#: Verb -> what each connection sends.
_streams: dict[str, list[bytes]] = {}
_sizes: dict[str, int] = {}


def record(port: int, size: int) -> None:
    """Keep what so many locks send for each verb; runs in the agent."""
    share = size // CONNECTIONS
    with Recorder(port) as recorder:
        one = contender_of(CONTENDER, recorder.port)
        one.acquire(warm := one.make("warm", _TTL_S))
        warm.renew()
        one.release(warm)
        parts: dict[str, list[list[bytes]]] = {verb: [[] for _ in range(CONNECTIONS)] for verb in VERBS}
        recorder.taken()
        for number in range(share * CONNECTIONS):
            lock = one.make(f"burst {number}", _TTL_S)
            for verb in VERBS:
                getattr(lock, verb)()
                parts[verb][number % CONNECTIONS].append(recorder.taken())
    for verb in VERBS:
        _streams[verb] = [b"".join(part) + END for part in parts[verb]]
        _sizes[verb] = share * CONNECTIONS


def send(port: int, verb: str) -> dict[str, float]:
    """Send all that was recorded of a verb at once; runs in the agent."""
    with ExitStack() as stack:
        client = stack.enter_context(redis.Redis(port=port))
        connections = [stack.enter_context(connect(port)) for _ in _streams[verb]]
        before, start = counters(client), time.perf_counter()
        for connection, stream in zip(connections, _streams[verb], strict=True):
            connection.sendall(stream)
        answered = []
        for connection in connections:
            read_to_the_end(connection)
            answered.append(1000 * (time.perf_counter() - start))
        cost = counters(client).since(before)
    return {
        "drained_ms": answered[-1],
        "answered_ms": sum(answered) / len(answered),
        "server_us": cost.cpu_s / _sizes[verb] * 1e6,
    }
