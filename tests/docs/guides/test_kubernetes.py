"""Kubernetes: the guide's manifests are run as processes; a new version takes the place of the old one."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from ...support import processes
from ...support.deadlines import eventually
from ...support.places import DOCS
from ...support.servers import Server
from ...support.versions import not_with_5_4
from ..pages import blocks
from ..walkthrough import Walkthrough
from .pods import Cluster

PAGE = DOCS / "howto" / "kubernetes.md"

#: A run in a worker's log: when, whether it begins or ends, its id, what it imports, and for which tick.
_RUN = re.compile(
    r"^\[([^:]+:\d+:[\d,]+): .*shop\.import_csv\[([\w-]+)\]: (begins|ends): ([\w.]+)"
    r"(?:, tick (?:None|\{.*'due': '([^']+)'\}))?$",
    re.MULTILINE,
)


class Shop:
    """The guide's project, with its cluster.

    Args:
        folder: Empty.
        server: Its Redis.
    """

    def __init__(self, folder: Path, server: Server) -> None:
        image = folder / "image"
        image.mkdir()
        here = f"127.0.0.1:{server.port}"
        self.guide = Walkthrough(
            PAGE, image, server, places={"redis:6379": here}, env={"REDIS_URL": f"redis://{here}"}
        )
        for step in self.guide.steps:
            self.guide.follow(step)
        manifests = list(yaml.safe_load_all((image / "deploy.yaml").read_text()))
        self.cluster = Cluster(manifests, image, folder)

    def publish(self, path: str, seconds: float) -> str:
        """Publish an import, and return its id."""
        call = f"print(import_csv.delay({path!r}, seconds={seconds}).id)"
        return self.guide.run(f'python -c "from shop import import_csv; {call}"').strip()

    def state(self, task_id: str) -> str:
        """Return what has become of a call."""
        call = f"print(import_csv.AsyncResult('{task_id}').state)"
        return self.guide.run(f'python -c "from shop import import_csv; {call}"').strip()

    def runs(self) -> list[Any]:
        """List what began and ended in all workers, in its order."""
        found = [line for pod in self.cluster.all_pods for line in _RUN.findall(pod.log())]
        return sorted((datetime.fromisoformat(at.replace(",", ".")), *rest) for at, *rest in found)

    def begun(self, task_id: str) -> int:
        """Count how often a call has begun."""
        return len([run for run in self.runs() if run[1:3] == (task_id, "begins")])

    def ticks(self) -> list[str]:
        """List the due times whose runs have begun, one for each message that was sent."""
        return [due for _, due in {(run[1], run[4]) for run in self.runs() if run[4]}]


@pytest.fixture
def shop(own_server: Server, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path, own_server)
    with made.cluster:
        yield made


def is_in_order(shop: Shop) -> None:
    """No tick was sent twice, and no two runs of one import overlapped."""
    ticks = shop.ticks()
    assert len(ticks) == len(set(ticks))
    for path in {run[3] for run in shop.runs()}:
        own = [run for run in shop.runs() if run[3] == path]
        for earlier, later in pairwise(own):
            if earlier[2] == later[2] == "begins":
                raise AssertionError(f"{later} began before {earlier} had ended")


@pytest.mark.timeout(400)
def test_a_rolling_deploy_runs_nothing_twice(shop: Shop) -> None:
    shop.cluster.roll_out()
    eventually(lambda: len(shop.ticks()) > 1, 60, "the first beats should send")
    long_run = shop.publish("hotels.csv", seconds=20)
    eventually(lambda: shop.begun(long_run), 30)
    # The next version has one more parameter.
    code = shop.cluster.image / "shop.py"
    code.write_text(code.read_text().replace("seconds=2)", "seconds=2, dry_run=False)"))

    shop.cluster.roll_out()
    before = len(shop.ticks())
    eventually(lambda: len(shop.ticks()) > before + 1, 60, "the second beats should send")

    assert shop.state(long_run) == "SUCCESS"
    ids = [run[1] for run in shop.runs() if run[2] == "begins"]
    assert len(ids) == len(set(ids)), "a task ran twice"
    is_in_order(shop)
    assert sum("now the leader" in pod.log() for pod in shop.cluster.all_pods) >= 2


@pytest.mark.timeout(400)
def test_both_versions_share_the_locks(shop: Shop) -> None:
    shop.cluster.roll_out()
    first = shop.publish("hotels.csv", seconds=25)
    eventually(lambda: shop.begun(first), 30)
    for pod in shop.cluster.pods["shop-worker"]:
        pod.is_told_to_stop()
    code = shop.cluster.image / "shop.py"
    code.write_text(code.read_text().replace("seconds=2)", "seconds=2, dry_run=False)"))
    new = shop.cluster.start("shop-worker", 9)
    new.is_ready()

    second = shop.publish("hotels.csv", seconds=25)

    eventually(lambda: shop.state(second) == "REVOKED", 30)
    eventually(lambda: shop.state(first) == "SUCCESS", 60)
    is_in_order(shop)


@not_with_5_4("it has no soft shutdown")
@pytest.mark.timeout(400)
def test_what_a_soft_shutdown_interrupts_runs_again_at_once(shop: Shop) -> None:
    (soft,) = [block for block in blocks(PAGE) if "REMAP_SIGTERM" in block.code and block.language == "yaml"]
    given = {each["name"]: each["value"] for each in yaml.safe_load(soft.code)["env"]}
    grace = shop.cluster.deployments["shop-worker"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert float(given["SOFT_SHUTDOWN_SECONDS"]) <= grace - 20
    shop.cluster.env = {**given, "SOFT_SHUTDOWN_SECONDS": "3"}
    shop.cluster.roll_out()
    long_run = shop.publish("hotels.csv", seconds=30)
    eventually(lambda: shop.begun(long_run), 30)

    shop.cluster.roll_out()

    eventually(lambda: shop.begun(long_run) == 2, 30, "another worker should run it")
    eventually(lambda: shop.state(long_run) == "SUCCESS", 60)
    assert len(shop.ticks()) == len(set(shop.ticks()))


@pytest.mark.timeout(200)
def test_the_probes_tell_who_works(shop: Shop) -> None:
    shop.cluster.roll_out()
    for pod in shop.cluster.all_pods:
        assert pod.passes("livenessProbe")
        assert pod.passes("readinessProbe")

        processes.signal_group(pod.pid, signal.SIGSTOP)
        alive = shop.cluster.folder / pod.name / "alive"
        hours_ago = time.time() - 7200
        os.utime(alive, (hours_ago, hours_ago))
        assert not pod.passes("livenessProbe")

        processes.signal_group(pod.pid, signal.SIGCONT)
        eventually(lambda pod=pod: pod.passes("livenessProbe"), 30, f"{pod.name} works again")
