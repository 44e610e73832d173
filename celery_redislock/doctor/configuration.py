"""Configuration: what an app declares, as the rules look at it; no network is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from celery import Celery

from ..config.options import LockOptions
from ..config.plan import Planned

__all__ = ["Configuration", "Declared"]

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
    def is_acknowledged_late(self) -> bool:
        """Whether its message is acknowledged when the run has ended."""
        return bool(self.task.acks_late)


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
