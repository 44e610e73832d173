"""Trouble: kills and stops contenders, cuts their connections, pauses all clients, and changes limits."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import redis

from celery_redislock.engine import Limits

from ..journal import clock
from .contender import LONGEST_WAIT_S, contend
from .ground import GROUNDS, PAUSED_S, TTL_S
from .verdict import PAUSED, Change

#: Forked: a child has everything, wrong scripts too.
_FORK = multiprocessing.get_context("fork")
#: How long what is stopped stays stopped, seconds: shorter and longer than a lease.
STOPPED_S = (0.2, 2.5 * TTL_S)


class Crowd:
    """The contenders. Who is killed is replaced.

    Attributes:
        deaths: Ledger of each process that was killed -> when.
    """

    def __init__(self, port: int, folder: Path, amount: int, rng: random.Random) -> None:
        self._port, self._folder, self._rng = port, folder, rng
        self._alive: dict[Path, BaseProcess] = {}
        self.deaths: dict[Path, float] = {}
        self.died_by_themselves: list[str] = []
        for _ in range(amount):
            self._begin()

    def one(self) -> tuple[Path, BaseProcess]:
        """Return some contender."""
        return self._rng.choice(list(self._alive.items()))

    def kill(self) -> None:
        """Kill one, and begin another."""
        ledger, process = self.one()
        self.deaths[ledger] = clock()
        process.kill()
        process.join()
        del self._alive[ledger]
        self._begin()

    def look(self) -> None:
        """Replace those that have ended by themselves, and remember them: an error ends none."""
        for ledger, process in list(self._alive.items()):
            if process.exitcode is not None:
                self.died_by_themselves.append(f"{ledger.name} ended by itself: exit code {process.exitcode}")
                del self._alive[ledger]
                self._begin()

    def end(self) -> None:
        """Let all end what they do."""
        for process in self._alive.values():
            process.terminate()
        for ledger, process in self._alive.items():
            process.join(LONGEST_WAIT_S + 8 * TTL_S)
            if process.exitcode is None:
                self.died_by_themselves.append(f"{ledger.name} did not end; above is what its threads do")
                os.kill(process.pid or 0, signal.SIGUSR1)
                time.sleep(1)
                process.kill()

    def _begin(self) -> None:
        ledger = self._folder / f"{len(self._alive) + len(self.deaths)}-{self._rng.randrange(2**40)}.ledger"
        process = _FORK.Process(
            target=contend, args=(self._port, ledger, self._rng.randrange(2**40)), daemon=True
        )
        process.start()
        self._alive[ledger] = process


class Trouble:
    """What befalls a crowd: each kind again and again, at random.

    Attributes:
        count: What happened, and how often.
        changes: What was set as the limit of a lock.
    """

    def __init__(self, crowd: Crowd, client: redis.Redis, rng: random.Random) -> None:
        self._crowd, self._client, self._rng = crowd, client, rng
        self._stopped: list[tuple[float, int]] = []
        self._paused: list[tuple[float, int]] = []
        self.count: Counter[str] = Counter()
        self.changes: list[Change] = []
        #: What happens, and after how many seconds usually again.
        self._kinds: dict[str, tuple[float, Callable[[], None]]] = {
            "process killed": (1.5, crowd.kill),
            "process stopped": (2.0, self._stop),
            "connections cut": (1.0, self._cut),
            "all clients paused": (6.0, self._pause),
            "limit changed": (1.0, self._change),
            "lock paused": (15.0, self._pause_lock),
        }
        self._due = {name: clock() + self._rng.uniform(0, often) for name, (often, _) in self._kinds.items()}

    def step(self) -> None:
        """Do what is due."""
        for name, (often, strike) in self._kinds.items():
            if clock() > self._due[name]:
                strike()
                self.count[name] += 1
                self._due[name] = clock() + often * self._rng.uniform(0.4, 1.6)
        self._go_on(clock())
        for item in [item for item in self._paused if item[0] <= clock()]:
            self._paused.remove(item)
            self._set(item[1], None)
        self._crowd.look()

    def end(self) -> None:
        """Let all go on, with no limit but their own."""
        self._go_on(float("inf"))
        for place in range(len(GROUNDS)):
            self._set(place, None)

    def _stop(self) -> None:
        _, process = self._crowd.one()
        if process.pid is not None:
            os.kill(process.pid, signal.SIGSTOP)
            self._stopped.append((clock() + self._rng.uniform(*STOPPED_S), process.pid))

    def _go_on(self, until: float) -> None:
        for item in [item for item in self._stopped if item[0] <= until]:
            self._stopped.remove(item)
            with suppress(ProcessLookupError):
                os.kill(item[1], signal.SIGCONT)

    def _change(self) -> None:
        self._set(self._rng.randrange(len(GROUNDS)), self._rng.choice([1, 2, 4, 8, None, None]))

    def _pause_lock(self) -> None:
        place = self._rng.randrange(len(GROUNDS))
        self._set(place, PAUSED)
        self._paused.append((clock() + PAUSED_S, place))

    def _set(self, place: int, number: int | None) -> None:
        """Set a limit; of a rate it stays, for what is counted there."""
        if GROUNDS[place].min_hold_ms and number:
            return
        limits, sent_at = Limits(self._client, GROUNDS[place].name), clock()
        if number is None:
            limits.reset("chaos")
        elif number == PAUSED:
            limits.pause(None, "chaos", "")
        else:
            limits.set(number, None, "chaos", "")
        self.changes.append(Change(place, number, sent_at, clock()))

    def _cut(self) -> None:
        own = self._client.client_id()
        for other in self._client.client_list():
            if int(other["id"]) != own and self._rng.random() < 0.3:
                with suppress(redis.ResponseError):
                    self._client.client_kill_filter(_id=other["id"])

    def _pause(self) -> None:
        seconds = self._rng.uniform(0.05, 0.6)
        self._client.client_pause(int(seconds * 1000))
        time.sleep(seconds)
