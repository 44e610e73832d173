"""Receivers: what observing needs to hear of events, and of Celery's signals."""

from __future__ import annotations

import atexit
import logging
from functools import partial
from typing import Any

from celery import Celery, signals

from .. import events
from ..engine import now
from ..engine.threads import Bell, begin
from ..errors import ConfigurationError
from . import celery_events, serving
from .background import background_here
from .destinations import Destination, all_destinations, apps_known, destinations_of

logger = logging.getLogger(__name__)

#: Events that know the task whose lock it is.
OF_A_TASK = (
    events.Acquired,
    events.Waiting,
    events.Released,
    events.Conflicted,
    events.Lost,
    events.Lapsed,
    events.Orphaned,
    events.Ran,
)
#: Events that know the app.
OF_AN_APP = (events.Forced, events.Ticked, events.Led, events.ChildDied)
#: Events of the engine, which knows no app: all apps of the process are told.
OF_THE_ENGINE = (events.Renewed, events.StoreFailed)

#: How long the end of a process waits for what is left, seconds, all together.
LAST_S = 2.0
#: How long it waits for each destination at least, seconds, though another has taken all that time.
LEAST_S = 0.2


def install() -> None:
    """Hear of all events. May be called any number of times."""
    for of_a_task in OF_A_TASK:
        events.listen(of_a_task, hear_of_a_task)
    for of_an_app in OF_AN_APP:
        events.listen(of_an_app, hear_of_an_app)
    for of_the_engine in OF_THE_ENGINE:
        events.listen(of_the_engine, hear_of_the_engine)
    signals.celeryd_init.connect(celery_events.note_worker, weak=False)
    signals.worker_process_shutdown.connect(close, weak=False)
    signals.worker_shutdown.connect(close, weak=False)
    signals.worker_shutdown.connect(serving.end, weak=False)
    signals.beat_init.connect(serving.serve_beat, weak=False)
    # Of a beat, and of a process that only publishes. What is registered twice is taken away twice.
    atexit.unregister(close)
    atexit.register(close)


def hear_of_a_task(event: Any) -> None:
    """Give an event to each destination of the app of its task."""
    _give(_destinations_of(event.task.app), event)


def hear_of_an_app(event: Any) -> None:
    """Give an event to each destination of its app."""
    _give(_destinations_of(event.app), event)


def hear_of_the_engine(event: Any) -> None:
    """Give an event to each destination of this process, once: apps may share one."""
    # Also of apps that this process has only inherited: its first event may be that Redis is away.
    _give(dict.fromkeys(each for app in apps_known() for each in _destinations_of(app)), event)


def _destinations_of(app: Celery) -> tuple[Destination, ...]:
    try:
        return destinations_of(app)
    except ConfigurationError as error:
        _report_setting(error)
        return ()


def _give(destinations: Any, event: Any) -> None:
    interruption: Exception | None = None
    for destination in destinations:
        try:
            destination.hear(event)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not reach the run
            if events.is_interruption(error):
                interruption = error
            else:
                _report(destination)
    if interruption is not None:
        raise interruption


#: What a failure was logged of: classes of destinations, wrong settings.
_reported: set[Any] = set()


def _report(destination: Destination) -> None:
    """Log a failure once: one that comes with each run would fill the log."""
    kind = type(destination)
    if kind not in _reported:
        _reported.add(kind)
        logger.exception("%s could not pass on what was seen; it is not said again", kind.__name__)


def _report_setting(error: ConfigurationError) -> None:
    """Log a wrong setting once. A worker has not started with one; this is any other process."""
    if str(error) not in _reported:
        _reported.add(str(error))
        logger.error("nothing is seen of the locks of this process: %s", error)


def close(**_: Any) -> None:
    """Pass on what is left: the process ends. What takes longer than a destination may is left behind."""
    destinations = all_destinations()
    if not destinations:
        return
    until = now() + LAST_S
    background_here().flush(LAST_S)
    for destination in destinations:
        _close(destination, until - now())
    # What they have left there themselves.
    background_here().flush(max(until - now(), LEAST_S))


def _close(destination: Destination, within_s: float) -> None:
    """Close a destination in a thread of its own, and wait for that."""
    closed = Bell()
    close_it = partial(_close_here, destination, closed)
    if begin(close_it, "redislock-closing"):
        closed.wait(max(within_s, LEAST_S))
    else:
        # At the end of the interpreter no thread can be started.
        close_it()


def _close_here(destination: Destination, closed: Bell) -> None:
    try:
        destination.close()
    except Exception:  # noqa: BLE001 - the process ends all the same
        _report(destination)
    finally:
        closed.ring()
