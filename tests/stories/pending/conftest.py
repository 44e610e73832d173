"""Fixtures: a store for these tests alone, and the workers that several of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from ...support.stores import STORE, own_store
from ...support.workers import Worker, running_worker
from ..ends.stage import Stage
from .app import WRONG, build

#: Of a child that was killed Celery may miss the end for five seconds, and has one process fewer so long:
#: with two of them the triggers would wait behind the run, unseen by any lock.
_POOLS = {"prefork": 4, "threads": 2, "solo": 1, "gevent": 10}


@pytest.fixture(scope="package")
def store() -> Iterator[str]:
    """Give the address of a server for this package alone, without a database."""
    with own_store() as address:
        yield address


@contextmanager
def worker(store: str, queue: str, pool: str = "prefork", wrong: str = "") -> Iterator[Worker]:
    """Run a worker of the tests' application."""
    env = {STORE: store, WRONG: wrong}
    with running_worker(
        "tests.stories.pending.app", env=env, pool=pool, concurrency=_POOLS[pool], args=("-Q", queue)
    ) as running:
        yield running


@pytest.fixture(scope="package")
def stage_of(store: str) -> Iterator[Callable[..., Stage]]:
    """Give the stage of a pool, its worker started when first asked for."""
    running: dict[str, Stage] = {}
    with ExitStack() as stack:

        def stage(pool: str) -> Stage:
            if pool not in running:
                if pool == "gevent":
                    pytest.importorskip("gevent")
                running[pool] = Stage(
                    build(store), store, pool, stack.enter_context(worker(store, pool, pool))
                )
                stack.callback(running[pool].close)
            return running[pool]

        yield stage


@pytest.fixture
def stage(stage_of: Callable[..., Stage]) -> Stage:
    """Give the stage with four processes."""
    return stage_of("prefork")
