"""Django: a locked task as `shared_task`, sent on commit; results and schedule in the database; two beats."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ...support.deadlines import eventually
from .project import Project

BEAT = ("-m", "celery", "-A", "shop", "beat", "-S", "celery_redislock.beat:LockedScheduler", "-l", "INFO")


def ready(project: Project) -> Project:
    """Make the tables."""
    project.run("-m", "django", "migrate", "--run-syncdb", "--verbosity=0", "--settings=shop.settings")
    return project


def results(project: Project) -> dict[str, Any]:
    """Return task id -> state and result, in the order in which they were stored."""
    return {
        task_id: (status, result) for task_id, status, result in project.run("console.py", "show")["results"]
    }


def test_an_order_is_shipped_once_and_sent_when_it_is_committed(project: Callable[[str], Project]) -> None:
    shop = ready(project("django_project"))
    with shop.worker("shop") as worker:
        order = shop.run("console.py", "place", "Ada")
        eventually(lambda: shop.run("console.py", "show")["orders"] == [{"pk": order, "shipped": 1}], 20)
        second = shop.run("console.py", "again", str(order))
        eventually(lambda: results(shop).get(second, ("", ""))[0] == "REVOKED", 20)
        shop.open_gate()
        states = eventually(
            lambda: sorted(state for state, _ in results(shop).values()) == ["REVOKED", "SUCCESS"]
        )

        assert states
        assert ('"Ada"') in [result for _, result in results(shop).values()]
        assert shop.run("console.py", "show")["orders"] == [{"pk": order, "shipped": 1}]
        received = re.findall(r"Task orders\.tasks\.ship\[.* received", worker.log())
        assert len(received) == 2  # and not the one of the order that was rolled back


def test_of_two_beats_with_the_schedule_in_the_database_one_sends(project: Callable[[str], Project]) -> None:
    shop = ready(project("django_project"))
    shop.run("console.py", "tick")
    with shop.worker("shop"), shop.running(*BEAT) as first, shop.running(*BEAT) as second:
        sweeps = eventually(lambda: len(found := shop.run("console.py", "show")["sweeps"]) >= 4 and found, 40)
        logs = first.read_text() + second.read_text()

    assert len(set(sweeps)) == len(sweeps)
    assert logs.count("now the leader") == 1
