"""Start: a worker says, when it starts, what is wrong with its locks, and stops where none could be taken."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from celery import Celery, bootsteps

from ..config.all_off import is_off
from ..config.provider import provider_of
from ..config.unknown_settings import check_unknown_settings
from ..doctor import at_start
from ..doctor.configuration import Configuration
from ..doctor.finding import Finding
from ..doctor.ignoring import ignored_by
from ..doctor.live import Live
from ..doctor.rule import CannotLook
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
        ignored_by(parent.app)
        provider = provider_of(parent.app)
        traces.check(parent.app)
        try:
            live = Live(Configuration(parent.app))
        except CannotLook as error:
            logger.warning("locks: %s; the worker continues, but no locked task can run", error)
        else:
            logger.info("locks: Redis at %s, prefix %r", provider.shown, provider.prefix)
            _log(at_start.of_servers(live))


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


def log_findings(instance: Any = None, **_: Any) -> None:
    """At ``celeryd_after_setup``: say what is wrong with the configuration of this worker."""
    _log(at_start.of_configuration(instance.app))


def _log(findings: Iterable[Finding]) -> None:
    for each in findings:
        logger.warning("locks: %s: %s; cure: %s; see %s", each.id, each.message, each.cure, each.page)


def install(app: Celery) -> None:
    """Add to the workers of an app the steps that check their settings.

    May be called any number of times.

    Args:
        app: The app.
    """
    app.steps["worker"].update((LockStep, MetricsStep))
