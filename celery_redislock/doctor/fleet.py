"""Fleet: rules about workers that do not agree with each other, or with the server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .finding import Problem
from .history import History
from .live import Live
from .wording import names

__all__ = ["clock_is_off", "clock_of_beat_is_off", "disagrees"]

#: A clock may be wrong by so much, seconds.
_OFF_S = 1.0

#: What all workers of an app have in common: the field of their answer -> what people call it.
_COMMON = {"version": "version of celery_redislock", "server": "server of the locks", "prefix": "prefix"}


def clock_is_off(seen: Live) -> Iterator[Problem]:
    """RL207: the clock of a worker's host is not the server's."""
    server = seen.clock
    for worker in seen.workers:
        off_s = worker.clock.ahead_s - server.ahead_s
        if abs(off_s) > _OFF_S + worker.clock.within_s + server.within_s:
            yield Problem(
                f"the clock of worker {worker.name} is {_away(off_s)} that of the Redis server: due times, "
                "expiries and what is shown of locks are wrong by that",
                "timedatectl set-ntp true",
            )


def clock_of_beat_is_off(seen: History) -> Iterator[Problem]:
    """RL207: the clock of a beat's host is not the server's."""
    off = [
        (entry.ahead_s, name) for name, entry in seen.last_day.entries.items() if abs(entry.ahead_s) > _OFF_S
    ]
    if off:
        off_s, name = max(off, key=lambda each: abs(each[0]))
        yield Problem(
            f"the clock of the beat that sent {name!r} last was {_away(off_s)} that of the Redis server: due "
            "times, expiries and what is shown of locks are wrong by that",
            "timedatectl set-ntp true",
        )


def disagrees(seen: Live) -> Iterator[Problem]:
    """RL301: workers of one app keep different locks for the same calls."""
    by_worker = {worker.name: worker.settings for worker in seen.workers}
    for field, what in _COMMON.items():
        said = {name: str(settings.get(field)) for name, settings in by_worker.items()}
        yield from _differing(f"workers differ in the {what}", said)
    tasks = {task for settings in by_worker.values() for task in settings.get("tasks", ())}
    for task in sorted(tasks):
        # A worker may not know each task.
        said = {
            name: _options(settings["tasks"][task])
            for name, settings in by_worker.items()
            if task in settings.get("tasks", ())
        }
        yield from _differing(f"workers differ in the lock options of {task}", said)


def _away(off_s: float) -> str:
    return f"{abs(off_s):.1f} s {'ahead of' if off_s > 0 else 'behind'}"


def _differing(what: str, said: Mapping[str, str]) -> Iterator[Problem]:
    values = dict.fromkeys(said.values())
    if len(values) > 1:
        told = "; ".join(f"{value} ({names([w for w, v in said.items() if v == value])})" for value in values)
        yield Problem(
            f"{what}: {told}: a lock of one of them does not keep a run of another one apart",
            "deploy one version and the same settings to all workers, and restart them",
        )


def _options(given: Mapping[str, Any]) -> str:
    return ", ".join(f"lock_{name}={value!r}" for name, value in sorted(given.items())) or "the defaults"
