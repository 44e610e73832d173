"""Fixtures: a store for these tests alone, a worker, and a crew of processes that publish."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest

from ..ends.bodies import STORE
from ..ends.stage import Stage, stage_with_worker
from ..servers import Server, available_kinds
from .crew import Crew


@pytest.fixture(scope="package")
def store() -> Iterator[str]:
    """Give the address of a server for this package alone, without a database."""
    with Server(available_kinds()[0]) as server, pytest.MonkeyPatch.context() as patch:
        address = server.url.removesuffix("/0")
        patch.setenv(STORE, address)
        yield address
        # While the server is there: Celery unsubscribes from each result that goes.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@pytest.fixture(scope="package")
def stage(store: str) -> Iterator[Stage]:
    """Give a stage with four processes."""
    with stage_with_worker(store, "scope", concurrency=4) as stage:
        yield stage


@pytest.fixture(scope="package")
def crew(store: str) -> Iterator[Crew]:
    """Give eight processes that publish when they are told to."""
    with Crew(store, 8) as crew:
        yield crew
