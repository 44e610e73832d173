"""Stage: an application with a worker behind it, and what a test does and sees there."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import redis
from celery import Celery
from celery.result import AsyncResult

from celery_redislock import LockedTask

from ...support.deadlines import eventually
from ...support.workers import Worker
from .visits import VisitsJournal

#: Processes of the worker that most tests share.
PROCESSES = 4


class Stage:
    """One worker, its databases and its log."""

    def __init__(self, app: Celery, store: str, worker: Worker, queue: str) -> None:
        self.app = app
        self.worker = worker
        self.queue = queue
        # Statistics count locks in strings that are no text.
        text = {"decode_responses": True, "encoding_errors": "backslashreplace"}
        self.locks = redis.Redis.from_url(f"{store}/0", **text)
        self.results = redis.Redis.from_url(f"{store}/2")
        self.journal = VisitsJournal(store)
        for client in (self.locks, self.results, self.journal.client):
            client.flushdb()
        self._log_begins = len(worker.log())

    def send(self, task: Any, *args: Any, **options: Any) -> AsyncResult[Any]:
        """Publish a task for this worker."""
        return task.apply_async(args, queue=self.queue, **options)

    def sig(self, task: Any, *args: Any) -> Any:
        """Return a signature for this worker."""
        return task.si(*args).set(queue=self.queue)

    def hold(self, task: Any, key: str, gate: str = "hold", **options: Any) -> AsyncResult[Any]:
        """Publish a task that waits at a gate, and return when its body has begun."""
        result = self.send(task, key, ["wait", gate], **options)
        self.journal.wait_for("begun", id=result.id)
        return result

    @contextmanager
    def held(self, task: Any, key: str) -> Iterator[AsyncResult[Any]]:
        """Have a run of the task hold its lock for the length of a ``with`` block."""
        gate = uuid4().hex
        holder = self.hold(task, key, gate)
        try:
            yield holder
        finally:
            self.journal.open(gate)
        holder.get(timeout=20)
        self.is_free(task, key)

    def is_free(self, task: Any, *args: Any, within: float = 5.0, **kwargs: Any) -> None:
        """Return when nobody holds the lock of this call."""
        names = task.lock_names(*args, **kwargs)
        eventually(lambda: not self.locks.exists(*names), within, f"lock {names} should be free")

    def runs(self, task: Any, key: str, **options: Any) -> None:
        """Return when one more call has run to its end."""
        result = self.send(task, key, ["report", "ran"], **options)
        self.journal.wait_for("ran", id=result.id, within=10)

    def log(self) -> str:
        """Return what the worker has written in this test."""
        return self.worker.log()[self._log_begins :]

    def everything_in_the_lock_store(self) -> str:
        """Return every key of the locks' database and all that it holds."""
        return repr({key: self._content(key) for key in self.locks.scan_iter(count=1000)})

    def _content(self, key: str) -> Any:
        read = {
            "string": self.locks.get,
            "list": lambda key: self.locks.lrange(key, 0, -1),
            "hash": self.locks.hgetall,
            "set": self.locks.smembers,
            "zset": lambda key: self.locks.zrange(key, 0, -1, withscores=True),
            "none": lambda key: None,
        }
        return read[self.locks.type(key)](key)


class Events:
    """What monitors see: every event since `listening` began."""

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []
        self._stop = threading.Event()
        self._ready = threading.Event()

    def of(self, task_id: str) -> list[str]:
        """List the types of the events about a task."""
        return [event["type"] for event in list(self._events) if event.get("uuid") == task_id]

    def fields(self, task_id: str, type_: str) -> dict[str, Any]:
        """Return what the first event of a type says about a task."""
        return next(event for event in self._events if (event.get("uuid"), event["type"]) == (task_id, type_))

    @contextmanager
    def listening(self, app: Celery) -> Iterator[Events]:
        """Collect events for the length of a ``with`` block."""
        thread = threading.Thread(target=self._listen, args=(app,))
        thread.start()
        try:
            assert self._ready.wait(10), "the event receiver should have connected"
            yield self
        finally:
            self._stop.set()
            thread.join()

    def _listen(self, app: Celery) -> None:
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": self._events.append})
            # The receiver listens on a clone of the connection that it was given.
            with receiver.consumer_context() as (listening, _, _):
                self._ready.set()
                while not self._stop.is_set():
                    try:
                        listening.drain_events(timeout=0.1)
                    except TimeoutError:
                        time.sleep(0)


__all__ = ["Events", "LockedTask", "Stage"]
