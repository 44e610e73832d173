"""Recycled: a process of the pool that ends has had its last release confirmed."""

from __future__ import annotations

import pytest
import redis
from celery import Celery

from ...support.deadlines import eventually
from ...support.servers import Server
from ...support.stores import STORE
from ...support.workers import running_worker

#: Seconds for tasks to end, and for their processes; the locks would last for a minute.
BOUND = 20.0

TASKS = 4


@pytest.fixture
def address(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give a server of the test's own: others need their scripts."""
    address = f"redis://127.0.0.1:{own_server.port}"
    monkeypatch.setenv(STORE, address)
    return address


def gives_its_locks_back(address: str, **variables: str) -> None:
    """Run tasks whose releases are refused at first, half of them in a process that ends at once."""

    publisher = Celery(broker=f"{address}/1", set_as_current=False)
    with redis.Redis.from_url(f"{address}/0") as locks:
        with running_worker(
            "tests.stories.run.recycled_app", env={STORE: address, **variables}, concurrency=1
        ) as worker:
            for number in range(TASKS):
                publisher.send_task("forget", (number,))
            eventually(lambda: worker.log().count("] succeeded in") == TASKS, BOUND, "all should run")
            log = worker.log()
        assert list(locks.scan_iter("redislock:forget*")) == [], "a process ended with its lock"
    # The worker's parent would find it in the hand of a dead process.
    assert "released for the dead child" not in log, "a process ended with its lock"


def test_its_locks_are_free(address: str) -> None:
    gives_its_locks_back(address)


def test_a_process_that_ends_without_a_look_is_caught(address: str) -> None:
    with pytest.raises(AssertionError, match="ended with its lock"):
        gives_its_locks_back(address, REDISLOCK_TEST_FORGETFUL="1")
