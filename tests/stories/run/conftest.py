"""Fixtures: the tests' application, its workers, and a stage for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from ...support.stores import STORE, own_store_of
from ...support.workers import Worker, running_worker
from . import tasks_app
from .stage import PROCESSES, Stage

#: Pool -> concurrency. Only the prefork worker sends events.
_POOLS = {"prefork": PROCESSES, "threads": 4, "solo": 1}


@pytest.fixture(scope="session")
def store() -> Iterator[str]:
    """Give the address of a server for this package alone, without a database."""
    with own_store_of(tasks_app.app, tasks_app.configure) as address:
        yield address


@pytest.fixture(scope="session")
def worker_of(store: str) -> Iterator[Callable[[str], Worker]]:
    """Give the one worker of a pool, started when first asked for."""
    running: dict[str, Worker] = {}
    with ExitStack() as stack:

        def worker(pool: str) -> Worker:
            if pool not in running:
                running[pool] = stack.enter_context(
                    running_worker(
                        "tests.stories.run.tasks_app",
                        env={STORE: store},
                        pool=pool,
                        concurrency=_POOLS[pool],
                        args=("-Q", pool, *(["-E"] if pool == "prefork" else [])),
                    )
                )
            return running[pool]

        yield worker


@pytest.fixture
def stage_of(store: str, worker_of: Callable[[str], Worker]) -> Callable[[str], Stage]:
    """Make a stage with empty databases and the worker of a pool."""
    return lambda pool: Stage(tasks_app.app, store, worker_of(pool), pool)


@pytest.fixture
def stage(stage_of: Callable[[str], Stage]) -> Stage:
    """Give a stage with four processes behind it."""
    return stage_of("prefork")
