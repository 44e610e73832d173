"""FastAPI: the guide's site and worker run; who asks for a report that is being built gets its task."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from celery_redislock import LockLost

from ...support.deadlines import eventually
from ...support.places import DOCS
from ...support.servers import Server, free_port
from ...support.workers import running_worker
from .guide import Reader, followed

PAGE = "fastapi.md"

#: Seconds: a report takes twenty, on two busy cores.
BUILT_WITHIN = 60.0


class Site:
    """The page's site, asked over HTTP."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        # Two web processes: what one has published, the other finds.
        self.places = {
            "127.0.0.1:8000": f"127.0.0.1:{port}",
            "--port 8000": f"--port {port} --workers 2",
        }

    def ask(self, method: str, path: str) -> tuple[int, Any, str | None]:
        """Return status, JSON, and the header ``Retry-After`` of an answer."""
        request = urllib.request.Request(self._url + path, method=method)
        try:
            response = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            body = response.read()
            return response.status, json.loads(body or "null"), response.headers["Retry-After"]

    def answers(self) -> bool:
        """Whether anything answers: its processes listen a moment after they say so."""
        try:
            return self.ask("GET", "/nothing")[0] == 404
        except OSError:
            return False

    def start(self, month: str) -> str:
        """Ask for a report; return the id of its task."""
        status, answer, _ = self.ask("POST", f"/reports/{month}")
        assert status == 202
        return str(answer["job"])

    def state(self, job: str) -> Any:
        """Return what the site says of a task."""
        return self.ask("GET", f"/jobs/{job}")[1]["state"]


@pytest.fixture
def site() -> Site:
    return Site(free_port())


@pytest.mark.timeout(300)
def test_a_report_is_built_once_for_all_who_ask_meanwhile(
    site: Site, own_server: Server, tmp_path: Path
) -> None:
    with followed(PAGE, own_server, tmp_path, places=site.places) as reader:
        first = [site.start("july"), site.start("july")]
        status, _, retry_after = eventually(
            lambda: (answer := site.ask("DELETE", "/reports/july"))[0] == 409 and answer, BUILT_WITHIN
        )
        meanwhile = site.start("july")
        eventually(lambda: site.state(meanwhile) == "SUCCESS", BUILT_WITHIN)

        assert {*first, meanwhile} == {first[0]}
        assert (status, int(retry_after) > 0) == (409, True)
        assert site.ask("GET", f"/jobs/{meanwhile}")[1]["report"] == "report for july"
        # The page has asked for two reports, this test for a third. That one is delivered again if its run
        # has met the lock of a DELETE.
        assert len(set(re.findall(r"Task (\S+) received", reader.log("worker")))) == 3
        assert site.ask("DELETE", "/reports/july")[:2] == (204, None)
        assert site.start("july") != meanwhile

        reader.kill("worker")
        own_server.kill()

        status, answer, retry_after = site.ask("DELETE", "/reports/july")
        assert (status, answer, retry_after) == (503, {"detail": "try again later"}, "5")


@pytest.mark.timeout(200)
def test_a_task_that_fails_on_a_conflict_is_answered_with_409(
    site: Site, own_server: Server, tmp_path: Path
) -> None:
    (tmp_path / "shop").mkdir()
    places = {**site.places, 'lock_scope="task"': 'lock_scope="task", lock_on_conflict="fail"'}
    reader = Reader(DOCS / "howto" / PAGE, tmp_path / "shop", own_server, places=places)
    # Nobody works: what is published waits.
    reader.steps = [
        step for step in reader.steps if step.language == "python" or "terminal=site" in step.info
    ]

    with reader.followed():
        eventually(site.answers, 30)
        site.start("may")
        status, answer, retry_after = site.ask("POST", "/reports/may")

    assert (status, answer, int(retry_after or 0) > 0) == (409, {"detail": "busy"}, True)


COROUTINE = """
import asyncio, os
from celery import Celery
from celery_redislock import current_lock, locked_task

app = Celery("told", broker=os.environ["TOLD_REDIS"], backend=os.environ["TOLD_REDIS"])

@locked_task(app=app, name="told", lock_key="told", lock_ttl=2)
def told():
    asyncio.run(body())

async def body():
    tokens = {current_lock().fencing_token, await asyncio.to_thread(lambda: current_lock().fencing_token)}
    print(f"tokens: {len(tokens)}", flush=True)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("the coroutine is cancelled", flush=True)
        raise
"""


def test_a_coroutine_in_a_task_knows_the_lock_and_is_cancelled_when_it_is_lost(
    own_server: Server, tmp_path: Path
) -> None:
    (tmp_path / "told.py").write_text(COROUTINE)
    app = Celery(broker=own_server.url, backend=own_server.url, set_as_current=False)
    env = {"TOLD_REDIS": own_server.url}
    with running_worker("told", env=env, cwd=tmp_path) as worker, own_server.client() as client:
        result = app.send_task("told")
        worker.wait_for_log("tokens: 1", 40)

        client.delete("redislock:told")

        with pytest.raises(LockLost):
            result.get(timeout=30)
        worker.wait_for_log("the coroutine is cancelled")
        result.forget()
    app.close()


@pytest.mark.timeout(200)
def test_the_site_does_not_start_with_a_wrong_setting(site: Site, own_server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    reader = Reader(DOCS / "howto" / PAGE, folder, own_server)
    for step in reader.steps:
        if step.language == "python":
            reader.follow(step)
    with (folder / "tasks.py").open("a") as tasks:
        tasks.write("celery.conf.redislock_tll = 60\n")

    with pytest.raises(AssertionError, match="redislock_tll"):
        reader.run("uvicorn main:app --port 0")
