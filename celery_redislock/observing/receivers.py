"""Receivers: what observing needs to hear of events, and of Celery's signals."""

from __future__ import annotations

import logging
from typing import Any

from celery import signals

from .. import events
from .background import background_here
from .destinations import Destination, all_destinations, destinations_of

logger = logging.getLogger(__name__)

#: Events that know the app whose lock it is.
OF_AN_APP = (
    events.Acquired,
    events.Waiting,
    events.Released,
    events.Conflicted,
    events.Lost,
    events.Orphaned,
    events.Forced,
    events.Ticked,
    events.Led,
)
#: Events of the engine, which knows no app: all apps of the process are told.
OF_THE_ENGINE = (events.Renewed, events.StoreFailed)

#: How long the end of a process waits for what is left, seconds.
LAST_S = 2.0


def install() -> None:
    """Hear of all events. May be called any number of times."""
    for of_an_app in OF_AN_APP:
        events.listen(of_an_app, hear)
    for of_the_engine in OF_THE_ENGINE:
        events.listen(of_the_engine, hear_of_the_engine)
    signals.worker_process_shutdown.connect(close, weak=False)
    signals.worker_shutdown.connect(close, weak=False)


def hear(event: Any) -> None:
    """Give an event to each destination of its app."""
    app = event.app if hasattr(event, "app") else event.task.app
    _give(destinations_of(app), event)


def hear_of_the_engine(event: Any) -> None:
    """Give an event to each destination of this process."""
    _give(all_destinations(), event)


def _give(destinations: Any, event: Any) -> None:
    for destination in destinations:
        try:
            destination.hear(event)
        except Exception:  # noqa: BLE001 - whatever it is, it must not reach the run
            _report(destination)


#: Classes of destinations of which a failure was logged.
_reported: set[type[Any]] = set()


def _report(destination: Destination) -> None:
    """Log a failure once: one that comes with each run would fill the log."""
    kind = type(destination)
    if kind not in _reported:
        _reported.add(kind)
        logger.exception("%s could not pass on what was seen; it is not said again", kind.__name__)


def close(**_: Any) -> None:
    """Pass on what is left: the process ends."""
    background_here().flush(LAST_S)
    for destination in all_destinations():
        try:
            destination.close()
        except Exception:  # noqa: BLE001 - the process ends all the same
            _report(destination)
