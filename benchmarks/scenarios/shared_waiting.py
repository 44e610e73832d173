"""Ten hold a lock with a limit of ten and 50 wait; and a writer comes again and again among 100 readers.

Each that waits is a process. With the limit each holds it for 20 to 60 ms, and waits again at once. The
handoff is counted from the return of `release` to the return of the `acquire` that gets the same slot.
Readers hold the lock for up to 200 ms and come again at once, in 20 processes with five threads each. The
writer is late from the moment when the last reader that was there when it came has returned from `release`.
"""

from __future__ import annotations

import os
import random
import struct
import tempfile
import threading
import time
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import redis

from celery_redislock import RedisLock

from .. import contest
from ..statistics import quantile
from ..table import Column

if TYPE_CHECKING:
    from ..bench import Bench

NAME = "shared_waiting"
TITLE = "Waiting for a lock that several hold"

COLUMNS = (
    Column("late: median, ms", "late_ms", share=0.5),
    Column("p99, ms", "late_ms", share=0.99),
    Column("waited: median, ms", "waited_ms", share=0.5, digits=0),
    Column("longest, ms", "longest_ms", digits=0, worst=True),
)

LIMIT, WAITERS = 10, 50
READERS, THREADS = 20, 5
LONGEST_READ_S = 0.2

_TTL_S = 30
_SETTLE_S = 0.6
#: Slot, or `_READER` or `_WRITER`; when it asked, had the lock, and had given it back.
_HOLD = struct.Struct("=iddd")
_READER, _WRITER = -1, -2

Hold = tuple[int, float, float, float]


def run(bench: Bench) -> None:
    """Let each crowd go on for some seconds, several times."""
    quick = bench.settings.quick
    seconds = 1.5 if quick else 3.0
    for case, crowd in (("limit 10, 50 wait", limited), ("a writer, 100 readers", mixed)):
        for name in bench.interleaved(bench.choose(["redislock"]), bench.settings.rounds_or(5), case):
            sizes = {"amount": 12 if quick else LIMIT + WAITERS} if crowd is limited else {}
            bench.add(case, name, **bench.agent(name).call(crowd, port=bench.port, seconds=seconds, **sizes))


def limited(port: int, seconds: float, amount: int) -> dict[str, Any]:
    """Let so many take ten places in turn; runs in the agent."""
    holds, since = _recorded(_take_places, amount, port, seconds)
    by_slot: dict[int, list[Hold]] = defaultdict(list)
    for each in sorted(holds, key=lambda each: each[2]):
        by_slot[each[0]].append(each)
    pairs = [pair for of_slot in by_slot.values() for pair in pairwise(of_slot) if pair[1][2] > since]
    late = [1000 * (later[2] - earlier[3]) for earlier, later in pairs]
    return _figures(late, [1000 * (later[2] - later[1]) for _, later in pairs])


def mixed(port: int, seconds: float) -> dict[str, Any]:
    """Let a writer come among readers; runs in the agent."""
    holds, since = _recorded(_read_and_write, READERS + 1, port, seconds)
    late, waited = [], []
    for kind, asked, acquired, _ in holds:
        if kind == _WRITER and asked > since:
            there = [reader[3] for reader in holds if reader[0] == _READER and reader[2] < asked < reader[3]]
            late.append(1000 * (acquired - max([asked, *there])))
            waited.append(1000 * (acquired - asked))
    return _figures(late, waited)


def _figures(late: list[float], waited: list[float]) -> dict[str, Any]:
    longest = {"longest_ms": max(waited), "median_ms": quantile(late, 0.5)} if waited else {}
    return {"late_ms": late, "waited_ms": waited, **longest}


def _recorded(target: Any, amount: int, port: int, seconds: float) -> tuple[list[Hold], float]:
    """Let processes hold the lock for so many seconds; return what they did, and when all were there."""
    with tempfile.TemporaryFile() as journal:
        os.set_inheritable(journal.fileno(), True)
        with contest.processes(target, [(port, number, journal.fileno()) for number in range(amount)]):
            time.sleep(_SETTLE_S)
            since = time.monotonic()
            time.sleep(seconds)
        os.lseek(journal.fileno(), 0, os.SEEK_SET)
        text = journal.read()
    return list(_HOLD.iter_unpack(text[: len(text) // _HOLD.size * _HOLD.size])), since


def _take_places(port: int, number: int, journal: int) -> None:
    lock = RedisLock(redis.Redis(port=port), "places", _TTL_S, limit=LIMIT)
    while True:
        _hold(lock, random.uniform(0.02, 0.06), journal)


def _read_and_write(port: int, number: int, journal: int) -> None:
    client = redis.Redis(port=port)
    if number == 0:
        lock = RedisLock(client, "book", _TTL_S)
        while True:
            time.sleep(0.3)
            _hold(lock, 0.001, journal, _WRITER)
    for _ in range(THREADS):
        threading.Thread(target=_read, args=(client, journal), daemon=True).start()
    time.sleep(3600)


def _read(client: redis.Redis, journal: int) -> None:
    lock = RedisLock(client, "book", _TTL_S, shared=True)
    while True:
        _hold(lock, random.uniform(0, LONGEST_READ_S), journal, _READER)


def _hold(lock: RedisLock, seconds: float, journal: int, kind: int = 0) -> None:
    asked = time.monotonic()
    lock.acquire(blocking=True)
    acquired, place = time.monotonic(), kind or lock.slot
    time.sleep(seconds)
    lock.release()
    os.write(journal, _HOLD.pack(place, asked, acquired, time.monotonic()))
