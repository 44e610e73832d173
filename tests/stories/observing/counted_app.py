"""The application whose runs are counted: one task for each way in which a run can go."""

from __future__ import annotations

import os
import signal
from typing import Any

from celery import Celery

from celery_redislock import locked_task

from ...support.journal import Journal
from ...support.stores import STORE

app = Celery("tests.stories.counted", set_as_current=False)


def configure(store: str) -> None:
    """Tell where the server is.

    Args:
        store: ``redis://host:port``.
    """
    app.conf.update(
        broker_url=f"{store}/1",
        result_backend=f"{store}/2",
        redislock_url=f"{store}/0",
        broker_connection_retry_on_startup=True,
        beat_schedule={
            "plain": {"task": "plain_scheduled", "schedule": 60},
            "nightly": {"task": "returns", "schedule": 3600},
        },
    )


if STORE in os.environ:
    configure(os.environ[STORE])


def wait_at(gate: str) -> None:
    """Wait in a body until the test opens the gate."""
    journal = Journal(os.environ[STORE])
    journal.client.rpush(f"stands:{gate}", "here")
    journal.pass_gate(gate)


@locked_task(app=app, shared=False, name="returns", lock_args=["key"])
def returns(key: str, gate: str = "") -> str:
    """Return, at once or when the gate is open; a second call is skipped."""
    if gate:
        wait_at(gate)
    return key


@locked_task(app=app, shared=False, name="fails", lock_args=["key"])
def fails(key: str) -> None:
    """Fail."""
    raise ValueError(key)


@locked_task(app=app, shared=False, name="tries_again", bind=True, lock_args=["key"], max_retries=1)
def tries_again(self: Any, key: str) -> str:
    """Ask to be run once more, as users do."""
    if not self.request.retries:
        raise self.retry(countdown=0)
    return key


@locked_task(app=app, shared=False, name="merges", lock_args=[], lock_on_conflict="coalesce")
def merges(gate: str = "") -> None:
    """Wait at the gate; calls that come meanwhile are one more run."""
    if gate:
        wait_at(gate)


@locked_task(app=app, shared=False, name="loses", lock_args=[], lock_ttl=1.5)
def loses(gate: str = "") -> None:
    """Wait at a gate that is never opened, until the lock is taken away."""
    wait_at(gate)


@locked_task(app=app, shared=False, name="dies", lock_args=["key"])
def dies(key: str) -> None:
    """Kill the process in the middle of the body."""
    os.kill(os.getpid(), signal.SIGKILL)


@locked_task(app=app, shared=False, name="rehearses", lock_args=[], lock_mode="shadow")
def rehearses(gate: str = "") -> None:
    """Run all the same while another run has the lock."""
    if gate:
        wait_at(gate)


@app.task(shared=False, name="plain_scheduled")
def plain_scheduled() -> None:
    """Run without a lock, now and then."""


@app.task(shared=False, name="plain")
def plain() -> None:
    """Run without a lock, in no schedule."""
