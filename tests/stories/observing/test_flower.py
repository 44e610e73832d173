"""Flower, in a real browser: the page of a task that did not run says why; monitors get the events of locks.

The picture in the documentation is made here::

    FLOWER_PICTURE=docs/howto/flower.png python -m pytest tests/stories/observing/test_flower.py -k page
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import states

from ...conftest import IN_CI
from ...support import processes
from ...support.deadlines import eventually
from ...support.places import ROOT, python_path
from ...support.servers import Server, free_port
from ...support.workers import Worker, running_worker

APP = "tests.stories.observing.shop"
WORKER = "worker1@shop"
CHROMIUM = shutil.which("chromium")
#: Without a sandbox: it is run as root, on pages of our own.
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


class Monitored:
    """The application, its worker with ``-E``, Flower, and a receiver of events.

    Attributes:
        app: The application.
        client: Of the Redis that has all of it.
        worker: The worker.
        events: All events that the receiver has got.
    """

    def __init__(self, app: Any, client: redis.Redis, worker: Worker, flower: str, receiver: Any) -> None:
        self.app, self.client, self.worker = app, client, worker
        self.events: list[dict[str, Any]] = receiver.events
        self._flower, self._receiver = flower, receiver

    def begun(self, task: str, path: str) -> Any:
        """Start a run that holds its lock until it is let go."""
        result = self.app.tasks[task].delay(path)
        eventually(lambda: self.of(result.id, "lock-acquired"), within=20)
        return result

    def let_go(self, path: str) -> None:
        """Let one run of this file end."""
        self.client.rpush(f"gate:{path}", 1)

    def of(self, task_id: str, type_: str) -> list[dict[str, Any]]:
        """Return the events of a type that tell of a task."""
        self._receiver.drain()
        return [
            event
            for event in self.events
            if event["type"] == type_ and task_id in (event.get("task_id"), event.get("uuid"))
        ]

    def address_of(self, task_id: str) -> str:
        """Return the address of Flower's page of a task."""
        return f"{self._flower}/task/{task_id}"

    def page_of(self, task_id: str) -> str:
        """Return what Flower says of a task; empty if it knows nothing of it."""
        return unescape(_read(self.address_of(task_id)))


