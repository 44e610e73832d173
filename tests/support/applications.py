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
    """Give apps none of the tasks that others share with all; forget, at the end, those of the block."""
    of_others = _shared_tasks()
    _state._on_app_finalizers.difference_update(of_others)
    try:
        yield
    finally:
        _state._on_app_finalizers.difference_update(_shared_tasks())
        _state._on_app_finalizers.update(of_others)


def _shared_tasks() -> set[Any]:
    """Return what gives each app the tasks of `shared_task`, and those of the other apps."""
    givers = {"celery.app", "celery.app.base"}
    return {each for each in _state._on_app_finalizers if each.__module__ in givers}
