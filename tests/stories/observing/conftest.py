"""Fixtures: one traced application with its worker."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest

from ...support.exported import EXPORTED, Exported
from ...support.servers import Server
from ...support.stores import own_store_of
from ...support.workers import running_worker
from . import metered_app
from .traced import Traced


@pytest.fixture(scope="session")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """Give the application with one worker of two processes, and what its monitors were told."""
    exported = Exported(tmp_path_factory.mktemp("exported") / "lines")
    with Server("redis") as store, Server("redis") as locks, pytest.MonkeyPatch.context() as patch:
        places = {"TRACED_STORE": store.url, "TRACED_LOCKS": locks.url}
        for name, value in places.items():
            patch.setenv(name, value)
        app = importlib.import_module("tests.stories.observing.traced_app").app
        soon = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_METRIC_EXPORT_INTERVAL": "300"}
        env = {**places, EXPORTED: str(exported.path)}
        with running_worker("tests.stories.observing.traced_app", env={**env, **soon}, concurrency=2):
            yield Traced(app, exported, locks, env)
        app.close()


@pytest.fixture(scope="session")
def metered_store() -> Iterator[str]:
    """Give the address of the server of the metered application: in one process an app has one for good."""
    with own_store_of(metered_app.app, metered_app.configure) as address:
        yield address
