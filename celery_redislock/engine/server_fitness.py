"""Server fitness: whether the servers behind a client are fit to keep locks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from . import Client, ClusterAddress, store_of

__all__ = ["Finding", "facts_of", "findings", "of_all"]

#: Older servers lack what the scripts need.
OLDEST = (6, 2)


@dataclass(frozen=True)
class Finding:
    """Something that makes a server unfit.

    Attributes:
        fact: The field of INFO that shows it.
        text: What is wrong and what to do, for people to read.
    """

    fact: str
    text: str

    def __str__(self) -> str:
        return self.text


def facts_of(client: Client) -> list[Mapping[str, str]]:
    """Return what INFO says, of each master.

    Raises:
        redis.RedisError: It refuses, or could not be reached.
    """
    return [_facts(master.call(("INFO",))) for master in store_of(client).masters()]


def of_all(client: Client, facts: Iterable[Mapping[str, str]]) -> list[Finding]:
    """Return what makes servers unfit, each fact once.

    Args:
        client: How they are reached.
        facts: Of each master.
    """
    in_cluster = isinstance(client, ClusterAddress)
    return list(dict.fromkeys(found for each in facts for found in findings(each, in_cluster=in_cluster)))


def findings(facts: Mapping[str, str], *, in_cluster: bool) -> list[Finding]:
    """Return what makes a server unfit.

    Args:
        facts: What INFO says.
        in_cluster: Whether its cluster is known as such.
    """
    found = []
    version = re.match(r"(\d+)\.(\d+)", facts.get("redis_version", ""))
    if version and (int(version[1]), int(version[2])) < OLDEST:
        text = f"its version is {facts['redis_version']}, but locks need 6.2 or later"
        found.append(Finding("redis_version", text))
    if facts.get("role") == "slave":
        text = "it is a replica, which accepts no locks: give the URL of its master, or of its Sentinels"
        found.append(Finding("role", text))
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        text = (
            f"its maxmemory-policy is {policy}, which evicts locks when memory is full: "
            "set noeviction, or keep the locks on another server"
        )
        found.append(Finding("maxmemory_policy", text))
    if facts.get("cluster_enabled") == "1" and not in_cluster:
        text = "it is one node of a cluster and has only some of the locks: use a redis+cluster:// URL"
        found.append(Finding("cluster_enabled", text))
    return found


def _facts(info: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in info.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in pairs if colon}
