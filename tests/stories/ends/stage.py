"""Stage: an application with a worker behind it, and what a test does and sees there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import redis
from celery import Celery
from celery.result import AsyncResult

from ...support.deadlines import eventually
from ...support.stores import STORE
from ...support.workers import Worker, running_worker
from .ends_app import SETTINGS, build
from .lives import LivesJournal

#: Seconds between two looks at a lock whose end is timed.
_LOOK_S = 0.002


def new_key() -> str:
    """Return a key that no other test uses."""
    return uuid4().hex[:12]


class Stage:
    """One queue with a worker behind it.

    Attributes:
        worker: The worker; another may take its place.
        locks: A client of the locks' database.
    """

    def __init__(self, app: Celery, store: str, queue: str, worker: Worker) -> None:
        self.app = app
        self.queue = queue
        self.worker = worker
        self.locks = redis.Redis.from_url(f"{store}/0", decode_responses=True)
        self.messages = redis.Redis.from_url(f"{store}/1", decode_responses=True)
        self.journal = LivesJournal(store)

    def close(self) -> None:
        """Close all connections."""
        for client in (self.locks, self.messages, self.journal.client):
            client.close()
        self.app.close()

    def send(self, task: str, key: str, *steps: Any, **options: Any) -> AsyncResult[Any]:
        """Publish a task for the worker."""
        return self.app.tasks[task].apply_async((key, *steps), **{"queue": self.queue, **options})

    def sig(self, task: str, key: str, *steps: Any) -> Any:
        """Return a signature for the worker."""
        return self.app.tasks[task].si(key, *steps).set(queue=self.queue)

    def hold(self, task: str, key: str, *steps: Any, **options: Any) -> AsyncResult[Any]:
        """Publish a task and return when its body has begun."""
        result = self.send(task, key, *steps, **options)
        self.begun(key, result)
        return result

    def begun(self, key: str, result: AsyncResult[Any]) -> Mapping[str, Any]:
        """Return the report of the begin of a body, when it is there."""
        return self.journal.wait_for(key, "begun", id=result.id)

    def ended(self, key: str, result: AsyncResult[Any], **facts: Any) -> Mapping[str, Any]:
        """Return the report of the end of a body, when it is there."""
        return self.journal.wait_for(key, "ended", id=result.id, **facts)

    def lock_name(self, task: str, key: str) -> str:
        """Return the Redis key of the lock of a call."""
        return str(self.app.tasks[task].lock_name(key))

    def is_held(self, task: str, key: str) -> bool:
        """Whether anyone has the lock of a call."""
        return bool(self.locks.exists(self.lock_name(task, key)))

    def free_at(self, task: str, key: str, within: float) -> float:
        """Watch the lock of a call, and return the moment at which it was free."""
        name, deadline = self.lock_name(task, key), time.monotonic() + within
        while True:
            looked = time.monotonic()
            if not self.locks.exists(name):
                return time.monotonic()
            assert looked < deadline, f"lock {name!r} should be free within {within:g} s"
            time.sleep(_LOOK_S)

    def runs_equal(self, task: str, key: str, within: float = 20.0) -> None:
        """Return when an equal call has run to its end."""
        result = self.send(task, key, ["give", "equal"])
        assert result.get(timeout=within) == "equal"

    def state_of(self, result: AsyncResult[Any], within: float = 10.0, *, none_is_fine: bool = False) -> str:
        """Return the state of a task that has ended, with its error, once it is stored."""
        try:
            eventually(result.ready, 0.3 if none_is_fine else within, f"{result.id} should end")
        except AssertionError:
            if none_is_fine:
                return ""
            raise
        return f"FAILURE ({type(result.result).__name__})" if result.state == "FAILURE" else result.state

    def message_of(self, result: AsyncResult[Any]) -> str:
        """Return the message of a task that runs and was not acknowledged yet; with a Redis broker."""

        def message() -> str:
            for message in self.unacknowledged():
                if message["headers"]["id"] == result.id:
                    return json.dumps(message)
            return ""

        return eventually(message, message=f"the message of {result.id} should be unacknowledged")

    def unacknowledged(self) -> list[dict[str, Any]]:
        """List the messages that the worker has and did not acknowledge; with a Redis broker."""
        kept = self.messages.hvals(broker_keys(self.queue)["unacked_key"])
        return [json.loads(message)[0] for message in kept]

    def deliver_again(self, message: str) -> None:
        """Put a message into the queue as the broker does that lost sight of its consumer."""
        again = json.loads(message)
        again["headers"]["redelivered"] = True
        again["properties"]["delivery_info"]["redelivered"] = True
        self.messages.rpush(self.queue, json.dumps(again))


@contextmanager
def stage_with_worker(
    store: str,
    queue: str,
    *,
    pool: str = "prefork",
    concurrency: int = 4,
    settings: Mapping[str, Any] | None = None,
    args: tuple[str, ...] = (),
) -> Iterator[Stage]:
    """Run a worker, with settings of its own, for the length of a ``with`` block.

    It may be killed in between.
    """
    app = build(store, **(settings or {}))
    with worker_for(store, queue, pool, concurrency, settings, args) as worker:
        stage = Stage(app, store, queue, worker)
        try:
            yield stage
        finally:
            stage.close()


@contextmanager
def worker_for(
    store: str,
    queue: str,
    pool: str = "prefork",
    concurrency: int = 4,
    settings: Mapping[str, Any] | None = None,
    args: tuple[str, ...] = (),
) -> Iterator[Worker]:
    """Run a worker of the tests' application."""
    env = {STORE: store, SETTINGS: json.dumps(_of_its_own(queue, settings or {}))}
    arguments = ("-Q", queue, *args)
    with running_worker(
        "tests.stories.ends.ends_app", env=env, pool=pool, concurrency=concurrency, args=arguments
    ) as worker:
        yield worker


def broker_keys(queue: str) -> dict[str, Any]:
    """Return the options of a Redis broker that keep the workers of a queue apart from all others.

    By default all workers of a database look after each other's messages, by each one's own
    `visibility_timeout`; and one that is killed while it looks keeps the others from it for five minutes.
    """
    return {
        "unacked_key": f"unacked:{queue}",
        "unacked_index_key": f"unacked_index:{queue}",
        "unacked_mutex_key": f"unacked_mutex:{queue}",
        "unacked_mutex_expire": 2,
    }


def _of_its_own(queue: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    if "broker_url" in settings:
        return dict(settings)
    options = {**broker_keys(queue), **settings.get("broker_transport_options", {})}
    return {**settings, "broker_transport_options": options}
