"""Flask: the application factory of its documentation, whose tasks have the application's context."""

from __future__ import annotations

from collections.abc import Callable

from ...support.deadlines import eventually
from .project import Project

SERVE = ("-m", "flask", "--app", "shop", "run", "--port", "PORT")


def test_a_locked_task_has_the_context_and_runs_once(project: Callable[[str], Project]) -> None:
    shop = project("flask_project")
    shelf = shop.folder / "tea"
    with shop.worker("make_celery"), shop.served(SERVE) as site:
        first = site.post("/restock/tea/2")["result_id"]
        eventually(shelf.exists, 20)
        second = site.post("/restock/tea/3")["result_id"]
        skipped = eventually(lambda: (found := site.get(f"/result/{second}"))["state"] == "REVOKED" and found)
        shop.open_gate()
        eventually(lambda: site.get(f"/result/{first}")["state"] == "SUCCESS")

        assert site.get(f"/result/{first}")["value"] == "shop"
        assert "shop.tasks.restock" in skipped["value"]
        assert shelf.read_text() == "2\n"
