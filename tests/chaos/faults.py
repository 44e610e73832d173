"""Faults: chooses what breaks next, breaks it, and mends it when its time is over."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Callable

from .journal import Journal, clock
from .network import Network
from .workers import Crew, send

#: How long what is stopped stays stopped, seconds: longer than a lease.
STOPPED_S = (1.8, 3.2)
#: Seconds until a fault is tried again that found nothing to break.
AGAIN_S = 0.1

#: Gives the pids of the children that are in a body now.
Busy = Callable[[], list[int]]


class Faults:
    """A random sequence of faults, each kind at a rate of its own.

    Args:
        rng: Decides on everything.
        crew: Whom it befalls.
        network: Where it happens.
        journal: Is told of each fault.
        busy: Gives the pids of the children that are in a body now.
    """

    def __init__(
        self, rng: random.Random, crew: Crew, network: Network, journal: Journal, busy: Busy
    ) -> None:
        self._rng = rng
        self._crew = crew
        self._network = network
        self._journal = journal
        self._busy = busy
        self._mending: list[tuple[float, Callable[[], object]]] = []
        self._stopped: set[int] = set()
        self._disturbed_until = 0.0
        self.count: Counter[str] = Counter()
        self._kinds: dict[str, tuple[float, Callable[[str], bool]]] = {
            "child killed": (13, self._kill_child),
            "child stopped": (13, self._stop_child),
            "worker killed": (8, self._kill_worker),
            "worker stopped": (8, self._stop_worker),
        }
        for name, (rate, trouble) in network.kinds().items():
            self._kinds[name] = (rate, lambda name, trouble=trouble: self._disturb(name, trouble))
        self._due = {name: clock() + self._gap(rate) for name, (rate, _) in self._kinds.items()}

    def step(self) -> None:
        """Mend and break what is due."""
        self._mend(clock())
        for name, (rate, strike) in self._kinds.items():
            if self._due[name] <= clock():
                struck = strike(name)
                self.count[name] += struck
                # Counted on from when it was due, so that a fault that had to wait comes no less often.
                self._due[name] = self._due[name] + self._gap(rate) if struck else clock() + AGAIN_S

    def end(self) -> None:
        """Mend everything."""
        self._mend(float("inf"))
        self._network.heal()

    def _gap(self, rate: float) -> float:
        return 60 / rate * self._rng.uniform(0.3, 1.7)

    def _mend(self, until: float) -> None:
        for item in [item for item in self._mending if item[0] <= until]:
            self._mending.remove(item)
            item[1]()

    def _later(self, seconds: float, mend: Callable[[], object]) -> None:
        self._mending.append((clock() + seconds, mend))

    def _kill_child(self, name: str) -> bool:
        pids = [pid for pid in self._busy() if pid not in self._stopped]
        if not pids:
            return False
        pid = self._rng.choice(pids)
        self._journal.write("killed", fault=name, pids=[pid])
        send(pid, signal.SIGKILL)
        return True

    def _stop_child(self, name: str) -> bool:
        pids = [pid for pid in self._busy() if pid not in self._stopped]
        if not pids:
            return False
        pid = self._rng.choice(pids)
        self._journal.write("stopped", fault=name, pids=[pid])
        send(pid, signal.SIGSTOP)
        self._stopped.add(pid)

        def go_on() -> None:
            self._stopped.discard(pid)
            self._journal.write("continued", pids=[pid])
            send(pid, signal.SIGCONT)

        self._later(self._rng.uniform(*STOPPED_S), go_on)
        return True

    def _kill_worker(self, name: str) -> bool:
        # Not one that is stopped: the broker may have sent it a message, which would be lost with it.
        if not self._crew.ready:
            return False
        worker = self._rng.choice(self._crew.ready)
        self._journal.write("killed", fault=name, group=worker.group)
        self._crew.kill(worker)
        return True

    def _stop_worker(self, name: str) -> bool:
        if not self._crew.ready:
            return False
        worker = self._rng.choice(self._crew.ready)
        self._journal.write("stopped", fault=name, group=worker.group)
        worker.signal(signal.SIGSTOP)

        def go_on() -> None:
            self._journal.write("continued", group=worker.group)
            worker.signal(signal.SIGCONT)

        self._later(self._rng.uniform(*STOPPED_S), go_on)
        return True

    def _disturb(self, name: str, trouble: Callable[[], float]) -> bool:
        if clock() < self._disturbed_until:
            return False
        began = clock()
        lasts = trouble()
        self._journal.write("disturbed", fault=name, began=began, lasts=lasts)
        self._disturbed_until = clock() + lasts
        self._later(lasts, self._network.heal)
        return True
