"""Time limits: one that is over while a run is observed ends the run all the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from celery_redislock.config.provider import provider_of
from celery_redislock.engine import inspect, store_of

from ...support.deadlines import eventually
from ...support.stores import STORE, own_store_of
from ...support.workers import running_worker
from . import limited_app
from .limited_app import app, limited


@pytest.fixture
def store() -> Iterator[str]:
    """Give the address of a server for this test alone."""
    with own_store_of(app, limited_app.configure) as address:
        yield address


def test_a_soft_time_limit_that_strikes_in_a_slow_receiver_ends_the_run(store: str) -> None:
    """Celery's `Signal.send` catches it; caught for good, the body would run without its limit."""
    with running_worker("tests.stories.observing.limited_app", env={STORE: store}, concurrency=1):
        with pytest.raises(SoftTimeLimitExceeded):
            limited.delay().get(timeout=30)

        locks = store_of(provider_of(app).client)
        eventually(lambda: inspect(locks, limited.lock_name()) is None, 5, "the lock should be free")
