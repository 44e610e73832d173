"""Contender: one process under chaos. Its threads take places and give them back, and tell the ledger."""

from __future__ import annotations

import faulthandler
import itertools
import random
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import redis

from celery_redislock import RedisLock, StoreUnavailable

from ..journal import clock
from .ground import GROUNDS, READER, STRANGER, TTL_S, WRITER, Ground
from .ledger import ENDED, FAILED, GRANTED, WAITED, Ledger, Record

THREADS = 8
#: How long a holder works, seconds, and how often; the longest is longer than a lease.
WORK_S = ((0.0, 7000), (0.002, 2900), (0.03, 100), (0.9, 3))
#: How long it waits for a place, seconds, and how often: seldom for long, so that not all soon stand in line
#: for the one lock that is paused.
WAITS_S = ((0.0, 20), (0.2, 70), (3.0, 10))
LONGEST_WAIT_S = 3.0
#: One in so many forgets to give its place back.
FORGETS = 4000

T = TypeVar("T")

#: What a program does that knows only SET NX PX.
_FREE_IF_MINE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


def contend(port: int, ledger: Path, seed: int) -> None:
    """Take places until SIGTERM comes; all threads have ended then."""
    faulthandler.register(signal.SIGUSR1)
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    contender = Contender(port, Ledger(ledger), over)
    threads = [threading.Thread(target=contender.run, args=(seed + n,), daemon=True) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    # Again and again: a signal that another thread gets does not wake this one.
    while not over.wait(0.1):
        pass
    for thread in threads:
        thread.join(LONGEST_WAIT_S + 4 * TTL_S)


class Contender:
    """The threads of a process, and what they have in common."""

    def __init__(self, port: int, ledger: Ledger, over: threading.Event) -> None:
        self._client = redis.Redis(port=port, socket_timeout=2)
        self._ledger, self._over = ledger, over
        self._grants = itertools.count()

    def run(self, seed: int) -> None:
        """Ask for one lock after the other."""
        rng = random.Random(seed)
        while not self._over.is_set():
            place = rng.randrange(len(GROUNDS))
            kind = _one_of(rng, GROUNDS[place].askers)
            ask = self._ask_as_stranger if kind == STRANGER else self._ask
            try:
                ask(rng, place, kind)
            except (StoreUnavailable, redis.RedisError):
                self._ledger.write(Record(FAILED, place, kind, 0, 0, clock(), 0))
                time.sleep(0.01)

    def _ask(self, rng: random.Random, place: int, kind: int) -> None:
        ground, renews = GROUNDS[place], rng.random() < 0.1
        lock = _lock_of(self._client, ground, kind, renews)
        if not lock.acquire(blocking=True, timeout=_one_of(rng, WAITS_S)):
            self._ledger.write(Record(WAITED, place, kind, 0, 0, clock(), 0))
            return
        at = clock()
        # In this order: a pause in between makes the time too short, not too long.
        until, grant, fence = at + lock.remaining, next(self._grants), lock.fencing_token
        self._ledger.write(Record(GRANTED, place, kind, grant, fence or 0, at, until))
        _work(rng)
        ends = clock()
        until = ends if lock.remaining > 0 else min(until, ends)
        self._ledger.write(Record(ENDED, place, kind, grant, fence or 0, ends, until))
        if rng.randrange(FORGETS):
            with suppress(StoreUnavailable):
                lock.release()

    def _ask_as_stranger(self, rng: random.Random, place: int, kind: int) -> None:
        name, token, sent_at = GROUNDS[place].name, uuid4().hex, clock()
        if not self._client.set(name, token, nx=True, px=int(TTL_S * 1000)):
            return
        at, until, grant = clock(), sent_at + TTL_S, next(self._grants)
        self._ledger.write(Record(GRANTED, place, kind, grant, 0, at, until))
        _work(rng)
        ends = clock()
        self._ledger.write(Record(ENDED, place, kind, grant, 0, ends, min(until, ends)))
        self._client.eval(_FREE_IF_MINE, 1, name, token)


def _lock_of(client: redis.Redis, ground: Ground, kind: int, renews: bool) -> RedisLock:
    limit = None if kind in (WRITER, READER) else kind
    return RedisLock(
        client,
        ground.name,
        TTL_S,
        renew=renews,
        min_hold=ground.min_hold_ms / 1000,
        shared=kind == READER,
        limit=limit,
    )


def _work(rng: random.Random) -> None:
    seconds = _one_of(rng, WORK_S) * rng.uniform(0.5, 1.5)
    if seconds:
        time.sleep(seconds)


def _one_of(rng: random.Random, table: Sequence[tuple[T, int]]) -> T:
    """Return one of the values of a table, each as often as it says."""
    values, often = zip(*table, strict=True)
    (value,) = rng.choices(values, often)
    return value
