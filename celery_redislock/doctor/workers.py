"""Workers: what the workers of an app say of themselves, and when."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from celery import Celery

from .rule import CannotLook

__all__ = ["COMMAND", "Clock", "Worker", "ask_workers"]

#: What `worker/control.py` answers.
COMMAND = "lock_settings"

#: For how long it is waited for the next worker, seconds: as Celery's ``inspect`` does.
_WAIT_S = 1.0


class Clock(NamedTuple):
    """How far a clock is ahead of this process's own, as far as that can be measured.

    Attributes:
        ahead_s: Seconds; negative: it is behind.
        within_s: By how much that may be wrong, seconds: half of the way to it and back.
    """

    ahead_s: float
    within_s: float


class Worker(NamedTuple):
    """A worker that has answered.

    Attributes:
        name: "celery@host".
        settings: What it says of its locks, see `worker/control.py`.
        clock: Of its host.
    """

    name: str
    settings: Mapping[str, Any]
    clock: Clock

    @property
    def pool(self) -> str:
        """What ``celery worker -P`` calls its pool; empty: it does not say."""
        return str(self.settings.get("pool", ""))


def ask_workers(app: Celery) -> tuple[Worker, ...]:
    """Ask all workers of an app, and return those that answer, in the order of their names.

    Raises:
        CannotLook: None does.
    """
    found: list[Worker] = []
    sent_at = time.time()

    def hear(replies: Mapping[str, Any]) -> None:
        passed_s = time.time() - sent_at
        for name, said in replies.items():
            if isinstance(said, Mapping) and said.get("app") == app.main:
                clock = Clock(float(said["clock"]) - sent_at - passed_s / 2, within_s=passed_s / 2)
                found.append(Worker(name, said, clock))

    try:
        app.control.broadcast(COMMAND, reply=True, timeout=_WAIT_S, callback=hear)
    except Exception as error:  # each transport has errors of its own
        raise CannotLook(f"the broker cannot be reached ({type(error).__name__})") from error
    if not found:
        raise CannotLook(f"no worker has answered within {_WAIT_S:.0f} s")
    return tuple(sorted(found, key=lambda worker: worker.name))
