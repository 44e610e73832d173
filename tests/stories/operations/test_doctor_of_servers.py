"""Doctor of servers: real ones, unfit and sound, are told from each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery import Celery

from celery_redislock import StoreUnavailable
from celery_redislock.doctor.configuration import Configuration
from celery_redislock.doctor.finding import Finding
from celery_redislock.doctor.live import Live
from celery_redislock.doctor.rule import LIVE
from celery_redislock.doctor.rules import RULES

from ...support.applications import application, locked, shared_tasks_forgotten, with_own_tasks
from ...support.deadlines import eventually
from ...support.servers import Server, available_kinds, free_port
from ...support.topologies import take_all_slots

#: What is said of a server by itself.
FITNESS = ("RL201", "RL202", "RL203", "RL204", "RL206")


@contextmanager
def app_on(url: str, **options: Any) -> Iterator[Celery]:
    """Give an app with one locked task, whose locks are there."""
    with shared_tasks_forgotten():
        app = with_own_tasks(application(url))
        locked(app, lambda: None, name="t", **options)
        yield app
        app.close()


def found_at(url: str, **options: Any) -> dict[str, Finding]:
    """Return what the rules of the servers find, by their ids."""
    with app_on(url, **options) as app:
        seen = Live(Configuration.of(app))
        rules = [rule for rule in RULES if rule.layer == LIVE and rule.id in FITNESS]
        return {finding.id: finding for rule in rules for finding in rule.findings(seen)}


@contextmanager
def replica_of(master: Server) -> Iterator[Server]:
    """Run a replica, and have it in step with its master."""
    options = ("--replicaof", f"127.0.0.1 {master.port}")
    with Server(master.kind, options=options) as replica, master.client() as client:
        eventually(lambda: client.info("replication").get("connected_slaves") == 1, 30)
        yield replica


@pytest.fixture(params=available_kinds())
def kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
def master(kind: str) -> Iterator[Server]:
    """Give a server whose replicas get its data at once."""
    with Server(kind, options=("--repl-diskless-sync-delay", "0")) as master:
        yield master


def test_a_sound_server_is_left_alone(master: Server) -> None:
    assert found_at(master.url) == {}


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "noeviction"])
def test_a_server_that_evicts_locks_is_found(kind: str, policy: str) -> None:
    with Server(kind, options=("--maxmemory", "50mb", "--maxmemory-policy", policy)) as server:
        found = found_at(server.url)

    assert list(found) == ["RL201"] * (policy != "noeviction")
    assert all(f"maxmemory-policy is {policy}" in each.message for each in found.values())


def test_a_replica_is_found_and_its_master_is_left_alone(master: Server) -> None:
    with replica_of(master) as replica:
        of_replica, of_master = found_at(replica.url), found_at(master.url)
        with app_on(replica.url) as app, pytest.raises(StoreUnavailable, match="read only"):
            app.tasks["t"].lock_for().acquire(blocking=False)

    assert list(of_replica) == ["RL202"]
    assert of_replica["RL202"].level == "error"
    assert of_master == {}


def test_one_node_of_a_cluster_is_found_and_the_cluster_is_left_alone(kind: str) -> None:
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with Server(kind, options=options) as node:
        take_all_slots(node)
        of_node = found_at(node.url)
        of_cluster = found_at(f"redis+cluster://127.0.0.1:{node.port}")

    assert list(of_node) == ["RL204"]
    assert "one node of a cluster" in of_node["RL204"].message
    assert of_cluster == {}


@pytest.mark.parametrize(("wanted", "is_found"), [(0, False), (1, False), (2, True)])
def test_fewer_replicas_than_a_task_asks_for_are_found(master: Server, wanted: int, is_found: bool) -> None:
    with replica_of(master):
        found = found_at(master.url, lock_min_replicas=wanted)

    assert list(found) == ["RL206"] * is_found
    assert all("has 1 replicas, but lock_min_replicas of t is 2" in each.message for each in found.values())
