"""The application of a schedule that may skip: the environment says how often its entry comes."""

from __future__ import annotations

import os
import time

from celery import Celery

from celery_redislock import locked_task

from ...support.stores import STORE

#: How often the entry comes, seconds.
INTERVAL = "SCHEDULE_INTERVAL"
#: The entry, and what it publishes.
ENTRY, TASK = "import", "import_csv"
#: How long a run takes, seconds.
RUN_S = 1.2

app = Celery("tests.stories.scheduled", set_as_current=False)


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
        beat_max_loop_interval=0.3,
        beat_schedule={ENTRY: {"task": TASK, "schedule": float(os.environ.get(INTERVAL, "0.6"))}},
    )


if STORE in os.environ:
    configure(os.environ[STORE])


@locked_task(app=app, shared=False, name=TASK)
def import_csv() -> None:
    """Take a while."""
    time.sleep(RUN_S)
