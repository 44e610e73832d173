"""Flask: the application of the how-to, with a web server, a worker and two beats."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ...support.deadlines import eventually
from ...support.places import DOCS
from ...support.servers import Server, free_port
from ...support.workers import running_worker
from ..walkthrough import Walkthrough

#: Seconds: a worker and a beat on two busy cores.
SOON = 60.0

#: A module beside those of the page.
MORE = """
from flask import has_app_context

from celery_redislock import current_lock, locked_task
from make_celery import flask_app


@locked_task(lock_key=lambda: f"context-{has_app_context()}")
def lock_name():
    return current_lock().name


@flask_app.teardown_appcontext
def write_down_the_lock(error):
    with open("torn_down", "a") as notes:
        notes.write(f"{current_lock() and current_lock().remaining > 0}\\n")
"""

ASK = """
import json
from make_celery import celery_app, flask_app
from more import lock_name
{lines}
"""


class Shop:
    """The application after its page was followed: the web server, a worker and one of two beats go on."""

    def __init__(self, page: Walkthrough, url: str) -> None:
        self.page = page
        self.url = url

    def post(self, path: str) -> str:
        """Post nothing, and return the page."""
        return self.page.run(f"curl -s -f -X POST {self.url}{path}").strip()

    def result(self, result_id: str) -> Any:
        """Return the state and the value of a call, as the application shows them."""
        return json.loads(self.page.run(f"curl -s -f {self.url}/results/{result_id}"))

    def python(self, lines: str) -> Any:
        """Run a program beside the application, and return what it prints."""
        (self.page.folder / "ask.py").write_text(ASK.replace("{lines}", lines))
        return json.loads(self.page.run("python ask.py"))


@pytest.fixture(scope="module")
def shop(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Follow the page."""
    home: Path = tmp_path_factory.mktemp("flask") / "home"
    home.mkdir()
    port = free_port()
    here = {"--port 5000": f"--port {port}"}
    here |= {f"{host}:5000": f"127.0.0.1:{port}" for host in ("localhost", "127.0.0.1")}
    with server.client() as client:
        client.flushall()
        with Walkthrough(DOCS / "howto" / "flask.md", home, server, places=here).followed() as page:
            (home / "more.py").write_text(MORE)
            yield Shop(page, f"127.0.0.1:{port}")
        client.flushall()


def test_one_call_for_a_name_runs_and_another_name_runs_beside_it(shop: Shop) -> None:
    milk, more_milk, bread = (shop.post(f"/restock/{path}") for path in ("milk/1", "milk/2", "bread/1"))

    for result_id, value in ((milk, "1 milk from Tea & Sons"), (bread, "1 bread from Tea & Sons")):
        shown = {"state": "SUCCESS", "value": value}
        eventually(lambda result_id=result_id, shown=shown: shop.result(result_id) == shown, SOON)
    skipped = shop.result(more_milk)
    assert skipped["state"] == "REVOKED"
    assert "shop.tasks.restock" in skipped["value"]
    assert milk in skipped["value"]


def test_no_tick_was_sent_twice_when_one_of_two_beats_was_killed(shop: Shop) -> None:
    of_a_run = re.compile(r"count_stock\[\S+ succeeded in \S+: '(\S+)'")

    ticks = eventually(lambda: len(found := of_a_run.findall(shop.page.log("worker"))) >= 4 and found, SOON)

    assert len(set(ticks)) == len(ticks)


def test_the_name_of_a_lock_may_be_made_without_a_context_and_the_context_ends_before_the_lock(
    shop: Shop,
) -> None:
    home = shop.page.folder
    with running_worker("make_celery", env={}, cwd=home, args=("-I", "more", "-Q", "more")):
        names = shop.python("""
by_name = celery_app.send_task("more.lock_name", queue="more")
with flask_app.app_context():
    with_context = lock_name.apply_async(queue="more")
print(json.dumps([by_name.get(timeout=60), with_context.get(timeout=60)]))
""")

    assert names == ["redislock:context-False", "redislock:context-True"]
    assert "True\n" in (home / "torn_down").read_text()


def test_a_task_belongs_to_the_application_that_was_made_last(shop: Shop) -> None:
    values = shop.python("""
from unittest import mock
from shop import create_app, tasks
def value_of(supplier):
    settings = {"task_always_eager": True, "redislock_mode": "off", "broker_url": "memory://"}
    create_app({"SUPPLIER": supplier, "CELERY": settings})
    with mock.patch("shop.tasks.time.sleep"):
        return tasks.restock.delay("tea").result
print(json.dumps([value_of("Kettle Ltd"), value_of("Cup Ltd")]))
""")

    assert values == ["1 tea from Kettle Ltd", "1 tea from Cup Ltd"]


def test_a_task_with_a_class_of_its_own_is_locked_and_has_no_application_context(shop: Shop) -> None:
    results = shop.python("""
from celery import Task
from flask import has_app_context
from celery_redislock import current_lock, locked_task
class TenantTask(Task): ...
def run():
    return [has_app_context(), current_lock().fencing_token is not None]
declared = [
    locked_task(app=celery_app, name="plain")(run),
    locked_task(app=celery_app, name="tenant", base=TenantTask)(run),
]
print(json.dumps([task.apply().get() for task in declared]))
""")

    assert results == [[True, True], [False, True]]
