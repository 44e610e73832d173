"""Celery events: ``celery events --dump`` prints those of locks, whole, and has trouble with none."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from celery_redislock import RedisLock

from ...support import processes
from ...support.deadlines import eventually
from ...support.places import ROOT, python_path
from ...support.servers import Server
from ...support.workers import Worker, running_worker

APP = "tests.stories.observing.shop"
WORKER = "worker1@shop"
BOUND = 30.0

#: "worker1@shop [2026-12-01 04:36:24+00:00] lock conflict: action=skip, clock=7, ..."
LINE = re.compile(r"^(\S+) \[[^]]+\] lock (\w+): (.*)$", re.M)


class Dump:
    """What ``celery events --dump`` has printed."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def text(self) -> str:
        """Return all of it."""
        return self._log.read_text()

    def types(self) -> Counter[str]:
        """Return how often each event of locks was printed."""
        return Counter(type_ for _, type_, _ in LINE.findall(self.text()))

    def fields(self, wanted: str) -> dict[str, str]:
        """Return the fields of the only event of locks of this type."""
        ((host, fields),) = [
            (host, rest) for host, type_, rest in LINE.findall(self.text()) if type_ == wanted
        ]
        return {"from": host, **dict(field.split("=", 1) for field in fields.split(", "))}


@contextmanager
def dumping(env: dict[str, str]) -> Iterator[Dump]:
    """Have the events of the broker dumped for the length of a ``with`` block."""
    with tempfile.NamedTemporaryFile(prefix="dump-", suffix=".log") as output:
        command = [sys.executable, "-m", "celery", "-A", APP, "events", "--dump"]
        given = {**os.environ, "PYTHONPATH": python_path(), "PYTHONUNBUFFERED": "1", **env}
        process = processes.start(command, output=output, env=given, cwd=ROOT)
        dump = Dump(Path(output.name))
        try:
            # One that comes late misses what was sent before.
            eventually(lambda: "starting capture" in dump.text(), BOUND, "it should listen")
            yield dump
            assert process.poll() is None, "it should still run"
        finally:
            processes.end_group(process, grace=10)


class Shop:
    """The application's worker, and what its calls do there."""

    def __init__(self, server: Server, worker: Worker, dump: Dump) -> None:
        self.app = Celery("calls", broker=server.url, backend=server.url, set_as_current=False)
        self.worker, self.dump, self.client = worker, dump, server.client()

    def call(self, path: str) -> Any:
        """Call the task that waits at the gate of a path."""
        return self.app.send_task("shop.import_csv", [path])

    def held(self, path: str) -> Any:
        """Have a run hold the lock of a path."""
        before = self.dump.types()["acquired"]
        result = self.call(path)
        eventually(lambda: self.dump.types()["acquired"] > before, BOUND, "a run should have its lock")
        return result

    def let_go(self, path: str) -> None:
        """Let the run of a path end."""
        self.client.rpush(f"gate:{path}", 1)


@pytest.fixture
def shop() -> Iterator[Shop]:
    """Give the shop with a worker of two processes, whose events are dumped."""
    with Server("redis") as server:
        env = {"SHOP_STORE": server.url}
        with dumping(env) as dump, running_worker(APP, env=env, args=("-E",), name=WORKER) as worker:
            shop = Shop(server, worker, dump)
            try:
                yield shop
            finally:
                shop.app.backend.result_consumer.stop()
                shop.app.close()
                shop.client.close()


def test_each_event_of_a_lock_is_printed_and_none_breaks_the_dump(shop: Shop) -> None:
    first = shop.held("a")
    skipped = shop.call("a")
    skipped.get(timeout=BOUND, propagate=False)
    shop.let_go("a")
    first.get(timeout=BOUND)
    # A child that is killed takes with it what it has not sent yet.
    eventually(lambda: shop.dump.types() == {"acquired": 1, "conflict": 1, "released": 1}, BOUND)

    shop.held("killed")
    for child in shop.worker.children():
        os.kill(child, signal.SIGKILL)
    eventually(lambda: shop.dump.types()["orphaned"], BOUND, "the orphan should be told")

    lost = shop.held("lost")
    (name,) = [key for key in shop.client.keys("redislock:*") if b"import_csv" in key]
    assert RedisLock(shop.client, name.decode()).force_release()
    lost.get(timeout=BOUND, propagate=False)
    told = {"acquired": 3, "released": 2, "conflict": 1, "orphaned": 1, "lost": 1}
    eventually(lambda: shop.dump.types() == told, BOUND, f"{shop.dump.types()} should be {told}")

    conflict = shop.dump.fields("conflict")
    assert conflict["from"] == WORKER
    assert (conflict["task_id"], conflict["holder_id"], conflict["action"]) == (skipped.id, first.id, "skip")
    assert shop.dump.fields("orphaned")["reason"] == "parent"
    assert shop.dump.fields("lost")["reason"] == "forced"
