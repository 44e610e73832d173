"""Fixtures: a store for these tests alone, a worker, and a crew of processes that publish."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ...support.stores import own_store
from ..ends.stage import Stage, stage_with_worker
from .publishers import Crew


@pytest.fixture(scope="package")
def store() -> Iterator[str]:
    """Give the address of a server for this package alone, without a database."""
    with own_store() as address:
        yield address


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
