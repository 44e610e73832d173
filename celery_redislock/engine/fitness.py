"""Fitness: whether the servers behind a client are fit to keep locks; asked when a worker starts."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

import redis

from . import Client, ClusterAddress, store_of

__all__ = ["complaints", "weaknesses"]

logger = logging.getLogger(__name__)

#: Older servers lack what the scripts need.
OLDEST = (6, 2)


def complaints(client: Client) -> list[str]:
    """Ask each master about itself, and return what is wrong with it for people to read.

    Where an ACL forbids INFO, or nobody answers, nothing can be said.
    """
    found: list[str] = []
    try:
        for master in store_of(client).masters():
            facts = _facts(master.call(("INFO",)))
            found += weaknesses(facts, in_cluster=isinstance(client, ClusterAddress))
    except (redis.RedisError, OSError) as error:
        logger.debug("locks: the server could not be asked about itself: %s", error)
    return list(dict.fromkeys(found))


def weaknesses(facts: Mapping[str, str], *, in_cluster: bool) -> list[str]:
    """Return what makes a server unfit.

    Args:
        facts: What INFO says.
        in_cluster: Whether its cluster is known as such.
    """
    found = []
    version = re.match(r"(\d+)\.(\d+)", facts.get("redis_version", ""))
    if version and (int(version[1]), int(version[2])) < OLDEST:
        found.append(f"it is version {facts['redis_version']}, locks need 6.2 or later")
    if facts.get("role") == "slave":
        found.append("it is a replica, which takes no locks: name its master, or the Sentinels that know it")
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        found.append(
            f"its maxmemory-policy {policy} evicts locks when memory is short, and an evicted lock is lost: "
            "set noeviction, or keep the locks on another server"
        )
    if facts.get("cluster_enabled") == "1" and not in_cluster:
        found.append("it is one node of a cluster, and has some of the locks only: use redis+cluster://")
    return found


def _facts(info: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in info.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in pairs if colon}
