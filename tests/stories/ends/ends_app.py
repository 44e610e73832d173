"""The application of these tests: one body under a few options; the rest is told by each call."""

from __future__ import annotations

import json
import os
from typing import Any

from celery import Celery, Task
from celery.worker.request import Request

from celery_redislock import LockedTask, signals

from ...support.stores import STORE
from .ways_to_end import RETRIED_S, Failure, journal, scripted

#: Settings of a worker besides the usual ones, JSON.
SETTINGS = "REDISLOCK_TEST_SETTINGS"


#: Of a task with two locks.
TWO_KEYS = ["two:{key}:b", "two:{key}:a"]


class OwnRequest(Request):
    """A request class of the user's own."""

    def on_accepted(self, pid: int, time_accepted: float) -> Any:
        """Say so."""
        journal().write("own request", key=self.args[0], child=pid)
        return super().on_accepted(pid, time_accepted)


def build(store: str, **settings: Any) -> Celery:
    """Return the application. Database 0 has the locks, 1 the messages, 2 the results."""
    app = Celery("tests.stories.ends", set_as_current=False)
    app.conf.update(
        {
            "broker_url": f"{store}/1",
            "result_backend": f"{store}/2",
            "redislock_url": f"{store}/0",
            "broker_connection_retry_on_startup": True,
            "worker_prefetch_multiplier": 1,
            "worker_cancel_long_running_tasks_on_connection_loss": False,
            **settings,
        }
    )
    _task(app, "plain")
    _task(app, "late", acks_late=True)
    _task(app, "lost_worker", acks_late=True, reject_on_worker_lost=True)
    _task(app, "ordinary", base=Task)
    _task(app, "auto", autoretry_for=(Failure,), retry_kwargs={"countdown": RETRIED_S}, retry_backoff=False)
    _task(
        app,
        "late_auto",
        acks_late=True,
        autoretry_for=(Failure,),
        retry_kwargs={"countdown": RETRIED_S},
        retry_backoff=False,
    )
    _task(app, "own", Request=OwnRequest)
    _task(app, "two", lock_key=TWO_KEYS)
    _task(app, "late_two", lock_key=TWO_KEYS, acks_late=True)
    return app


def _task(app: Celery, name: str, base: type[Task] = LockedTask, **options: Any) -> None:
    if base is LockedTask and "lock_key" not in options:
        options["lock_args"] = ["key"]
    app.task(scripted, base=base, bind=True, shared=False, name=name, **options)


@signals.lock_lost.connect
def _lost(sender: Any, lock: Any, reason: str, **_: Any) -> None:
    journal().write("lost", key=lock.name, task=sender.name, reason=reason)


@signals.lock_conflict.connect
def _conflict(sender: Any, conflict: Any, action: str, **_: Any) -> None:
    journal().write("conflict", key=conflict.lock_name, id=conflict.task_id, action=action)


if STORE in os.environ:
    app = build(os.environ[STORE], **json.loads(os.environ.get(SETTINGS, "{}")))
