"""Declarations: rules about what is declared, and has no effect."""

from __future__ import annotations

from collections.abc import Iterator

from ..config.options import OPTIONS
from ..config.plan import Planned
from ..config.unknown_settings import spelled
from .configuration import LOCKED_SCHEDULER, Configuration
from .finding import INFO, Problem
from .wording import names

__all__ = ["beat_without_its_lock", "options_without_a_lock", "replaced_and_not_terminated"]

#: Settings that only `LockedScheduler` reads.
_OF_BEAT = ("redislock_beat_name", "redislock_beat_scheduler", "redislock_beat_ttl")


def options_without_a_lock(seen: Configuration) -> Iterator[Problem]:
    """RL108: a task has lock options, and is not locked."""
    for name, task in seen.tasks.items():
        options = [f"lock_{option}" for option in OPTIONS if hasattr(task, f"lock_{option}")]
        if options and not isinstance(task, Planned):
            yield Problem(
                f"Task {name} has {', '.join(options)}, but is not locked",
                "declare it with locked_task, or with base=LockedTask",
            )


def replaced_and_not_terminated(seen: Configuration) -> Iterator[Problem]:
    """RL109: a run that is replaced cannot be terminated."""
    replacing = [each.name for each in seen.locked if each.options.on_conflict == "replace"]
    if replacing and not seen.conf.worker_enable_remote_control:
        yield Problem(
            f"worker_enable_remote_control is off, so a run of {names(replacing)} that is replaced and does "
            "not stop by itself is not terminated after lock_replace_after",
            "app.conf.worker_enable_remote_control = True",
        )


def beat_without_its_lock(seen: Configuration) -> Iterator[Problem]:
    """RL110: a beat that is told nothing sends beside those of which one sends."""
    given = [spelled(seen.conf, name) for name in _OF_BEAT if seen.conf.get(name) is not None]
    if given and not seen.uses_locked_scheduler:
        # Every beat may be started with -S: the history knows that.
        yield Problem(
            f"{', '.join(given)} is set, but beat_scheduler is {seen.conf.beat_scheduler!r}: a beat that is "
            f"started without -S {LOCKED_SCHEDULER} sends each entry as well",
            f'app.conf.beat_scheduler = "{LOCKED_SCHEDULER}"',
            INFO,
        )
