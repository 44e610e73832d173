"""A holder is killed; how long after the end of its lease does the next one, who waits, have the lock?

Holders renew where their library can. The lease's end is what the server says right after the kill. A dash:
that ttl cannot be had.
"""

from __future__ import annotations

import random
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import redis

from .. import contest
from ..contenders import LOCKS, contender_of
from ..contenders.protocol import Contender
from ..table import Column

if TYPE_CHECKING:
    from ..bench import Bench

NAME = "killed"
TITLE = "After the death of a holder"

COLUMNS = (
    Column("past the lease's end: median, ms", "late_ms", share=0.5, digits=0),
    Column("largest, ms", "late_ms", share=1.0, digits=0),
    Column("after the kill, over ttl: largest, ms", "over_ttl_ms", share=1.0, digits=0),
)

TTLS_S = (0.5, 1.0, 2.0)

#: Tries at a time, each on a name of its own.
_AT_ONCE = 5


def run(bench: Bench) -> None:
    """Kill holders of each contender's lock."""
    for ttl_s in TTLS_S[:1] if bench.settings.quick else TTLS_S:
        case = f"ttl {ttl_s:g} s"
        for name in bench.interleaved(bench.choose(LOCKS), bench.settings.rounds_or(2), case):
            bench.add(
                case, name, **bench.agent(name).call(kill, contender=name, port=bench.port, ttl_s=ttl_s)
            )


def kill(contender: str, port: int, ttl_s: float) -> dict[str, Any]:
    """Kill some holders while others wait; runs in the agent."""
    if not _can_hold(contender, port, ttl_s):
        return {}
    late, over_ttl = [], []
    pipes = [contest.fork.Pipe(duplex=False) for _ in range(2 * _AT_ONCE)]
    readers = [reader for reader, _ in pipes]
    held, got = readers[:_AT_ONCE], readers[_AT_ONCE:]
    roles = [_hold] * _AT_ONCE + [_follow] * _AT_ONCE
    arguments = [
        (role, contender, port, f"killed {place % _AT_ONCE}", ttl_s, writer)
        for place, (role, (_, writer)) in enumerate(zip(roles, pipes, strict=True))
    ]
    with redis.Redis(port=port) as client, contest.processes(_play, arguments) as playing:
        for reader in held:
            reader.recv()
        time.sleep(0.15)
        ends = []
        for number, holder in enumerate(playing[:_AT_ONCE]):
            time.sleep(random.uniform(0, 0.04))
            holder.kill()
            holder.join()
            killed = time.monotonic()
            ends.append((killed, _lease_left_s(client, f"killed {number}", ttl_s)))
        for reader, (killed, left_s) in zip(got, ends, strict=True):
            if left_s is not None and reader.poll(ttl_s + 10):
                acquired = reader.recv()
                late.append(1000 * (acquired - killed - left_s))
                over_ttl.append(1000 * (acquired - killed - ttl_s))
    return {"late_ms": late, "over_ttl_ms": over_ttl}


def _play(role: Any, contender: str, port: int, name: str, ttl_s: float, report: Connection) -> None:
    role(contender_of(contender, port), name, ttl_s, report)


def _hold(one: Contender, name: str, ttl_s: float, report: Connection) -> None:
    lock = _renewed_if_it_can(one, name, ttl_s)
    one.acquire(lock)
    report.send(time.monotonic())
    time.sleep(60)


def _follow(one: Contender, name: str, ttl_s: float, report: Connection) -> None:
    time.sleep(0.1)  # the holder comes first
    lock = one.make(name, ttl_s)
    one.wait(lock)
    report.send(time.monotonic())
    time.sleep(60)


def _renewed_if_it_can(one: Contender, name: str, ttl_s: float) -> Any:
    try:
        return one.make_renewed(name, ttl_s)
    except NotImplementedError:
        return one.make(name, ttl_s)


def _can_hold(contender: str, port: int, ttl_s: float) -> bool:
    one = contender_of(contender, port)
    try:
        lock = one.make("tried", ttl_s)
        one.acquire(lock)
        one.release(lock)
    except Exception:  # noqa: BLE001 - each library refuses in its own way, or lets Redis do it
        return False
    return True


def _lease_left_s(client: redis.Redis, name: str, ttl_s: float) -> float | None:
    """Return what is left; None: on a busy machine the lease may have ended before the kill."""
    strings = [key for key in client.keys(f"*{name}*") if client.type(key) == b"string"]
    lefts = [left for left in map(client.pttl, strings) if 0 < left <= 1000 * ttl_s]
    return max(lefts) / 1000 if lefts else None
