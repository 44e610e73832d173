"""Django: the project of the how-to, with results and schedule in its database, and two beats."""

from __future__ import annotations

import json
import logging
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ...support.deadlines import eventually
from ...support.places import DOCS
from ...support.servers import Server
from ..walkthrough import Walkthrough

#: Seconds: worker, beat and a shell of Django on two busy cores.
SOON = 60.0

#: The program that is run in the project, with a function's body in it.
SHELL = """
import json
import logging
import time
import django
import shop
django.setup()
from celery.signals import before_task_publish
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry
from django_celery_results.models import TaskResult
from orders.models import Order, Sweep
from orders.place import place_order
from orders.tasks import ship, sweep

published = []
before_task_publish.connect(lambda body, **_: published.append(body[0]), weak=False)

def visitor_of_the_admin_site():
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.get_or_create(username="ada", is_staff=True, is_superuser=True)[0])
    return client

def choose(action):
    chosen = {"action": action, "_selected_action": [PeriodicTask.objects.get(name="sweep").pk]}
    page = visitor_of_the_admin_site().post("/admin/django_celery_beat/periodictask/", chosen)
    assert page.status_code == 302

def lines():
{lines}

print(json.dumps(lines()))
"""


class Project:
    """The project after its page was followed: a worker and one of two beats go on."""

    def __init__(self, page: Walkthrough) -> None:
        self.page = page

    def shell(self, lines: str, settings: str = "shop.settings") -> Any:
        """Run the body of a function in the project, and return what it returns."""
        program = self.page.folder / "typed.py"
        indented = textwrap.indent(textwrap.dedent(lines), "    ")
        program.write_text(SHELL.replace("{lines}", indented))
        return json.loads(
            self.page.run(f"DJANGO_SETTINGS_MODULE={settings} python typed.py").splitlines()[-1]
        )

    def sweeps(self) -> list[str | None]:
        """Return the due time of each sweep; None for one that no beat has sent."""
        found: list[str | None] = self.shell("return list(Sweep.objects.values_list('due', flat=True))")
        return found


