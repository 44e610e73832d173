"""Fixtures: a store for these tests alone, and the workers that several of them share."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import kombu
import pytest

from ...support.stores import own_store
from .scenarios import AT_A_TIME, Played, Scenario, scenarios_of
from .stage import Stage, new_key, stage_with_worker

#: Pool -> concurrency of the worker that the tests share; it has a queue of the pool's name.
_POOLS = {"prefork": 4, "threads": 4, "solo": 1, "gevent": 10, "eventlet": 10}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of a module that wait for a scenario behind those that have something to do."""
    ours = [place for place, item in enumerate(items) if Path(__file__).parent in item.path.parents]
    first = {item.path: number for number, item in reversed(list(enumerate(items)))}
    ordered = sorted(
        (items[place] for place in ours), key=lambda item: (first[item.path], bool(scenarios_of(item)))
    )
    for place, item in zip(ours, ordered, strict=True):
        items[place] = item


@pytest.fixture(scope="module", autouse=True)
def played(store: str, request: pytest.FixtureRequest) -> Iterator[Played]:
    """Play the scenarios that the chosen tests of a module need, and give their ends.

    Of a module, not of all: of several test processes each would play them all.
    """
    wanted: dict[str, Scenario] = {}
    for item in request.session.items:
        if item.path == request.path:
            wanted.update(scenarios_of(item))
    threads = ThreadPoolExecutor(AT_A_TIME)
    try:
        yield {name: threads.submit(play, store) for name, play in wanted.items()}
    finally:
        threads.shutdown(cancel_futures=True)


@pytest.fixture(scope="package")
def store() -> Iterator[str]:
    """Give the address of a server for this package alone, without a database."""
    with own_store() as address:
        yield address


@pytest.fixture(scope="package")
def stage_of(store: str, request: pytest.FixtureRequest) -> Iterator[Callable[..., Stage]]:
    """Give the stage of a pool and a broker, its worker started when first asked for."""
    running: dict[tuple[str, str], Stage] = {}
    with ExitStack() as stack:

        def stage(pool: str, broker: str = "Redis") -> Stage:
            if pool in {"gevent", "eventlet"} and find_spec(pool) is None:
                pytest.skip(f"{pool} is not installed")
            if (pool, broker) not in running:
                queue, settings = pool, {}
                if broker == "RabbitMQ":
                    settings = {"broker_url": request.getfixturevalue("amqp_url")}
                    queue = f"{pool}-{new_key()}"
                    stack.callback(_delete_queue, settings["broker_url"], queue)
                play = stage_with_worker(store, queue, pool=pool, concurrency=_POOLS[pool], settings=settings)
                running[pool, broker] = stack.enter_context(play)
            return running[pool, broker]

        yield stage
        # All at once: each takes a second or two to end.
        for one in running.values():
            one.worker.send_signal(signal.SIGTERM)
        for one in running.values():
            one.worker.wait()


def _delete_queue(amqp_url: str, queue: str) -> None:
    with kombu.Connection(amqp_url) as connection:
        connection.default_channel.queue_delete(queue)


@pytest.fixture
def stage(stage_of: Callable[..., Stage]) -> Stage:
    """Give the stage with four processes."""
    return stage_of("prefork")
