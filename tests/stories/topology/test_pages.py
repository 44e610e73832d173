"""Pages: docs/howto on Sentinels, a cluster, TLS and least rights, followed on real servers."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from ...docs.guides.guide import followed as reading
from ...docs.walkthrough import Walkthrough
from ...support.places import DOCS
from ...support.rights import more
from ...support.servers import Server, free_port
from ...support.topologies import SERVICE, Cluster, Replicated
from .conftest import crash
from .test_tls import make_authority

#: What a page's reader does when all is set up.
CALL = "python -c \"from shop import import_csv; print(import_csv.delay('b.csv').get(timeout=60))\""


@contextmanager
def followed(
    page: str, folder: Path, server: Server, places: Mapping[str, str] | None = None
) -> Iterator[Walkthrough]:
    """Follow a how-to in an empty folder, and let its worker go on for the length of the block."""
    home = folder / "home"
    home.mkdir()
    path = DOCS / "howto" / f"{page}.md"
    with Walkthrough(path, home, server, places=places).followed() as walkthrough:
        yield walkthrough


def test_locks_behind_sentinels_survive_a_failover(
    replicated: Replicated, own_server: Server, tmp_path: Path
) -> None:
    places = {f"sentinel-{n}:26379": f"127.0.0.1:{s.port}" for n, s in enumerate(replicated.sentinels, 1)}
    with followed("sentinel", tmp_path, own_server, {**places, "mymaster": SERVICE}) as page:
        crash(replicated, "")

        assert "b.csv imported" in page.run(CALL, within=90)


def test_locks_in_a_cluster_survive_a_failover(cluster: Cluster, own_server: Server, tmp_path: Path) -> None:
    places = {f"node-{n}:6379": f"127.0.0.1:{s.port}" for n, s in enumerate(cluster.masters(), 1)}
    with followed("cluster", tmp_path, own_server, places) as page:
        name = page.run("python -c \"from shop import import_csv; print(import_csv.lock_name('b.csv'))\"")
        crash(cluster, name.strip())

        assert "b.csv imported" in page.run(CALL, within=90)


def test_locks_are_reached_over_tls_as_celery_is(tmp_path: Path) -> None:
    authority, port = make_authority(tmp_path / "authority"), free_port()
    places = {
        "redis.example.com:6380": f"127.0.0.1:{port}",
        "/etc/ssl/redis-ca.pem": str(authority.root),
    }
    with (
        Server("redis", options=("--tls-port", str(port), *authority.options)) as server,
        followed("tls", tmp_path, server, places) as page,
    ):
        assert f"locks: Redis at rediss://127.0.0.1:{port}/1" in page.log("worker")


#: Tasks of each kind that the page says needs no more rights, and their calls.
OTHER_USES = """
import sys
from celery import chain
from celery_redislock import locked_batch, locked_task
from shop import app, import_csv

@locked_task(app=app, name="shop.once", lock_scope="task")
def once():
    return "once"

@locked_task(app=app, name="shop.queued", lock_scope="queue")
def queued():
    return "queued"

@app.task(name="shop.member")
def member(*_):
    return "member"

if __name__ == "__main__":
    batch = locked_batch(chain(member.s(), member.s()), lock_key="batch")
    print([call.delay().get(timeout=60) for call in (once, queued, batch)])
    import_csv.lock_for("kept.csv").acquire()
    print(import_csv.lock_name("kept.csv"))
"""


def test_the_user_with_least_rights_runs_tasks(own_server: Server, tmp_path: Path) -> None:
    with followed("acl", tmp_path, own_server) as page:
        assert "b.csv imported" in page.run(CALL)


def test_publish_locks_and_batches_need_no_further_right_and_release_needs_one(
    own_server: Server, tmp_path: Path
) -> None:
    with reading("acl.md", own_server, tmp_path) as reader:
        reader.run("redis-cli -u redis://localhost:6379 ACL SETUSER locks -scan")
        reader.stop("worker")
        (reader.folder / "uses.py").write_text(OTHER_USES)
        reader.start("uses", "celery -A uses worker -l INFO", " ready.")

        results, kept = reader.run("python uses.py").splitlines()[-2:]
        assert results == "['once', 'queued', 'member']"
        assert ": held" in reader.run(f"celery -A shop locks show {kept}")
        assert "NOPERM" not in reader.log("uses")
        assert "no permissions" not in reader.log("uses")

        release = f"celery -A shop locks release --force {kept}"
        with pytest.raises(AssertionError, match="hkeys"):
            reader.run(release)
        reader.run("python uses.py")
        right = shlex.join(more("locks release"))
        reader.run(f"redis-cli -u redis://localhost:6379 ACL SETUSER locks {right}")
        assert "taken from its holder" in reader.run(release)
