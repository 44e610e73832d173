"""map, starmap and chunks of a locked task, sent by name: the worker refuses them before a body runs."""

from __future__ import annotations

from typing import Any

import pytest
from celery import chain
from celery.canvas import chunks, xmap, xstarmap

from celery_redislock import ConfigurationError

from . import tasks_app
from .stage import Stage

app, skip = tasks_app.app, tasks_app.skip
CALL = ["a", ["report", "ran"]]


def by_name(name: str, **arguments: Any) -> Any:
    return app.signature(name, kwargs={"task": dict(skip.s()), **arguments})


CANVASES: dict[str, Any] = {
    "map": lambda: xmap(skip.s(), ["a"], app=app),
    "starmap": lambda: xstarmap(skip.s(), [CALL], app=app),
    "chunks": lambda: chunks(skip.s(), [CALL], 1, app=app).group(),
    "chain": lambda: chain(xstarmap(skip.s(), [CALL], app=app), skip.si("b"), app=app),
    "by name": lambda: by_name("celery.starmap", it=[CALL]),
}


@pytest.mark.parametrize("canvas", CANVASES)
def test_a_worker_refuses_to_map_a_locked_task(canvas: str, stage: Stage) -> None:
    with stage.held(skip, "a"):
        result = CANVASES[canvas]().apply_async(queue=stage.queue)

        with pytest.raises(ConfigurationError, match=r"'skip' .*map\(\).* group\(skip\.s\("):
            result.get(timeout=20)

    assert not stage.journal.entries("ran")
