"""The application that is watched: no word of a monitor in it.

Environment: ``MONITORED_STORE`` (broker and results), ``MONITORED_LOCKS`` (locks).
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from celery_redislock import LockBusy, locked_task

STORE = os.environ["MONITORED_STORE"]


app = Celery("monitored", broker=STORE, backend=STORE)
app.conf.redislock_url = os.environ["MONITORED_LOCKS"]
app.conf.broker_connection_retry_on_startup = True
app.conf.redislock_retry_for = 3
app.conf.redislock_retry_delay = (0.2, 0.5)


@locked_task(app=app, shared=False, name="busy", lock_args=(), lock_on_conflict="fail")
def busy() -> str:
    """Fail if it is busy."""
    return "ran"


@locked_task(
    app=app,
    shared=False,
    name="busy_as_expected",
    lock_key="busy",
    lock_on_conflict="fail",
    throws=(LockBusy,),
)
def busy_as_expected() -> None:
    """The same, declared as expected."""


@locked_task(app=app, shared=False, name="body_meets_busy", lock_args=())
def body_meets_busy() -> None:
    """Meet a busy lock in the body."""
    raise LockBusy("another")


@locked_task(app=app, shared=False, name="nameless", lock_key="{order.id}")
def nameless(order: Any) -> None:
    """Have no name where the order has no id."""


@locked_task(app=app, shared=False, name="away", lock_args=(), lock_on_error="fail")
def away() -> None:
    """Fail where Redis is away."""


@locked_task(app=app, shared=False, name="skipped", lock_args=())
def skipped() -> str:
    """Skip if it is busy."""
    return "ran"


@locked_task(app=app, shared=False, name="put_off", lock_args=(), lock_on_conflict="retry", lock_retry_for=60)
def put_off() -> str:
    """Come again if it is busy."""
    return "ran"


@locked_task(app=app, shared=False, name="coalesced", lock_args=(), lock_on_conflict="coalesce")
def coalesced() -> str:
    """Run once more for all that met it."""
    return "ran"


@locked_task(app=app, shared=False, name="once", lock_args=(), lock_scope="task")
def once() -> str:
    """Not be published while it is there."""
    return "ran"


@locked_task(app=app, shared=False, name="fails", lock_key="fails-{number}")
def fails(number: int) -> None:
    """Fail in the body."""
    raise ValueError(f"number {number}")
