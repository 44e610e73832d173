"""Workers: real ones, whose locks are behind Sentinels or in a cluster, and whose broker is a plain Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from uuid import uuid4

import pytest
from celery.exceptions import TaskRevokedError

from celery_redislock.config.client import client_from_url
from celery_redislock.engine import inspect, store_of

from ...support.deadlines import eventually
from ...support.places import ROOT
from ...support.servers import Server, free_port
from ...support.stores import STORE, own_store_of
from ...support.topologies import alone, take_all_slots
from ...support.workers import Worker, running_worker
from ..run.stage import Stage
from .conftest import Topology, crash
from .elsewhere import tasks_app


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """Give a plain server for messages, results and journal."""
    with own_store_of(tasks_app.app, tasks_app.configure) as address:
        yield address


def started_at(url: str, store: str, queue: str = "elsewhere") -> AbstractContextManager[Worker]:
    """Start a worker that keeps its locks at a URL."""
    env = {STORE: store, "REDISLOCK_TEST_LOCKS": url}
    return running_worker("tests.stories.run.tasks_app", env=env, args=("-Q", queue))


def test_a_worker_locks_its_tasks_through_a_failover(topology: Topology, store: str) -> None:
    key = uuid4().hex
    name = tasks_app.skip.lock_name(key)
    locks = client_from_url(topology.url, setting="url")
    with started_at(topology.url, store) as worker:
        stage = Stage(tasks_app.app, store, worker, "elsewhere")
        assert "cannot be reached" not in worker.log()
        running = stage.hold(tasks_app.skip, key)
        seen = inspect(store_of(locks), name)
        assert seen is not None
        assert seen.holder.metadata["id"] == running.id
        with pytest.raises(TaskRevokedError):
            stage.send(tasks_app.skip, key, ["give", 1]).get(timeout=20)

        crash(topology, name)

        with pytest.raises(TaskRevokedError):
            stage.send(tasks_app.skip, key, ["give", 1]).get(timeout=20)
        waiting = stage.send(tasks_app.wait, key, ["give", 2])
        listed = subprocess.run(
            [sys.executable, "-m", "celery", "-A", "tests.stories.run.tasks_app", "locks", "list", "--json"],
            cwd=ROOT,
            env={**os.environ, STORE: store, "REDISLOCK_TEST_LOCKS": topology.url},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert name in [json.loads(line)["name"] for line in listed.stdout.splitlines()]
        stage.journal.open("hold")
        running.get(timeout=20)
        assert waiting.get(timeout=30) == 2
        eventually(lambda: stage.send(tasks_app.skip, key, ["give", 3]).get(timeout=20) == 3)


@pytest.mark.parametrize("scheme", ["sentinel", "redis+cluster"])
def test_a_worker_says_when_nobody_is_there_and_shows_no_password(scheme: str, store: str) -> None:
    query = "?service=locks" if scheme == "sentinel" else ""
    url = f"{scheme}://:hunter2@127.0.0.1:{free_port()},127.0.0.1:{free_port()}{query}"
    with started_at(url, store) as worker:
        assert "cannot be reached" in worker.log()
        assert "hunter2" not in worker.log()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--maxmemory-policy", "allkeys-lru"), "maxmemory-policy is allkeys-lru"),
        (("--maxmemory-policy", "volatile-ttl"), "maxmemory-policy is volatile-ttl"),
        ((), ""),
    ],
)
def test_a_worker_warns_of_a_server_that_evicts_locks(
    options: tuple[str, ...], told: str, store: str
) -> None:
    with Server("redis", options=options) as server, started_at(server.url, store) as worker:
        assert told in worker.log()
        assert ("evicts" in worker.log()) == bool(told)


def test_a_worker_warns_of_a_replica(store: str) -> None:
    with Server("redis") as master:
        options = ("--replicaof", f"127.0.0.1 {master.port}")
        with Server("redis", options=options) as replica, started_at(replica.url, store) as worker:
            assert "it is a replica" in worker.log()


def test_a_worker_warns_of_a_node_whose_cluster_it_does_not_know(store: str) -> None:
    with alone() as node:
        take_all_slots(node)
        with started_at(node.url, store) as worker:
            assert "use a redis+cluster:// URL" in worker.log()
