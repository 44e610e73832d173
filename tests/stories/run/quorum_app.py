"""The application of workers on quorum queues of RabbitMQ, which delays messages by itself."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from celery_redislock import LockedTask

#: Address of the broker, of the server for the results, of that for the locks; name of the queues.
QUORUM = "REDISLOCK_TEST_QUORUM"

app = Celery("tests.quorum", set_as_current=False)


def names(name: str) -> list[str]:
    """Return the names of the queues: of the default one, and of another."""
    return [name, f"{name}-other"]


def configure(broker: str, results: str, locks: str, name: str) -> None:
    """Say where everything is."""
    app.conf.update(
        broker_url=broker,
        result_backend=results,
        redislock_url=locks,
        # Celery and Redis: what is published is delayed for a second at least.
        redislock_retry_delay=(0.1, 1),
        task_queues=[_queue(queue) for queue in names(name)],
        task_default_queue=name,
        task_default_exchange=name,
        task_default_exchange_type="topic",
        task_default_routing_key=name,
        worker_prefetch_multiplier=1,
        result_expires=120,
    )


def _queue(name: str) -> Queue:
    arguments = {"x-queue-type": "quorum", "x-expires": 120_000}
    return Queue(name, Exchange(name, type="topic"), routing_key=name, queue_arguments=arguments)


if QUORUM in os.environ:
    configure(*os.environ[QUORUM].split(" "))


def work(self: Any, key: str, seconds: float = 0) -> str:
    """Take some time."""
    time.sleep(seconds)
    return str(self.request.delivery_info["routing_key"]).rpartition(".")[2]


def _locked(policy: str) -> Any:
    return app.task(
        work,
        base=LockedTask,
        bind=True,
        shared=False,
        name=policy,
        lock_args=["key"],
        lock_on_conflict=policy,
    )


retry, coalesce, replace = _locked("retry"), _locked("coalesce"), _locked("replace")


@app.task(bind=True, shared=False, name="plain", max_retries=3)
def plain(self: Any) -> int:
    """Come again three times, as an ordinary task does."""
    if self.request.retries < 3:
        raise self.retry(countdown=1)
    return int(self.request.retries)


@app.task(shared=False, name="step")
def step(value: int) -> int:
    """Return what it is given."""
    return value
