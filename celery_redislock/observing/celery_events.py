"""Celery events: what happens to locks, for Celery's monitors, in the group ``lock-*``.

They are never named ``task-*``: a monitor would take the rest of the name for a state of the task that comes
after all others, and would show it for ever, https://docs.celeryq.dev/en/stable/userguide/monitoring.html.
Of ``lock-*`` Flower and celery-exporter know nothing, ``celery events --dump`` prints them, and a camera or a
receiver of the user's own may read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from celery import Celery

from ..config.settings import SETTINGS
from ..config.unknown_settings import spelled
from ..errors import ConfigurationError
from ..events import Acquired, Conflicted, Forced, Lost, Orphaned, Released, Waiting
from .event_sender import EventSender
from .facts import facts_of

__all__ = ["ALL", "RARE", "CeleryEvents", "destination_of", "note_worker"]

#: The types of events that are sent with "rare".
RARE: Mapping[type[Any], str] = {
    Conflicted: "lock-conflict",
    Lost: "lock-lost",
    Orphaned: "lock-orphaned",
    Forced: "lock-forced",
}
#: The same with "all".
ALL: Mapping[type[Any], str] = {
    **RARE,
    Waiting: "lock-waiting",
    Acquired: "lock-acquired",
    Released: "lock-released",
}
#: What is sent, by the words of `redislock_events`.
WORDS: Mapping[str, Mapping[type[Any], str]] = {"rare": RARE, "all": ALL, "off": {}}


class CeleryEvents:
    """Sends events to Celery's monitors.

    Args:
        types: The type of event for each kind of ours that is sent.
        sender: Sends them.
        ends_tasks: Monitors are told of the end of a call that another one supersedes: no worker has its
            message any more that would tell them.
    """

    def __init__(self, types: Mapping[type[Any], str], sender: EventSender, *, ends_tasks: bool) -> None:
        self._types, self._sender, self._ends_tasks = types, sender, ends_tasks

    def hear(self, event: Any) -> None:
        """Leave an event to the thread that sends."""
        type_ = self._types.get(type(event))
        if type_ is not None and _sends_events(event):
            self._sender.put(type_, facts_of(event))
        if self._ends_tasks and type(event) is Conflicted and event.is_pending and _sends_events(event):
            self._sender.put("task-revoked", _end_of(event))

    def close(self) -> None:
        """Send what is left."""
        self._sender.close()


def destination_of(app: Celery) -> CeleryEvents | None:
    """Return what sends the events of an app; None: nothing is sent.

    Raises:
        ConfigurationError: The setting is wrong.
    """
    worker = _workers.get(app, _Worker(None, None))
    has_monitors = bool(app.either("worker_send_task_events", worker.task_events))
    types = _types_of(app, has_monitors)
    if not types and not has_monitors:
        return None
    return CeleryEvents(types, EventSender(app, worker.hostname), ends_tasks=has_monitors)


def _types_of(app: Celery, has_monitors: bool) -> Mapping[type[Any], str]:
    word = SETTINGS["redislock_events"].of(app.conf)
    if word is None:
        word = "rare" if has_monitors else "off"
    if not isinstance(word, str) or word not in WORDS:
        raise ConfigurationError(
            f'{spelled(app.conf, "redislock_events")} setting must be "rare", "all" or "off", not {word!r}'
        )
    return WORDS[word]


def _sends_events(event: Any) -> bool:
    """Whether the task is one of which monitors are told: an attribute of Celery's tasks."""
    return bool(getattr(getattr(event, "task", None), "send_events", True))


def _end_of(event: Conflicted) -> dict[str, Any]:
    """Return the fields of Celery's event, with the reason as `result`, which monitors show."""
    revoked = {"uuid": event.task_id, "terminated": False, "signum": None, "expired": False}
    return {**revoked, "result": event.reason}


class _Worker(NamedTuple):
    """What the command line of a worker has said.

    Attributes:
        hostname: Of the worker; None: this process is none.
        task_events: ``-E``; None: it was not given.
    """

    hostname: str | None
    task_events: bool | None


_workers: WeakKeyDictionary[Any, _Worker] = WeakKeyDictionary()


def note_worker(sender: Any = None, instance: Any = None, options: Any = None, **_: Any) -> None:
    """At ``celeryd_init``, before a pool is forked: the children are told neither of the two."""
    _workers[instance.app] = _Worker(sender, (options or {}).get("task_events"))
