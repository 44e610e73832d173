"""Start: a worker checks, when it starts, whether its locked tasks can run as they are declared."""

from __future__ import annotations

import logging
from typing import Any

import redis
from celery import Celery, bootsteps

from ..config.all_off import is_off
from ..config.options import OPTIONS
from ..config.plan import Planned
from ..config.provider import provider_of
from ..config.unknown_settings import check_unknown_settings
from ..engine import meaning_of, reaches, server_fitness
from ..messages import replies
from ..observing import metric_settings, prometheus, serving, traces
from ..observing.destinations import destinations_of

logger = logging.getLogger(__name__)


class LockStep(bootsteps.Step):
    """Stops a worker with wrong settings before it takes a message; logs where the locks are.

    Args:
        parent: The worker.
        **kwargs: As Celery gives them.

    Raises:
        ConfigurationError: A setting is wrong.
    """

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        if is_off(parent.app):
            check_unknown_settings(parent.app.conf)
            logger.warning("locks: lock_mode is off for every task of this worker")
            return
        provider = provider_of(parent.app)
        traces.check(parent.app)
        try:
            reaches(provider.client)
        except redis.RedisError as error:
            logger.warning(
                "locks: Redis at %s cannot be reached (%s); the worker continues, but no locked task can run",
                provider.shown,
                meaning_of(error),
            )
        else:
            logger.info("locks: Redis at %s, prefix %r", provider.shown, provider.prefix)
            for finding in server_fitness.check(provider.client):
                logger.warning("locks: Redis at %s: %s", provider.shown, finding)


class MetricsStep(bootsteps.StartStopStep):
    """Stops a worker whose metrics could not be right; serves them once the children are there.

    Args:
        parent: The worker.
        **kwargs: As Celery gives them.

    Raises:
        ConfigurationError: A setting of what is to be seen is wrong, or a package for it is missing.
    """

    # A child that is forked before has nothing to close.
    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        metric_settings.check(parent.app)
        destinations_of(parent.app)
        if metric_settings.is_wanted(parent.app, metric_settings.PROMETHEUS) and _forks(parent):
            prometheus.refuse_without_directory(parent.app)
        prometheus.forget_the_dead()

    def start(self, parent: Any) -> None:
        """Serve the metrics, if the settings ask for it."""
        serving.serve_worker(parent.app)


def _forks(worker: Any) -> bool:
    # Not at the top: a program that only publishes has no use for it.
    from celery.concurrency.prefork import TaskPool

    return issubclass(worker.pool_cls, TaskPool)


def warn_of_unlocked_tasks(instance: Any = None, **_: Any) -> None:
    """At ``celeryd_after_setup``: name the tasks that have lock options but run without a lock."""
    for name, task in instance.app.tasks.items():
        options = [f"lock_{option}" for option in OPTIONS if hasattr(task, f"lock_{option}")]
        # The setting task_annotations may give lock options to all tasks: also to Celery's own and to ours.
        if (
            options
            and not isinstance(task, Planned)
            and not name.startswith(("celery.", "celery_redislock."))
        ):
            logger.warning(
                "Task %s has %s, but is not locked: declare it with locked_task, or with base=LockedTask",
                name,
                ", ".join(options),
            )


def warn_of_missing_settings(instance: Any = None, **_: Any) -> None:
    """At ``celeryd_after_setup``: name the tasks whose options need a setting that this worker has not."""
    app = instance.app
    options = {name: task.plan_for().options for name, task in app.tasks.items() if isinstance(task, Planned)}
    locked = {name: each for name, each in options.items() if each.mode != "off"}
    replacing = [name for name, each in locked.items() if each.on_conflict == "replace"]
    scoped = [name for name, each in locked.items() if each.scope != "run"]
    if replacing and not app.conf.worker_enable_remote_control:
        logger.warning(
            "locks: worker_enable_remote_control is off, so a run of %s that is replaced and does not stop "
            "by itself is not terminated after lock_replace_after",
            ", ".join(replacing),
        )
    if scoped and replies.are_sent(app):
        logger.warning(
            "locks: with this result_backend only the process that published a call can get its result: with "
            "the lock_scope of %s, a process that is given the result of another's call would wait forever",
            ", ".join(scoped),
        )


def install(app: Celery) -> None:
    """Add to the workers of an app the steps that check their settings.

    May be called any number of times.

    Args:
        app: The app.
    """
    app.steps["worker"].update((LockStep, MetricsStep))
