"""The application of these tests' workers: bodies that coalesce, and processes that die when told to."""

from __future__ import annotations

import os
import signal
from typing import Any

from celery import Celery

from celery_redislock import LockedTask
from celery_redislock.pending import publish
from celery_redislock.pending.runs import Claimed, PendingRun, PendingRuns

from ...support.stores import STORE
from ..ends.ways_to_end import STEPS, journal, scripted

#: Says which wrong double the workers use.
WRONG = "REDISLOCK_TEST_WRONG"


def build(store: str, **settings: Any) -> Celery:
    """Return the application. Database 0 has the locks, 1 the messages, 2 the results."""
    app = Celery("tests.stories.pending", set_as_current=False)
    app.conf.update(
        {
            "broker_url": f"{store}/1",
            "result_backend": f"{store}/2",
            "redislock_url": f"{store}/0",
            "redislock_ttl": 3,
            "broker_connection_retry_on_startup": True,
            "worker_prefetch_multiplier": 1,
            **settings,
        }
    )
    options = {"base": LockedTask, "bind": True, "shared": False, "lock_args": ["key"]}
    app.task(scripted, name="latest", lock_on_conflict="coalesce", **options)
    app.task(scripted, name="first", lock_on_conflict="coalesce", lock_keep="first", **options)
    app.task(scripted, name="replace", lock_on_conflict="replace", **options)
    app.task(scripted, name="auto", lock_on_conflict="replace", autoretry_for=(Exception,), **options)
    app.task(scripted, name="skip", **options)
    return app


def die_at(place: str) -> None:
    """Kill this process, with nothing done any more, if a test has asked for that."""
    if journal().client.lpop(f"die:{place}"):
        os.kill(os.getpid(), signal.SIGKILL)


class Mortal(PendingRuns):
    """What a releaser does, which may die before and after each step."""

    def claim(self, task: str) -> Claimed:
        """Claim, or die."""
        die_at("release")
        claimed = super().claim(task)
        if claimed.to_publish:
            die_at("claim")
        return claimed

    def confirm(self, run: PendingRun, token: str) -> bool:
        """Confirm, or die."""
        die_at("publication")
        return super().confirm(run, token)


class DropsWhatIsWanted(Mortal):
    """A release that frees the lock and all that belongs to it."""

    def claim(self, task: str) -> Claimed:
        """Forget what was wanted."""
        self._call("DEL", self._keys.pending)
        return super().claim(task)


def request(task: Any, run: str) -> dict[str, Any]:
    """Tell what the task knows of its call."""
    known = task.request
    facts = {"timelimit": known.timelimit, "retries": known.retries, "trace": known.headers["x-trace"]}
    return {**facts, "root_id": known.root_id, "parent_id": known.parent_id}


STEPS["request"] = request

if STORE in os.environ:
    app = build(os.environ[STORE])
    doubles = {"": Mortal, "drops what is wanted": DropsWhatIsWanted}
    publish.PendingRuns = doubles[os.environ.get(WRONG, "")]  # type: ignore[attr-defined, misc]
