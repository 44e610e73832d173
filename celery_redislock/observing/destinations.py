"""Destinations: where an app's events go, by its settings; made once in each process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from celery import Celery

from ..engine.threads import Process, here
from . import celery_events, logs, opentelemetry, prometheus, tally, traces


class Destination(Protocol):
    """Where events go."""

    def hear(self, event: Any) -> object:
        """Take note of an event. Called in the thread that tells it: quick, and never waits."""

    def close(self) -> object:
        """Pass on what is left: the process ends. It may take a second."""


#: Each returns the destination of an app, or None where the settings do not ask for it.
MAKERS: tuple[Callable[[Celery], Destination | None], ...] = (
    logs.destination_of,
    tally.destination_of,
    prometheus.destination_of,
    opentelemetry.destination_of,
    traces.destination_of,
    celery_events.destination_of,
)

#: Of each app, by process: what a fork has inherited is the parent's.
_made: WeakKeyDictionary[Any, dict[Process, tuple[Destination, ...]]] = WeakKeyDictionary()


def destinations_of(app: Celery) -> tuple[Destination, ...]:
    """Return the destinations of an app; the child of a fork makes its own.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    process = here.process
    made = _made.get(app)
    if made is None:
        made = _made.setdefault(app, {})
    known = made.get(process)
    if known is None:
        # In one step: two threads may come at once, and what one of them has told must not be forgotten.
        known = made.setdefault(process, tuple(each for make in MAKERS if (each := make(app)) is not None))
    return known


def apps_known() -> list[Celery]:
    """Return the apps whose destinations have been asked for, in this process or before its fork."""
    return list(_made)


def all_destinations() -> list[Destination]:
    """Return the destinations of all apps that have been asked for in this process."""
    process = here.process
    return [each for made in list(_made.values()) for each in made.get(process, ())]
