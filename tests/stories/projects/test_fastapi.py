"""FastAPI: an endpoint publishes a task with a scope; who asks twice is answered with what is there."""

from __future__ import annotations

from collections.abc import Callable

from ...support.deadlines import eventually
from .project import Project

SERVE = ("-m", "uvicorn", "main:app", "--port", "PORT")


def test_a_report_is_built_once_for_all_who_ask_meanwhile(project: Callable[[str], Project]) -> None:
    shop = project("fastapi_project")
    report = shop.folder / "may"
    with shop.worker("jobs"), shop.served(SERVE) as site:
        before = [site.post("/reports/may")["id"], site.post("/reports/may")["id"]]
        eventually(report.exists, 20)
        meanwhile = site.post("/reports/may")["id"]
        other = site.post("/reports/june")["id"]
        shop.open_gate()
        done = eventually(lambda: (page := site.get(f"/reports/{meanwhile}"))["state"] == "SUCCESS" and page)
        eventually(lambda: site.get(f"/reports/{other}")["state"] == "SUCCESS")

        assert {*before, meanwhile} == {before[0]}
        assert other != meanwhile
        assert done["value"] == "report may"
        assert report.read_text() == "built\n"
        again = eventually(lambda: (new := site.post("/reports/may")["id"]) != meanwhile and new)
        eventually(lambda: site.get(f"/reports/{again}")["state"] == "SUCCESS")
        assert report.read_text() == "built\nbuilt\n"
