"""FastAPI: the guide's site and worker run; who asks for a report that is being built gets its task."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from ..support.deadlines import eventually
from ..support.places import DOCS
from ..support.servers import Server, free_port
from .guide import Reader, followed

PAGE = "fastapi.md"

#: Seconds: a report takes twenty, on two busy cores.
BUILT_WITHIN = 60.0


class Site:
    """The page's site, asked over HTTP."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self.places = {"127.0.0.1:8000": f"127.0.0.1:{port}", "--port 8000": f"--port {port}"}

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
        # The page has asked for two reports, this test for a third.
        assert len(re.findall(r"Task \S+ received", reader.log("worker"))) == 3
        assert site.ask("DELETE", "/reports/july")[:2] == (204, None)
        assert site.start("july") != meanwhile
        reader.stop("worker")

        own_server.kill()

        status, answer, retry_after = site.ask("DELETE", "/reports/july")
        assert (status, answer, retry_after) == (503, {"detail": "try again later"}, "5")


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
