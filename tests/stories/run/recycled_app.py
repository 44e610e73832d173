"""The application of a worker whose processes end after two tasks, on a server that forgets its scripts.

A process waits for the reply to its first release.
"""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import worker_process_shutdown

from celery_redislock import locked_task
from celery_redislock.engine.lease import confirmation
from celery_redislock.task import hooks

from ...support.stores import STORE
from .steps import lock_store

app = Celery("tests.stories.recycled", set_as_current=False)
app.conf.update(
    broker_url=f"{os.environ.get(STORE)}/1",
    redislock_url=f"{os.environ.get(STORE)}/0",
    broker_connection_retry_on_startup=True,
    worker_max_tasks_per_child=2,
)

# So that the thread is no help: it would be in time once in a while.
confirmation.DUE_S = 60.0

if "REDISLOCK_TEST_FORGETFUL" in os.environ:
    worker_process_shutdown.disconnect(hooks.confirm_releases)


@locked_task(app=app, name="forget", lock_ttl=60)
def forget(number: int) -> None:
    """End where the release of the lock is refused: NOSCRIPT."""
    lock_store().script_flush()
