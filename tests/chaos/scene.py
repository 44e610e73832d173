"""Scene: one run of chaos: tasks are published, faults happen, and everything is watched."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from ..support.servers import Server
from . import places
from .app import app, careful, stubborn
from .faults import Faults
from .journal import Entry, Journal, clock
from .network import Line, Network
from .watch import Watch
from .workers import Crew, crew

WORKERS = 2
KEYS = ("a", "b", "c", "d", "e")
#: As many tasks of one key are under way at a time: one that has bad luck must not hold up the others.
BACKLOG = 4
#: How long a body takes, seconds, and how often; the longest is delivered again while it runs.
LENGTHS_S = (((0.03, 0.2), 85), ((0.3, 0.8), 14), ((3.5, 4.5), 1))

#: Seconds within which the workers are there, and after which an empty broker counts as done with.
READY_S, QUIET_S = 60.0, 6.0
TICK_S = 0.02

#: Says whether what was reported so far will do, asked this often, seconds.
Enough = Callable[[Sequence[Entry]], bool]
ASK_S = 5.0


class Scene:
    """One run of chaos.

    Args:
        rng: Decides on all that is left to chance.
        store: Has the messages, the results, the resource and the journal; nothing happens to it.
        locks: Has the locks.
        line: The workers' way to `locks`.
        logs: Folder for the workers' logs.
    """

    def __init__(self, rng: random.Random, store: Server, locks: Server, line: Line, logs: Path) -> None:
        self._rng = rng
        self._logs = logs
        self._network = Network(line, locks, rng)
        self._journal = Journal(f"{os.environ[places.STORE]}/3")
        self._broker = store.client(db=1)
        self._watch = Watch(locks, {key: careful.lock_name(key, 0) for key in KEYS})
        self._entries: list[Entry] = []
        self._busy: dict[str, Entry] = {}
        self._tasks: list[str] = []
        self._unfinished: dict[str, str] = {}
        self._looked = 0.0
        self._asked = 0.0

    def play(self, seconds: float, drain_s: float, enough: Enough | None = None) -> list[Entry]:
        """Make faults for a time, wait for all tasks to end, and return what was reported.

        Args:
            seconds: How long faults come, at most.
            drain_s: How long to wait at most, seconds.
            enough: Asked now and then whether what was reported so far will do.
        """
        with crew(WORKERS, dict(os.environ), self._logs) as workers:
            self._wait_for(workers)
            faults = Faults(self._rng, workers, self._network, self._journal, self._busy_children)
            ends = clock() + seconds
            while clock() < ends and not self._is_enough(enough):
                faults.step()
                self._publish()
                self._step(workers)
            faults.end()
            self._drain(workers, drain_s)
        self._step(workers=None)
        return [*self._entries, *self._watch.sightings(), *self._states(), *self._still_queued()]

    def _is_enough(self, enough: Enough | None) -> bool:
        if enough is None or clock() < self._asked + ASK_S:
            return False
        self._asked = clock()
        return enough(self._entries)

    def _wait_for(self, workers: Crew) -> None:
        deadline = clock() + READY_S
        while len(workers.ready) < WORKERS:
            if clock() > deadline:
                raise RuntimeError(f"no worker became ready; see {self._logs}")
            time.sleep(0.1)

    def _publish(self) -> None:
        under_way = Counter(self._unfinished.values())
        keys = [key for key in KEYS if under_way[key] < BACKLOG]
        if not keys:
            return
        ((shortest, longest),) = self._rng.choices(*zip(*LENGTHS_S, strict=True))
        task = self._rng.choice([careful, stubborn])
        key = self._rng.choice(keys)
        result = task.apply_async((key, self._rng.uniform(shortest, longest)))
        self._tasks.append(result.id)
        self._unfinished[result.id] = key

    def _step(self, workers: Crew | None) -> None:
        """Look at everything once."""
        if workers is not None:
            for group in workers.replace_the_dead():
                self._journal.write("killed", fault="worker ended by itself", group=group)
        self._watch.step()
        for entry in self._journal.new():
            self._take_note(entry)
        if clock() > self._looked + 0.2:
            self._looked = clock()
            for task in [t for t in self._unfinished if app.AsyncResult(t).state == "SUCCESS"]:
                del self._unfinished[task]
        time.sleep(TICK_S)

    def _take_note(self, entry: Entry) -> None:
        self._entries.append(entry)
        if entry["what"] == "started":
            self._busy[entry["run"]] = entry
        elif entry["what"] == "ended":
            self._busy.pop(entry["run"], None)
        elif entry["what"] == "killed":
            for run, started in list(self._busy.items()):
                if started["pid"] in entry.get("pids", ()) or started["group"] == entry.get("group"):
                    del self._busy[run]

    def _busy_children(self) -> list[int]:
        return sorted({entry["pid"] for entry in self._busy.values()})

    def _drain(self, workers: Crew, longest_s: float) -> None:
        deadline = clock() + longest_s
        quiet_since = clock()
        while clock() < deadline and clock() < quiet_since + QUIET_S:
            self._step(workers)
            if self._unfinished and (self._busy or self._messages()):
                quiet_since = clock()
            if not self._unfinished and self._watch.is_all_free:
                return

    def _messages(self) -> list[Entry]:
        """Return the messages that the broker has."""
        unread = self._broker.lrange("celery", 0, -1)
        unacknowledged = self._broker.hvals("unacked")
        return [*map(json.loads, unread), *(json.loads(one)[0] for one in unacknowledged)]

    def _still_queued(self) -> list[Entry]:
        names = [message["headers"].get(places.PUBLICATION) for message in self._messages()]
        return [{"what": "queued", "publication": name, "at": clock()} for name in names]

    def _states(self) -> list[Entry]:
        results = [app.AsyncResult(task) for task in self._tasks]
        return [
            {"what": "state", "at": clock(), "task": r.id, "state": r.state, "why": repr(r.result)[:200]}
            for r in results
        ]
