"""An app whose messages wait at one broker while its locks are in Redis; the environment says where."""

from __future__ import annotations

import os
from collections.abc import Mapping

from celery import Celery

from celery_redislock import locked_task

#: Names of environment variables: the broker, the server of the locks, the queue of the messages.
BROKER, LOCKS, QUEUE = "PUBLISHING_BROKER", "PUBLISHING_LOCKS", "PUBLISHING_QUEUE"

app = Celery("publishing", set_as_current=False)


def configure(environment: Mapping[str, str]) -> None:
    """Say where everything is."""
    app.conf.update(
        broker_url=environment[BROKER],
        redislock_url=environment[LOCKS],
        task_default_queue=environment[QUEUE],
        task_ignore_result=True,
    )


if BROKER in os.environ:
    configure(os.environ)


@locked_task(app=app, shared=False, name="shop.import_csv", lock_args=["path"], lock_scope="task")
def import_csv(path: str) -> None:
    """Import nothing."""
