"""Batches: their lock behind Sentinels or in a cluster, whose master dies between two members."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from celery import chord
from celery.states import PENDING, REVOKED

from celery_redislock.config.client import client_from_url
from celery_redislock.engine import inspect, store_of
from celery_redislock.engine.group_lease import members_in_flight

from ...support.deadlines import eventually
from ...support.servers import Server
from ...support.stores import STORE
from ...support.topologies import FAILOVER_WITHIN
from ...support.workers import running_worker
from ..run.visits import VisitsJournal
from .conftest import Topology, crash
from .elsewhere import batch_app as tasks
from .elsewhere import load

QUEUE = "batches"

# Celery's own, with redis-py 8, where a result is stored.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


@pytest.fixture
def store() -> Iterator[str]:
    """Give a plain server for messages, results and journal."""
    with Server("redis") as server:
        yield server.url.removesuffix("/0")


def test_batches_coalesce_under_one_lock_through_a_failover(topology: Topology, store: str) -> None:
    batches = load(tasks)
    batches.configure(store, redislock_url=topology.url)
    key, journal = uuid4().hex, VisitsJournal(store)
    lock_name, locks = f"redislock:{key}", client_from_url(topology.url, setting="url")

    def batch(name: str, *steps: list[object]) -> object:
        header = [batches.one(name, *steps), batches.one(name), batches.one(name)]
        options = {"lock_on_conflict": "coalesce", "lock_ttl": 20}
        return batches.batch_of(key, chord(header, batches.one(name)), **options).delay()

    env = {STORE: store, "REDISLOCK_TEST_LOCKS": topology.url}
    with running_worker(
        "tests.stories.batch.batch_app", env=env, concurrency=3, args=("-Q", f"{QUEUE},celery")
    ):
        first = batch("first", ["wait", "go"])
        journal.wait_for("begun", times=3, batch="first")
        second, third = batch("second"), batch("third")
        assert second.state == PENDING, "it stands back behind the third"
        eventually(lambda: len(members_in_flight(locks, lock_name)) == 1, 10, "one should still be out")

        crash(topology, lock_name)

        eventually(lambda: inspect(store_of(locks), lock_name) is not None, FAILOVER_WITHIN)
        assert third.state == PENDING
        journal.open("go")
        third.get(timeout=60)
        eventually(lambda: second.state == REVOKED, 10, "the third stands for it")
        assert first.successful()
        eventually(lambda: inspect(store_of(locks), lock_name) is None, 20, "the lock should be free")
    ended = [entry["at"] for entry in journal.entries("ended", batch="first")]
    begun = [entry["at"] for entry in journal.entries("begun", batch="third")]
    assert max(ended) < min(begun)
    assert (len(ended), len(begun)) == (4, 4)
    assert not journal.entries("begun", batch="second")