@pytest.fixture(scope="module")
def project(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Follow the page."""
    home: Path = tmp_path_factory.mktemp("django") / "home"
    home.mkdir()
    with server.client() as client:
        client.flushall()
        with Walkthrough(DOCS / "howto" / "django.md", home, server).followed() as page:
            yield Project(page)
        client.flushall()


def test_a_skipped_call_says_in_the_database_which_lock_was_busy(project: Project) -> None:
    reason, orders = project.shell(
        """
        reason = TaskResult.objects.get(task_name=ship.name, status="REVOKED").result
        return reason, list(Order.objects.values_list("customer", "shipped"))
        """
    )

    assert "redislock:order:1" in reason
    assert orders == [["Ada", 1]]


def test_the_admin_site_shows_the_skipped_call(project: Project) -> None:
    shown = project.shell(
        """
        page = visitor_of_the_admin_site().get("/admin/django_celery_results/taskresult/")
        return page.content.decode()
        """
    )

    assert "orders.tasks.ship" in shown
    assert "REVOKED" in shown


def test_a_worker_names_the_setting_that_was_meant(project: Project) -> None:
    misspelt = project.page.folder / "shop" / "misspelt.py"
    misspelt.write_text("from .settings import *\nCELERY_REDISLOCK_TLL = 5\n")

    refused = project.page.run("! DJANGO_SETTINGS_MODULE=shop.misspelt celery -A shop worker")

    assert "did you mean 'CELERY_REDISLOCK_TTL'?" in refused


def test_nothing_is_published_for_an_order_that_is_rolled_back(project: Project) -> None:
    before_commit, after_commit, after_rollback = project.shell(
        """
        with transaction.atomic():
            ship.delay_on_commit(101)
            before_commit = list(published)
        after_commit = list(published)
        with transaction.atomic():
            ship.delay_on_commit(102)
            transaction.set_rollback(True)
        return before_commit, after_commit, published
        """
    )

    assert before_commit == []
    assert after_commit == after_rollback == [[101]]


def test_no_tick_was_sent_twice_when_one_of_two_beats_was_killed(project: Project) -> None:
    ticks = eventually(lambda: len(found := [*filter(None, project.sweeps())]) >= 4 and found, SOON)

    assert len(set(ticks)) == len(ticks)


def test_a_lock_is_held_at_the_commit_where_it_stands_around_the_transaction(project: Project) -> None:
    is_free = project.shell(
        """
        other, is_free = ship.lock_for(103), []
        def note():
            is_free.append(other.acquire())
            other.release()
        with transaction.atomic(), ship.lock_for(103):
            transaction.on_commit(note)
        with ship.lock_for(103), transaction.atomic():
            transaction.on_commit(note)
        return is_free
        """
    )

    assert is_free == [True, False]


def test_the_leader_follows_the_admin_site_and_runs_from_there_take_the_lock(project: Project) -> None:
    changed = "Schedule changed"
    before = project.page.log("second").count(changed)

    project.shell("choose('disable_tasks')")
    eventually(lambda: project.page.log("second").count(changed) > before, SOON)
    project.shell("choose('run_tasks')")
    eventually(lambda: None in project.sweeps(), SOON)
    project.shell(
        """
        with sweep.lock_for():
            choose("run_tasks")
            deadline = time.monotonic() + 60
            while not TaskResult.objects.filter(task_name=sweep.name, status="REVOKED"):
                assert time.monotonic() < deadline, "the call should be skipped"
                time.sleep(0.1)
        choose("enable_tasks")
        """
    )

    assert project.sweeps().count(None) == 1


def test_an_entry_of_the_settings_overwrites_its_row_and_loses_its_lock_options(project: Project) -> None:
    is_enabled, arguments, options = project.shell(
        """
        row = PeriodicTask.objects.get(name="sweep")
        row.enabled, row.args = False, "[1]"
        row.save()
        DatabaseScheduler(app=shop.celery_app)
        row.refresh_from_db()
        choose("enable_tasks")
        entry = {"task": sweep.name, "schedule": 3600, "options": {"lock": {"ttl": 5}, "priority": 3}}
        options = ModelEntry.from_entry("hourly", app=shop.celery_app, **entry).options
        return row.enabled, row.args, options
        """
    )

    assert (is_enabled, arguments) == (False, "[]")
    assert "lock" not in options
    assert options["priority"] == 3


def test_the_tests_of_the_page_need_no_redis(project: Project) -> None:
    nowhere = "redis://127.0.0.1:1"
    (project.page.folder / "shop" / "nowhere.py").write_text(
        f"from .test_settings import *\nCELERY_BROKER_URL = CELERY_REDISLOCK_URL = {nowhere!r}\n"
    )

    assert "OK" in project.page.run("python manage.py test --settings=shop.nowhere")


def test_skips_are_not_logged_where_the_level_is_that_of_the_page(project: Project) -> None:
    effective = """
shop.celery_app.log.setup(loglevel="INFO")
return logging.getLogger("celery_redislock.conflicts").getEffectiveLevel()
"""

    assert project.shell(effective) == logging.INFO
    assert project.shell(effective, settings="shop.quiet_settings") == logging.WARNING


def test_handlers_of_the_root_logger_are_kept_where_the_page_says_so(project: Project) -> None:
    is_kept = """
handler = logging.StreamHandler()
logging.getLogger().addHandler(handler)
shop.celery_app.log.setup(loglevel="INFO")
return handler in logging.getLogger().handlers
"""
    (project.page.folder / "shop" / "not_hijacked.py").write_text(
        "from .settings import *\nCELERY_WORKER_HIJACK_ROOT_LOGGER = False\n"
    )

    assert not project.shell(is_kept)
    assert project.shell(is_kept, settings="shop.not_hijacked")


def test_an_async_view_publishes_in_a_thread_and_a_busy_lock_is_an_error_outside_of_tasks(
    project: Project,
) -> None:
    shipped, raised = project.shell(
        """
        import asyncio
        from asgiref.sync import sync_to_async
        from celery_redislock import LockBusy
        with ship.lock_for(104):
            shipped = asyncio.run(sync_to_async(ship.delay)(104))
            try:
                with ship.lock_for(104):
                    raised = None
            except LockBusy as error:
                raised = str(error)
        return shipped.id, raised
        """
    )

    assert shipped
    assert "redislock:order:104" in raised


def test_the_task_class_of_the_page_locks_and_publishes_on_commit(project: Project) -> None:
    has_both = project.shell(
        """
        from celery import Celery
        app = Celery(task_cls="shop.task_class:ShopTask", set_as_current=False)
        @app.task
        def task(): ...
        return [hasattr(task, name) for name in ("delay_on_commit", "lock_name")]
        """
    )

    assert has_both == [True, True]
