"""map, starmap and chunks call a task inside another one, where it could have no lock: they are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery, Task, chain, chord, group, signature
from celery.canvas import chunks, xmap, xstarmap

from celery_redislock import ConfigurationError, locked_task

ran: list[str] = []


class Forgetful(Task):
    """Calls the body in a way of its own."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs)


def declare(app: Celery, **options: Any) -> Any:
    ran.clear()
    app.conf.task_always_eager = True

    @locked_task(app=app, name="shop.write", **options)
    def write(key: str) -> str:
        ran.append(key)
        return key

    app.finalize()
    return app.tasks["shop.write"]


METHODS: dict[str, Callable[[Any], Any]] = {
    "map": lambda task: task.map(["a"]),
    "starmap": lambda task: task.starmap([("a",)]),
    "chunks": lambda task: task.chunks([("a",)], 1),
}

#: What makes the same of a task's signature: the task itself is not asked.
CANVASES: dict[str, Callable[[Any, Celery], Any]] = {
    "map": lambda task, app: xmap(task, ["a"], app=app),
    "starmap": lambda task, app: xstarmap(task, [("a",)], app=app),
    "chunks": lambda task, app: chunks(task, [("a",)], 1, app=app),
    "group of chunks": lambda task, app: chunks(task, [("a",)], 1, app=app).group(),
    "by name": lambda task, app: signature("celery.map", kwargs={"task": dict(task), "it": ["a"]}, app=app),
    "chain": lambda task, app: chain(xmap(task, ["a"], app=app), app.tasks["celery.accumulate"].s(), app=app),
    "group": lambda task, app: group(xmap(task, ["a"], app=app), app=app),
    "chord": lambda task, app: chord(
        [xmap(task, ["a"], app=app)], app.tasks["celery.accumulate"].s(), app=app
    ),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_locked_task_cannot_be_mapped(method: str, app: Celery) -> None:
    task = declare(app)

    with pytest.raises(ConfigurationError, match=rf"'shop.write' .*by {method}\(\).* group\(write\.s\("):
        METHODS[method](task)


@pytest.mark.parametrize("base", [None, Forgetful])
@pytest.mark.parametrize("canvas", CANVASES)
def test_a_canvas_that_maps_a_locked_task_ends_before_its_body(
    canvas: str, base: type | None, app: Celery
) -> None:
    sent = CANVASES[canvas](declare(app, base=base).s(), app)
    app.conf.task_eager_propagates = True

    with pytest.raises(ConfigurationError, match=r"'shop.write' .*map\(\).* group\(write\.s\("):
        sent.apply_async()

    assert not ran


@pytest.mark.parametrize("canvas", CANVASES)
def test_a_task_whose_lock_is_off_may_be_mapped(canvas: str, app: Celery) -> None:
    sent = CANVASES[canvas](declare(app, lock_mode="off").s(), app)

    sent.apply_async()

    assert ran == ["a"]


@pytest.mark.parametrize("method", METHODS)
def test_the_shadow_of_a_lock_says_that_it_would_be_refused(
    method: str, app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    METHODS[method](declare(app, lock_mode="shadow")).apply_async()

    assert ran == ["a"]
    assert "Task shop.write" in caplog.text
    assert "without its lock" in caplog.text


def test_a_task_that_is_mapped_may_call_a_locked_one_itself(app: Celery) -> None:
    """As any other code may call it directly, without a lock."""
    write = declare(app)

    @app.task(name="outer", shared=False)
    def outer(key: str) -> Any:
        return write(key)

    assert app.tasks["outer"].map(["a"]).apply_async().get() == ["a"]
    assert write("b") == "b"
    assert ran == ["a", "b"]


def test_every_method_of_celery_that_maps_is_known() -> None:
    """What Celery adds one day is to be looked at."""
    assert {name for name in vars(Task) if name.endswith(("map", "chunks"))} == {"map", "starmap", "chunks"}