class Receiver:
    """Collects the events of all groups."""

    def __init__(self, connection: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self._connection = connection

    def drain(self) -> None:
        """Take what has come."""
        with suppress(TimeoutError):
            self._connection.drain_events(timeout=0.1)


@pytest.fixture(scope="module")
def monitored() -> Iterator[Monitored]:
    """Give the application with one worker, watched."""
    with Server("redis") as store, store.client() as client, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOP_STORE", store.url)
        patch.setattr("socket.gethostname", lambda: "worker1")  # importing the application would leave it so
        app = importlib.import_module(APP).app
        env = {"SHOP_STORE": store.url}
        with (
            flower(env) as address,
            receiving(app) as receiver,
            running_worker(APP, env=env, args=("-E",), name=WORKER) as worker,
        ):
            yield Monitored(app, client, worker, address, receiver)
        app.close()


@contextmanager
def receiving(app: Any) -> Iterator[Receiver]:
    """Give a receiver that hears of events from now on."""
    with app.connection_for_read() as given:
        receiver = app.events.Receiver(given)
        with receiver.consumer_context() as (connection, *_):
            collected = Receiver(connection)
            receiver.handlers["*"] = collected.events.append
            yield collected


@contextmanager
def flower(env: dict[str, str]) -> Iterator[str]:
    """Run Flower, and give its address; it has written no traceback by its end."""
    port = free_port()
    command = [sys.executable, "-m", "celery", "-A", APP, "flower", "--address=127.0.0.1", f"--port={port}"]
    environment = {**os.environ, "PYTHONPATH": python_path(), **env}
    with tempfile.NamedTemporaryFile(prefix="flower-") as output:
        process = processes.start(command, output=output, env=environment, cwd=ROOT)
        try:
            eventually(lambda: _read(f"http://127.0.0.1:{port}/"), within=40, message="Flower should answer")
            yield f"http://127.0.0.1:{port}"
        finally:
            left_over = processes.end_group(process, grace=10)
            said = Path(output.name).read_text()
        assert "Traceback" not in said, said
        assert not left_over


def _read(address: str) -> str:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return ""


@pytest.fixture
def browser() -> Iterator[Any]:
    """Give Debian's Chromium, driven by Playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        (pytest.fail if IN_CI else pytest.skip)("chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def test_the_page_of_a_skipped_task_says_who_has_the_lock(
    monitored: Monitored, browser: Any, tmp_path: Path
) -> None:
    holder = monitored.begun("shop.import_csv", "orders.csv")
    skipped = monitored.app.tasks["shop.import_csv"].delay("orders.csv")
    eventually(lambda: "is busy" in monitored.page_of(skipped.id), within=20)

    page = browser.new_page(viewport={"width": 1000, "height": 852}, device_scale_factor=1.5)
    page.goto(monitored.address_of(skipped.id))

    rows = page.locator(".detail-row").all_inner_texts()
    shown = dict(row.split("\n", 1) for row in rows if "\n" in row)
    assert shown["Status"].strip() == states.REVOKED
    assert shown["Result"].strip() == str(skipped.result)
    assert f"id {holder.id}" in shown["Result"]
    picture = Path(os.environ.get("FLOWER_PICTURE") or tmp_path / "flower.png")
    page.screenshot(path=picture, animations="disabled")
    assert picture.stat().st_size > 10_000
    monitored.let_go("orders.csv")
    holder.get(timeout=20)


def test_the_page_of_a_superseded_task_names_the_one_that_runs_in_its_place(monitored: Monitored) -> None:
    holder = monitored.begun("shop.refresh", "stock.csv")
    first, last = [monitored.app.tasks["shop.refresh"].delay("stock.csv") for _ in range(2)]
    eventually(
        lambda: monitored.of(first.id, "task-retried") and monitored.of(last.id, "task-retried"), within=20
    )
    for _ in range(2):
        monitored.let_go("stock.csv")
    holder.get(timeout=20)

    # The order in which the two met the lock is not known.
    superseded, ran = (first, last) if last.get(timeout=20, propagate=False) is None else (last, first)
    (told,) = eventually(lambda: monitored.of(superseded.id, "task-revoked"), within=20)
    assert told["result"].startswith(f"superseded by task {ran.id}")
    page = eventually(
        lambda: (found := monitored.page_of(superseded.id)) and states.REVOKED in found and found
    )
    assert told["result"] in page


def test_the_page_of_a_replaced_task_names_the_one_that_runs_in_its_place(monitored: Monitored) -> None:
    replaced = monitored.begun("shop.resync", "prices.csv")
    newer = monitored.app.tasks["shop.resync"].delay("prices.csv")

    (told,) = eventually(lambda: monitored.of(replaced.id, "task-revoked"), within=20)
    assert told["result"].startswith(f"superseded by task {newer.id}")
    eventually(lambda: told["result"] in monitored.page_of(replaced.id), within=20)
    (lost,) = eventually(lambda: monitored.of(replaced.id, "lock-lost"), within=20)
    assert lost["reason"] == "replaced"
    monitored.let_go("prices.csv")
    newer.get(timeout=20)


def test_a_child_and_its_parent_send_events_of_locks_under_the_name_of_their_worker(
    monitored: Monitored,
) -> None:
    holder = monitored.begun("shop.import_csv", "killed.csv")
    skipped = monitored.app.tasks["shop.import_csv"].delay("killed.csv")

    (conflict,) = eventually(lambda: monitored.of(skipped.id, "lock-conflict"), within=20)
    (acquired,) = monitored.of(holder.id, "lock-acquired")
    assert (conflict["action"], conflict["holder_id"]) == ("skip", holder.id)
    assert conflict["fencing_token"] == acquired["fencing_token"]

    os.kill(acquired["pid"], signal.SIGKILL)
    (orphaned,) = eventually(lambda: monitored.of(holder.id, "lock-orphaned"), within=20)
    assert orphaned["pid"] == monitored.worker.pid
    assert {event["hostname"] for event in (conflict, acquired, orphaned)} == {WORKER}
