"""Usual: what the statistics and the task's options say of a lock that is held; nothing where they cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from celery import Celery

from ..config.plan import Planned
from ..doctor.holds import is_too_long
from ..errors import ConfigurationError
from ..observing import statistics
from ..observing.statistics import LastConflict, TaskNumbers

#: Of a lease: it is renewed when a third of it is over.
SELDOM_LEFT = 0.5


class Hold(NamedTuple):
    """For how long the runs of a task hold their locks, seconds.

    Attributes:
        p50_s: Half of them hold it for less.
        p95_s: 95 % of them.
        p99_s: 99 % of them.
    """

    p50_s: float
    p95_s: float
    p99_s: float

    def is_exceeded_by(self, held_s: float) -> bool:
        """Tell whether something must be wrong with a run that has held its lock for so long."""
        return is_too_long(held_s, self.p99_s)

    def as_dict(self) -> dict[str, float]:
        """Return the same as JSON types."""
        return {"p50": self.p50_s, "p95": self.p95_s, "p99": self.p99_s}


@dataclass
class Usual:
    """What is usual for the locks of an app's tasks.

    Attributes:
        app: Celery's.
        tasks: The numbers of each task.
        unread: Why there are no statistics; empty: there are.
    """

    app: Celery
    tasks: Mapping[str, TaskNumbers] = field(default_factory=dict)
    unread: str = ""
    _holds: dict[str, Hold | None] = field(default_factory=dict)
    _leases: dict[str, float | None] = field(default_factory=dict)

    @classmethod
    def read(cls, app: Celery) -> Usual:
        """Ask Redis; never raises: a lock can be shown without what is usual."""
        try:
            return cls(app, statistics.read(app).tasks)
        except Exception as error:  # noqa: BLE001 - whatever it is, the locks are to be seen
            return cls(app, unread=str(error) or type(error).__name__)

    def hold_of(self, task: str) -> Hold | None:
        """Return for how long a task holds its locks; None: it is not known."""
        if task not in self._holds:
            self._holds[task] = _hold(self.tasks.get(task))
        return self._holds[task]

    def lease_s_of(self, task: str) -> float | None:
        """Return the `lock_ttl` of a task, seconds; None: this process has no such task."""
        if task not in self._leases:
            self._leases[task] = self._lease_s(task)
        return self._leases[task]

    def conflicts_at(self, lock_name: str) -> tuple[LastConflict, ...]:
        """Return the last calls that met this lock busy, the newest first."""
        met = (each for numbers in self.tasks.values() for each in numbers.last_conflicts)
        return tuple(sorted((each for each in met if each.lock_name == lock_name), reverse=True))

    def _lease_s(self, task: str) -> float | None:
        try:
            known = self.app.tasks.get(task)
            return known.plan_for().options.ttl_ms / 1000 if isinstance(known, Planned) else None
        except ConfigurationError:
            # A worker says so when it starts; here a lock is to be seen.
            return None


def _hold(numbers: TaskNumbers | None) -> Hold | None:
    if numbers is None:
        return None
    found = [numbers.percentile("hold", share) for share in (0.5, 0.95, 0.99)]
    return None if None in found else Hold(*map(float, filter(None, found)))
