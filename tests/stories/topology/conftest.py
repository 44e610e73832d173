"""Fixtures: one master under Sentinels and one cluster for all tests, whole before each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ...support.deadlines import eventually
from ...support.servers import Server
from ...support.topologies import FAILOVER_WITHIN, Cluster, Replicated

Topology = Replicated | Cluster


@pytest.fixture(scope="session")
def shared_replicated(server: Server) -> Iterator[Replicated]:
    """Give the master under Sentinels, of the kind of server that the tests are to use."""
    with Replicated(server.kind) as replicated:
        yield replicated


@pytest.fixture(scope="session")
def shared_cluster(server: Server) -> Iterator[Cluster]:
    """Give the cluster, of that kind too."""
    with Cluster(kind=server.kind) as cluster:
        yield cluster


@pytest.fixture
def replicated(shared_replicated: Replicated) -> Replicated:
    """Give the master under Sentinels, whole."""
    eventually(shared_replicated.is_whole, FAILOVER_WITHIN, "it should be whole")
    return shared_replicated


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    """Give the cluster, whole."""
    eventually(shared_cluster.is_whole, FAILOVER_WITHIN, "it should be whole")
    return shared_cluster


@pytest.fixture(params=["replicated", "cluster"])
def topology(request: pytest.FixtureRequest) -> Topology:
    """Give each of them in turn."""
    found: Topology = request.getfixturevalue(request.param)
    return found


#: What breaks a topology, and mends it again, while locks on a name are in use.
Event = Callable[[Topology, str], object]


def crash(topology: Topology, name: str) -> None:
    """Kill the master of a lock; a replica takes over."""
    topology.fail_over(name)


def switch(topology: Topology, name: str) -> None:
    """Have a replica of the master of a lock take over in good order."""
    topology.switch(name)
