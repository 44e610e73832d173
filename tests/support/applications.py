"""Applications: Celery apps that publish nothing, with their locks in a test's server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery, _state

from celery_redislock import LockedTask, RedisLock


def application(redis_url: str, **settings: Any) -> Celery:
    """Return an app whose locks are in this server, and whose messages and results are in memory."""
    app = Celery("app", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(redislock_url=redis_url, **settings)
    return app


def locked(app: Celery, function: Callable[..., Any], **options: Any) -> Any:
    """Make a function a locked task of the app, at once, and of no other app."""
    options = {"base": LockedTask, "shared": False, "lazy": False, **options}
    if function.__name__ == "<lambda>":
        function.__name__ = "body"  # Celery writes a function of this name
    return app.task(function, **options)


@contextmanager
def busy(task: Any, *args: Any, **kwargs: Any) -> Iterator[RedisLock]:
    """Have another program hold the lock of a call."""
    lock: RedisLock = task.lock_for(*args, **kwargs)
    # A test run that stands still for a moment must not give up as `lock_wait` of none would have it.
    assert lock.acquire(blocking=True, timeout=5)
    try:
        yield lock
    finally:
        lock.release()


@contextmanager
def shared_tasks_forgotten() -> Iterator[None]:
    """Forget, at the end, the tasks that Celery would give to every app there will be."""
    before = set(_state._on_app_finalizers)
    try:
        yield
    finally:
        _state._on_app_finalizers.clear()
        _state._on_app_finalizers.update(before)


def with_own_tasks(app: Celery) -> Celery:
    """Take from an app that has no task of its own yet those that other tests share with every app."""
    app.finalize()
    for name in [name for name in app.tasks if not name.startswith(("celery.", "celery_redislock."))]:
        app.tasks.unregister(name)
    return app
