"""An application that knows nothing of locks: it imports nothing of ours, and its tasks are ordinary ones."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("tests.plain", set_as_current=False)


def configure(store: str, queue: str) -> None:
    """Say where everything is: database 0 has the locks, 1 the messages, 2 the results."""
    app.conf.update(
        broker_url=f"{store}/1",
        result_backend=f"{store}/2",
        redislock_url=f"{store}/4",
        redislock_retry_delay=(0.1, 0.3),
        broker_connection_retry_on_startup=True,
        task_default_queue=queue,
        result_expires=300,
    )


# Not the variable of the other workers: that module would bring ours along.
if "REDISLOCK_TEST_PLAIN" in os.environ:
    configure(*os.environ["REDISLOCK_TEST_PLAIN"].split(" "))


@app.task(shared=False, name="step")
def step(value: int) -> int:
    """Return what it is given."""
    return value
