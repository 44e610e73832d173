"""Compared: one app with the same task under each of the locks of the README's table.

Each package has its locks in a database of its own, so that what is left there is its lock.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis
from celery import Celery
from celery.exceptions import Ignore, Reject
from celery_once import QueueOnce
from celery_singleton import Singleton
from django.core.cache.backends.redis import RedisCache

from celery_redislock import locked_task

from ..support.journal import Journal
from ..support.stores import STORE

OURS, ONCE, SINGLETON, REDBEAT, REDIS_PY, COOKBOOK = PACKAGES = (
    *("celery_redislock", "celery-once", "celery-singleton"),
    *("RedBeat", "redis-py", "cookbook"),
)
#: Where each has its locks; 1 has the messages, 2 the results, 3 the journal.
DATABASES = dict(zip(PACKAGES, (0, 4, 5, 6, 7, 8), strict=True))

#: The lease of the tasks whose name ends so, seconds; the others have what is the package's default.
SHORT, SHORT_S = " short", 1

#: What a test sets for one beat alone, in its environment.
OF_ONE_BEAT = "COMPARED_"

#: Of Celery's cookbook, seconds.
LOCK_EXPIRE = 60 * 10

app = Celery("compared", set_as_current=False)


class Compared(Journal):
    """What the bodies report: that they began, and that they ended."""

    def note(self, event: str, name: str, key: str) -> None:
        self._append(f"{event}:{name}", {"key": key})

    def count(self, event: str, name: str, key: str) -> int:
        return len(self._read(f"{event}:{name}", {"key": key}))


def configure(store: str) -> None:
    """Tell the app where its server is."""
    app.conf.update(
        broker_url=f"{store}/1",
        result_backend=f"{store}/2",
        redislock_url=f"{store}/0",
        ONCE={"backend": "celery_once.backends.Redis", "settings": {"url": f"{store}/{DATABASES[ONCE]}"}},
        singleton_backend_url=f"{store}/{DATABASES[SINGLETON]}",
        redbeat_redis_url=f"{store}/{DATABASES[REDBEAT]}",
        task_acks_late=True,  # so that a message can be delivered again while its task runs
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
    )


@functools.cache
def journal() -> Compared:
    return Compared(os.environ[STORE])


@functools.cache
def client_of(package: str) -> redis.Redis:
    return redis.Redis.from_url(f"{os.environ[STORE]}/{DATABASES[package]}")


def body(task: Any, key: str, step: str) -> str:
    """Do what a call asks for, and tell the journal."""
    journal().note("begun", task.name, key)
    try:
        if step == "retry" and not task.request.retries:
            raise task.retry(countdown=0)
        if step == "ignore":
            raise Ignore
        if step == "reject":
            raise Reject
        if step == "gate":
            journal().pass_gate(f"{task.name}:{key}")
        if step == "die":
            os.kill(os.getpid(), signal.SIGKILL)
    finally:
        journal().note("ended", task.name, key)
    return "done"


def of_redis_py(timeout: float | None) -> Callable[[Any, str, str], str]:
    """Return a body with redis-py's lock around it, as its documentation has it."""

    def locked(self: Any, key: str, step: str) -> str:
        with client_of(REDIS_PY).lock(key, timeout=timeout, blocking=False):
            return body(self, key, step)

    return locked


def of_the_cookbook(expire: float) -> Callable[[Any, str, str], str | None]:
    """Return a body with the lock of Celery's cookbook, "Ensuring a task is only executed one at a time"."""

    @contextmanager
    def cache_lock(lock_id: str, oid: str) -> Iterator[bool]:
        cache = RedisCache(f"{os.environ[STORE]}/{DATABASES[COOKBOOK]}", {})
        timeout_at = time.monotonic() + expire - 3
        status = cache.add(lock_id, oid, expire)
        try:
            yield status
        finally:
            if time.monotonic() < timeout_at and status:
                cache.delete(lock_id)

    def locked(self: Any, key: str, step: str) -> str | None:
        with cache_lock(key, self.app.oid) as acquired:
            if acquired:
                return body(self, key, step)
        return None

    return locked


def task_of(package: str, name: str, lease: float | None) -> Any:
    """Make the task of a package, with the lease that it has by default or another."""
    options: dict[str, Any] = {"bind": True, "name": name}
    if package == OURS:
        given = {} if lease is None else {"lock_ttl": lease}
        return locked_task(app=app, lock_args=["key"], **given, **options)(body_of(body))
    if package == ONCE:
        once: dict[str, Any] = {"keys": ["key"], **({} if lease is None else {"timeout": lease})}
        return app.task(base=QueueOnce, once=once, **options)(body_of(body))
    if package == SINGLETON:
        return app.task(base=Singleton, unique_on=["key"], lock_expiry=lease, **options)(body_of(body))
    if package == REDIS_PY:
        return app.task(**options)(of_redis_py(lease))
    return app.task(**options)(of_the_cookbook(LOCK_EXPIRE if lease is None else lease))


def body_of(function: Callable[[Any, str, str], str]) -> Callable[[Any, str, str], str]:
    """Return the body as a function of its own: Celery makes a task of a function once."""

    def run(self: Any, key: str, step: str) -> str:
        return function(self, key, step)

    return run


TASKS = {
    name: task_of(package, name, lease)
    for package in PACKAGES
    if package != REDBEAT
    for name, lease in ((package, None), (package + SHORT, SHORT_S))
}

if STORE in os.environ:
    configure(os.environ[STORE])
    # What one beat is told beside: a number for each.
    app.conf.update(
        {
            name.removeprefix(OF_ONE_BEAT): int(value)
            for name, value in os.environ.items()
            if name.startswith(OF_ONE_BEAT)
        }
    )
