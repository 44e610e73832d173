"""The application whose signals have a slow receiver: a soft time limit strikes in it."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery

from celery_redislock import locked_task
from celery_redislock.signals import lock_acquired

from ...support.stores import STORE

app = Celery("tests.stories.limited", set_as_current=False)


def configure(store: str) -> None:
    """Say where the server is."""
    app.conf.update(
        broker_url=f"{store}/1",
        result_backend=f"{store}/2",
        redislock_url=f"{store}/0",
        broker_connection_retry_on_startup=True,
    )


if STORE in os.environ:
    configure(os.environ[STORE])


@locked_task(app=app, shared=False, name="limited", soft_time_limit=1)
def limited() -> str:
    """Run with a limit that is over before the body begins."""
    return "it ran without its limit"


@lock_acquired.connect(weak=False)
def count_slowly(**_: Any) -> None:
    """Be slower than the limit, as a receiver that sends over a network."""
    time.sleep(10)
