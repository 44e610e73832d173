"""Beat origins: from which beats the messages of a schedule come: two at once would send each due time twice.

A worker's parent looks at each message that it receives. A beat that is started anew has another process id,
so two beats after each other are no finding. But if a beat's message comes, then another's, and then the
first one's again, both run. That is all right where both lock: the lease went there and back.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from celery import Celery, signals

from ..config.provider import provider_of
from ..config.schedule import entries_of
from ..engine import now
from ..errors import ConfigurationError, StoreUnavailable
from ..messages.headers import (
    BEAT_HEADER,
    COPY_HEADER,
    OUTAGE_HEADER,
    PENDING_HEADER,
    PUT_OFF_HEADER,
    RETRY_HEADER,
)
from .background import background_here
from .statistics_record import Batch, StatisticsRecord, of_beats
from .tally import is_wanted

__all__ = ["Beat", "Origins", "Pair", "mark_messages", "note_origin", "put_mark"]

#: What marks a message as one of a beat: Celery's own (since 5.6), and that of django-celery-beat.
CELERY_MARK, DJANGO_MARK = "celery_beat_task", "periodic_task_name"
#: Headers of a message that a worker has published again: its origin is that worker.
_PUBLISHED_AGAIN = (RETRY_HEADER, OUTAGE_HEADER, COPY_HEADER, PUT_OFF_HEADER, PENDING_HEADER)
#: Where the interval of a task is not known, seconds.
USUAL_S = 60.0
#: A beat's message that comes after a longer pause, in intervals, may be of another process of that name.
LONG_PAUSE = 20
#: A pair of beats is counted once in so many seconds.
COUNTED_EVERY_S = 30.0


class Beat(NamedTuple):
    """Where a message of a beat comes from.

    Attributes:
        origin: Process and host, as Celery has it.
        is_locked: The beat is a `LockedScheduler`.
    """

    origin: str
    is_locked: bool


class Pair(NamedTuple):
    """Two beats that send beside each other.

    Attributes:
        origins: Of both, in the order of the alphabet.
        is_mixed: One of them is a `LockedScheduler`.
    """

    origins: tuple[str, str]
    is_mixed: bool


@dataclass
class Origins:
    """Remembers from which beats the messages of each task came; pure.

    Attributes:
        seen: By task: when the last message of each beat came, seconds; the latest stands last.
    """

    seen: dict[str, dict[Beat, float]] = field(default_factory=dict)

    def see(self, task: str, beat: Beat, at_s: float, interval_s: float) -> Pair | None:
        """Note a message; return which beats send beside each other, if it shows that.

        Args:
            task: Its name.
            beat: Whose message it is.
            at_s: When it came, on a clock that is never set.
            interval_s: The shortest time between two due times of the task, seconds; 0.0: not known.
        """
        interval_s = interval_s or USUAL_S
        by_beat = self.seen.setdefault(task, {})
        before_s = by_beat.pop(beat, None)
        other, other_s = next(reversed(by_beat.items()), (None, 0.0))
        by_beat[beat] = at_s
        while len(by_beat) > 2:
            del by_beat[next(iter(by_beat))]
        if other is None or before_s is None or before_s > other_s or (beat.is_locked and other.is_locked):
            return None
        if at_s - other_s > 2 * interval_s or at_s - before_s > LONG_PAUSE * interval_s:
            return None
        first, second = sorted((beat.origin, other.origin))
        return Pair((first, second), beat.is_locked or other.is_locked)


def beat_of(headers: Mapping[str, Any]) -> Beat | None:
    """Return whose message this is; None: no beat's, or it was published again."""
    is_locked = BEAT_HEADER in headers
    if not is_locked and CELERY_MARK not in headers and DJANGO_MARK not in headers:
        return None
    origin = headers.get("origin")
    if not isinstance(origin, str) or headers.get("retries"):
        return None
    return None if any(header in headers for header in _PUBLISHED_AGAIN) else Beat(origin, is_locked)


@dataclass
class _Watch:
    """What a worker's parent knows of the beats of an app."""

    origins: Origins = field(default_factory=Origins)
    intervals: dict[str, float] = field(default_factory=dict)
    counted_at: dict[Pair, float] = field(default_factory=dict)


_watches: WeakKeyDictionary[Any, _Watch] = WeakKeyDictionary()


def note_origin(request: Any = None, **_: Any) -> None:
    """At ``task_received``: note whose message it is; count two beats that send beside each other."""
    headers = request.message.headers
    if not headers or (request.delivery_info or {}).get("redelivered"):
        return
    beat = beat_of(headers)
    if beat is None:
        return
    app = request.app
    watch = _watches.get(app)
    if watch is None:
        watch = _watches[app] = _Watch(intervals=_intervals(app))
    at_s = now()
    pair = watch.origins.see(request.name, beat, at_s, watch.intervals.get(request.name, 0.0))
    if pair is None or at_s - watch.counted_at.get(pair, -COUNTED_EVERY_S) < COUNTED_EVERY_S:
        return
    watch.counted_at[pair] = at_s
    background_here().put(partial(_count, app, pair, request.name))


def _intervals(app: Celery) -> dict[str, float]:
    intervals: dict[str, float] = {}
    for entry in entries_of(app):
        intervals[entry.task_name] = min(entry.interval_s, intervals.get(entry.task_name, entry.interval_s))
    return intervals


def _count(app: Celery, pair: Pair, task: str) -> None:
    kind = "mixed" if pair.is_mixed else "plain"
    batch = Batch(counts={(of_beats(task), kind, " ".join(pair.origins)): 1})
    # An app without a Redis for locks has no statistics either. Two beats that go on are seen again.
    with suppress(ConfigurationError, StoreUnavailable):
        if is_wanted(app):
            provider = provider_of(app)
            StatisticsRecord(provider.client, provider.prefix).add(batch)


#: The threads of this process in which a beat sends.
_beats: set[int] = set()


def mark_messages(**_: Any) -> None:
    """At ``beat_init``: have the messages of this beat say that they are a beat's, as Celery 5.6 does."""
    _beats.add(threading.get_ident())
    signals.before_task_publish.connect(put_mark, weak=False)


def put_mark(headers: Any = None, **_: Any) -> None:
    """At ``before_task_publish``: mark a message that a beat sends."""
    if threading.get_ident() in _beats and isinstance(headers, dict):
        headers.setdefault(CELERY_MARK, True)
