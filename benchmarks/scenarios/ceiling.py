"""How many locks a second does one server carry?

First with eight client processes that lock names of their own; they share the cores that the server leaves,
so that Python is the limit. Then what one client sent in some hundred cycles is sent again through raw
sockets, many requests in flight: now the server works as hard as it can. `SET` is the server's own
`redis-benchmark`. "Of a whole core" is what the server could do if it did nothing else, by its own processor
time; a cycle is two requests, a `SET` is one.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import redis

from .. import contest
from ..contenders import LOCKS, contender_of
from ..counters import counters
from ..recorder import END, Recorder, connect, read_to_the_end
from ..table import Column

if TYPE_CHECKING:
    from ..bench import Bench

NAME = "ceiling"
TITLE = "A whole server"

SET = "`SET`, redis-benchmark"

COLUMNS = (
    Column("a second", "per_s", digits=0),
    Column("server's core busy", "busy", quartiles=False),
    Column("server CPU, µs each", "server_us", digits=1),
    Column("a second of a whole core", "per_core_s", digits=0, quartiles=False),
    Column("to `SET`", "per_core_s", against=dict.fromkeys(LOCKS, SET)),
)

LIVE, REPLAYED = "8 processes", "replayed"

_PROCESSES = 8
#: Requests in flight on each connection, and connections.
_IN_FLIGHT, _CONNECTIONS = 16, 4
_CYCLES = 400
_TTL_S = 60


def run(bench: Bench) -> None:
    """Load one server with each contender, live and replayed."""
    rounds, seconds = bench.settings.rounds_or(3), 0.3 if bench.settings.quick else 1.0
    for case, job in {LIVE: live, REPLAYED: replayed}.items():
        contenders = [SET, *bench.choose(LOCKS)] if shutil.which("redis-benchmark") else bench.choose(LOCKS)
        for name in bench.interleaved(contenders, rounds, case):
            before, start = bench.counters(), time.monotonic()
            if name == SET:
                done = _sets(bench.port, case, 10_000 if bench.settings.quick else 40_000)
            else:
                done = bench.agent(name).call(job, contender=name, port=bench.port, seconds=seconds)
            if "cpu_s" not in done:
                done["cpu_s"] = bench.counters().since(before).cpu_s
                done["seconds"] = time.monotonic() - start
            bench.add(
                case,
                name,
                per_s=done["amount"] / done["seconds"],
                per_core_s=done["amount"] / done["cpu_s"],
                busy=done["cpu_s"] / done["seconds"],
                server_us=done["cpu_s"] / done["amount"] * 1e6,
            )


def _sets(port: int, case: str, amount: int) -> dict[str, float]:
    in_flight, connections = (1, 50) if case == LIVE else (_IN_FLIGHT, _CONNECTIONS)
    command = ["redis-benchmark", "-p", str(port), "-t", "set", "-n", str(amount), "-r", "100000", "-q"]
    subprocess.run(
        [*command, "-P", str(in_flight), "-c", str(connections)], check=True, stdout=subprocess.DEVNULL
    )
    return {"amount": amount}


def live(contender: str, port: int, seconds: float) -> dict[str, float]:
    """Cycle in several processes, each on names of its own; runs in the agent."""
    ready, done = contest.fork.Barrier(_PROCESSES + 1), contest.fork.RawArray("L", _PROCESSES)
    arguments = [(contender, port, number, ready, done) for number in range(_PROCESSES)]
    with redis.Redis(port=port) as client, contest.processes(_cycle, arguments):
        ready.wait(60)
        time.sleep(0.3)
        before, cycles, start = counters(client), sum(done), time.monotonic()
        time.sleep(seconds)
        cost, amount, took = counters(client).since(before), sum(done) - cycles, time.monotonic() - start
    return {"amount": amount, "seconds": took, "cpu_s": cost.cpu_s}


def _cycle(contender: str, port: int, number: int, ready: object, done: list[int]) -> None:
    one = contender_of(contender, port)
    ready.wait()  # type: ignore[attr-defined]
    while True:
        lock = one.make(f"of {number}: {done[number] % 1000}", _TTL_S)
        one.acquire(lock)
        one.release(lock)
        done[number] += 1


def replayed(contender: str, port: int, seconds: float) -> dict[str, float]:
    """Send again what a client sent, many requests in flight; runs in the agent."""
    streams = [_recorded(contender, port, part) for part in range(_CONNECTIONS)]
    sockets = [connect(port) for _ in streams]
    rounds = 0
    with redis.Redis(port=port) as client:
        before, start = counters(client), time.monotonic()
        while time.monotonic() - start < seconds:
            for place in range(len(streams[0])):
                for connection, stream in zip(sockets, streams, strict=True):
                    connection.sendall(stream[place] + END)
                for connection in sockets:
                    read_to_the_end(connection)
            rounds += 1
        cost, took = counters(client).since(before), time.monotonic() - start
    for connection in sockets:
        connection.close()
    return {"amount": rounds * _CYCLES * _CONNECTIONS, "seconds": took, "cpu_s": cost.cpu_s}


def _recorded(contender: str, port: int, part: int) -> list[bytes]:
    """Return what some cycles send, in pieces of several cycles each."""
    with Recorder(port) as recorder:
        one = contender_of(contender, recorder.port)
        one.acquire(warm := one.make("warm", _TTL_S))
        one.release(warm)
        pieces = []
        for first in range(0, _CYCLES, _IN_FLIGHT // 2):
            recorder.taken()
            for number in range(first, first + _IN_FLIGHT // 2):
                lock = one.make(f"of {part}: {number}", _TTL_S)
                one.acquire(lock)
                one.release(lock)
            pieces.append(recorder.taken())
    return pieces
