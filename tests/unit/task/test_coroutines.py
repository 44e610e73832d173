"""A function whose body runs after its call has returned would run without its lock: it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import wraps
from typing import Any

import pytest
from celery import Celery, Task

from celery_redislock import ConfigurationError, LockedTask, RedisLock, current_lock

from ...support.applications import application, locked
from ...support.servers import Server


async def coroutine(key: str) -> str:
    return key


def generator(key: str) -> Iterator[str]:
    yield key


async def async_generator(key: str) -> AsyncIterator[str]:
    yield key


def run_to_its_end(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make of an async function one that returns when its body has ended."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        return asyncio.run(function(*args, **kwargs))

    return run


class Awaiting(Task):
    """Has the body of an async function run inside the call."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return asyncio.run(super().__call__(*args, **kwargs))


DEFERRED = [coroutine, generator, async_generator]


@pytest.mark.parametrize("function", DEFERRED)
@pytest.mark.parametrize("options", [{}, {"bind": True}, {"autoretry_for": (ValueError,)}])
def test_it_is_refused_by_name(function: Any, options: dict[str, Any], app: Celery) -> None:
    with pytest.raises(ConfigurationError, match=rf"task 'write': {function.__name__}\(\) is .* def"):
        locked(app, function, name="write", **options)


@pytest.mark.parametrize("function", DEFERRED)
def test_it_is_refused_as_the_method_of_a_class(function: Any, app: Celery) -> None:
    declared = type("Write", (LockedTask,), {"name": "write", "run": staticmethod(function)})

    with pytest.raises(ConfigurationError, match="task 'write'"):
        app.register_task(declared())


def test_it_is_refused_as_a_bound_method(app: Celery) -> None:
    class Write(LockedTask):
        name = "write"

        async def run(self, key: str) -> str:
            return key

    with pytest.raises(ConfigurationError, match="task 'write'"):
        app.register_task(Write())


def test_what_runs_to_its_end_inside_the_call_runs_locked(server: Server) -> None:
    app = application(server.url)
    held: list[bool] = []

    async def write(key: str) -> str:
        lock = current_lock()
        held.append(isinstance(lock, RedisLock) and lock.owned())
        return key

    wrapped = locked(app, run_to_its_end(write), name="wrapped")
    awaited = locked(
        app, write, name="awaited", base=type("Base", (Awaiting, LockedTask), {"abstract": True})
    )

    assert [wrapped.apply(("a",)).get(), awaited.apply(("a",)).get()] == ["a", "a"]
    assert held == [True, True]


@pytest.mark.parametrize("function", [coroutine, async_generator])
def test_it_is_refused_as_a_run_where_its_decorator_hides_it(function: Any, server: Server) -> None:
    @wraps(function)
    def hidden(key: str) -> Any:
        return function(key)

    task = locked(application(server.url), hidden, name="write")

    with pytest.raises(ConfigurationError, match="task 'write'"):
        task.apply(("a",)).get()
    assert not task.lock_for("a").locked()


@pytest.mark.parametrize("function", DEFERRED)
@pytest.mark.parametrize("mode", ["off", "shadow"])
def test_what_asks_for_no_lock_is_celerys_own_affair(function: Any, mode: str, app: Celery) -> None:
    assert locked(app, function, name="write", lock_mode=mode).name == "write"
