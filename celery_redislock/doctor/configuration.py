"""Configuration: what an app declares, as the rules look at it; no network is used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from celery import Celery

from ..config.options import LockOptions
from ..config.plan import Planned

__all__ = ["LOCKED_SCHEDULER", "Configuration", "Declared", "Entry"]

#: How the scheduler for several beats is named; it may be written with a dot as well.
LOCKED_SCHEDULER = "celery_redislock.beat:LockedScheduler"

#: After how long a broker delivers a message again that nobody has acknowledged, seconds, unless
#: `visibility_timeout` says another time: kombu's own defaults, by the scheme of the URL.
_VISIBILITY_S = {"redis": 3600.0, "rediss": 3600.0, "sentinel": 3600.0, "sqs": 1800.0}

#: Names of tasks that nobody has declared: Celery's own, and ours.
_NOT_DECLARED = ("celery.", "celery_redislock.")


@dataclass(frozen=True)
class Declared:
    """A locked task, as it is declared.

    Attributes:
        name: Celery's.
        task: Celery's.
        options: Of its locks.
    """

    name: str
    task: Any
    options: LockOptions

    @property
    def longest_s(self) -> float | None:
        """After how long Celery ends its runs, seconds; None: never."""
        conf = self.task.app.conf
        soft_s = self.task.soft_time_limit or conf.task_soft_time_limit
        hard_s = self.task.time_limit or conf.task_time_limit
        return min((float(limit) for limit in (soft_s, hard_s) if limit), default=None)

    @property
    def longest_hold_s(self) -> float | None:
        """For how long its runs can hold their locks, seconds; None: without end."""
        hold_ms = self.options.max_hold_ms
        return None if hold_ms is None else hold_ms / 1000

    @property
    def is_acknowledged_late(self) -> bool:
        """Whether its message is acknowledged when the run has ended."""
        return bool(self.task.acks_late)


@dataclass(frozen=True)
class Entry:
    """An entry of beat's schedule, as the settings have it.

    Attributes:
        name: In the schedule.
        task_name: What it publishes.
        options: Of its publication.
    """

    name: str
    task_name: str
    options: Mapping[str, Any]

    def seconds_of(self, option: str) -> float | None:
        """Return an option that is a length of time; None where it is none, or a moment."""
        value = self.options.get(option)
        if isinstance(value, timedelta):
            return value.total_seconds()
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


class Configuration:
    """What an app declares.

    Args:
        app: With all its tasks: see `of`.
    """

    def __init__(self, app: Celery) -> None:
        self.app = app

    @classmethod
    def of(cls, app: Celery) -> Configuration:
        """Return what an app declares, once the modules of its tasks are imported, as a worker does."""
        app.loader.import_default_modules()
        return cls(app)

    @property
    def conf(self) -> Any:
        """The settings."""
        return self.app.conf

    @cached_property
    def tasks(self) -> Mapping[str, Any]:
        """The tasks of the project, locked or not, by name."""
        tasks: Mapping[str, Any] = self.app.tasks
        return {name: task for name, task in sorted(tasks.items()) if not name.startswith(_NOT_DECLARED)}

    @cached_property
    def locked(self) -> tuple[Declared, ...]:
        """The tasks that take locks, or would in a trial run.

        Raises:
            ConfigurationError: An option or a setting is wrong.
        """
        planned = {name: task for name, task in self.tasks.items() if isinstance(task, Planned)}
        declared = [Declared(name, task, task.plan_for().options) for name, task in planned.items()]
        return tuple(each for each in declared if each.options.mode != "off")

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The entries of beat's schedule in the settings; those in a database are not known."""
        schedule: Mapping[str, Any] = self.conf.beat_schedule or {}
        return tuple(
            Entry(str(name), str(facts.get("task")), facts.get("options") or {})
            for name, facts in schedule.items()
            if isinstance(facts, Mapping)
        )

    @property
    def uses_locked_scheduler(self) -> bool:
        """Whether a beat that is told nothing is one of several of which one sends."""
        return str(self.conf.beat_scheduler).replace(":", ".") == LOCKED_SCHEDULER.replace(":", ".")

    @property
    def keeps_results(self) -> bool:
        """Whether there is a result backend."""
        backend = str(self.conf.result_backend or "")
        return bool(backend) and not backend.startswith("disabled")

    @property
    def reserved_ahead(self) -> float:
        """How many messages a worker reserves for each of its processes; infinite: all that there are."""
        if self.conf.get("worker_disable_prefetch"):
            return 1
        return float(self.conf.worker_prefetch_multiplier or math.inf)

    @cached_property
    def visibility_s(self) -> float | None:
        """After how long the broker delivers a message again that is not acknowledged; None: never."""
        # Not kombu's Connection: for SQS it imports a library that the machine of a CI may not have.
        broker = self.conf.broker_read_url or self.conf.broker_url
        url = broker[0] if isinstance(broker, list | tuple) and broker else broker
        default_s = _VISIBILITY_S.get(str(url).partition(":")[0].partition("+")[0].lower())
        if default_s is None:
            return None
        given = (self.conf.broker_transport_options or {}).get("visibility_timeout")
        return float(given) if isinstance(given, int | float) and given > 0 else default_s
