"""The application whose locks are counted for Prometheus: one body under several options."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from celery import Celery

from celery_redislock import LockedTask
from celery_redislock.observing.background import background_here
from celery_redislock.observing.prometheus import Counts

from ...support.journal import Journal
from ...support.stores import STORE

#: Set for a worker whose children leave the counting to a thread.
LATER = "REDISLOCK_TEST_COUNTS_LATER"

app = Celery("tests.stories.metered", set_as_current=False)


def configure(store: str, **settings: Any) -> None:
    """Say where everything is: database 0 has the locks, 1 the messages, 2 the results."""
    app.conf.update(
        broker_url=f"{store}/1",
        result_backend=f"{store}/2",
        redislock_url=f"{store}/0",
        broker_connection_retry_on_startup=True,
        worker_prefetch_multiplier=1,
        worker_max_tasks_per_child=3,
        redislock_retry_delay=(1, 1),
        beat_schedule={"often": {"task": "returns", "schedule": 1.0, "args": ["beat", "go_on"]}},
        **settings,
    )


if STORE in os.environ:
    configure(os.environ[STORE], redislock_metrics=["prometheus"], redislock_metrics_port=0)

if LATER in os.environ:
    _count = Counts.hear

    def _later(self: Counts, event: Any) -> None:
        background_here().put(lambda: _count(self, event))

    Counts.hear = _later  # type: ignore[method-assign]


@cache
def journal() -> Journal:
    """Return the journal of this process."""
    return Journal(os.environ[STORE])


def _go_on(self: Any, key: str) -> None: ...


def _fail(self: Any, key: str) -> None:
    raise ValueError(key)


def _wait(self: Any, key: str) -> None:
    journal().client.rpush("begun", key)
    journal().pass_gate(key)


def _wait_for_the_loss(self: Any, key: str) -> None:
    journal().client.rpush("begun", key)
    while not self.lock.lost:
        time.sleep(0.02)


def _die(self: Any, key: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _wait_and_die(self: Any, key: str) -> None:
    _wait(self, key)
    _die(self, key)


STEPS: dict[str, Callable[[Any, str], None]] = {
    "go_on": _go_on,
    "fail": _fail,
    "wait": _wait,
    "wait_for_the_loss": _wait_for_the_loss,
    "die": _die,
    "wait_and_die": _wait_and_die,
}


def _body(self: Any, key: str, step: str) -> None:
    """Do one step."""
    STEPS[step](self, key)


def _task(name: str, **options: Any) -> Any:
    options = {"lock_args": ["key"], "bind": True, "shared": False, **options}
    return app.task(_body, base=LockedTask, name=name, **options)


def _ask_wrongly(task: Any, conflict: Any) -> None:
    raise ValueError("it does not know")


returns = _task("returns")
skips = _task("skips")
retries = _task("retries", lock_on_conflict="retry")
fails = _task("fails", lock_on_conflict="fail")
merges = _task("merges", lock_on_conflict="coalesce")
waits = _task("waits", lock_wait=30)
shadow = _task("shadow", lock_mode="shadow")
late = _task("late", lock_ttl=6, acks_late=True)
loses = _task("loses", lock_ttl=1, lock_on_lost="continue")
replaces = _task("replaces", lock_on_conflict="replace")
asks = _task("asks", lock_on_conflict=_ask_wrongly)
bounded = _task("bounded", lock_ttl=1, lock_max_hold=1, lock_on_lost="continue")
