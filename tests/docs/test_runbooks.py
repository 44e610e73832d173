"""Runbooks: a symptom is staged; what its page tells to type shows the cause, and cures it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, exceptions

from celery_redislock import ConfigurationError, locked_task

from ..support.deadlines import eventually
from ..support.servers import Server
from .pages import Block
from .test_troubleshooting import FOLDER, lines_of
from .walkthrough import Walkthrough, expected_in

SHOP = """# shop.py
import time
from celery import Celery
from celery_redislock import locked_task

app = Celery("shop", broker="redis://localhost:6379/0", backend="redis://localhost:6379/1")

@locked_task(app=app, name="shop.import_csv", lock_scope="task")
def import_csv(): ...

@locked_task(app=app, name="shop.export_csv", lock_args=(), lock_ttl=600)
def export_csv(seconds=0):
    time.sleep(seconds)
"""
PAGE = FOLDER / "stuck_lock.md"


def typed(info: str, code: str) -> Block:
    return Block(PAGE, 1, tuple(info.split()), code)


START = typed("console terminal=worker", "$ celery -A shop worker -l INFO -c 2\nready.\n")


class Desk(Walkthrough):
    """Where an operator types what the page tells."""

    def python(self, code: str) -> str:
        """Return what an expression is, in the shop's app."""
        return self.run(f'python -c "import shop; print({code})"').strip()

    def type(self, command: str, name: str = "") -> str:
        """Type a command that stands on the page, with a name for NAME or ID; return what it prints."""
        assert command in PAGE.read_text(encoding="utf-8")
        return self.run(f"{re.sub('NAME|ID', name, command)} || true")


@pytest.fixture
def desk(own_server: Server, tmp_path: Path) -> Iterator[Desk]:
    """Give an operator's desk: nothing but the shop's code stands there."""
    (tmp_path / "shop").mkdir()
    desk = Desk(PAGE, tmp_path / "shop", own_server)
    desk.steps = [typed("python", SHOP)]
    with desk.followed():
        yield desk


def test_a_publish_lock_that_a_purge_left_behind_is_found_and_freed(desk: Desk) -> None:
    purged = desk.python("shop.import_csv.delay().id")
    desk.run("celery -A shop purge -f")
    assert desk.python("shop.import_csv.delay().id") == purged, "nothing is published: that is the symptom"

    shown = desk.type("celery -A shop locks show NAME", "shop.import_csv")
    desk.type("celery -A shop locks release --force NAME", "shop.import_csv")

    assert any(expected_in(line, shown) for line in lines_of(PAGE)), shown
    assert purged in shown
    assert desk.python("shop.import_csv.delay().id") != purged


def test_the_lock_of_a_dead_worker_is_found_and_freed(desk: Desk) -> None:
    desk.follow(START)
    desk.python("shop.export_csv.delay(600).id")
    eventually(lambda: "shop.export_csv" in desk.type("celery -A shop locks list"), 30)
    assert "shop.export_csv" in desk.type("celery -A shop inspect locks")
    desk.follow(typed("console kill=worker", ""))

    left = [lease_left(desk.type("celery -A shop locks show NAME", "shop.export_csv")) for _ in range(2)]
    freed = desk.type("celery -A shop locks release --force NAME", "shop.export_csv")

    assert left[1] < left[0], "nobody renews it"
    assert expected_in("redislock:shop.export_csv: taken from its holder", freed)
    assert "redislock:shop.export_csv: free" in desk.type("celery -A shop locks show NAME", "shop.export_csv")


def lease_left(shown: str) -> float:
    line = next(line for line in shown.splitlines() if "lease left" in line)
    return float(line.split()[-2])


def test_a_skipped_call_says_who_had_the_lock(desk: Desk) -> None:
    desk.follow(START)
    running = desk.python("shop.export_csv.delay(600).id")
    eventually(lambda: running in desk.type("celery -A shop locks show NAME", "shop.export_csv"), 30)

    skipped = desk.python("shop.export_csv.delay().id")
    ended = f"shop.export_csv.AsyncResult('{skipped}')"
    eventually(lambda: desk.python(f"{ended}.state") == "REVOKED", 30)

    reason = desk.python(f"{ended}.result")
    assert any(expected_in(line, reason) for line in lines_of(FOLDER / "lock_is_busy.md")), reason
    assert running in reason

    desk.type("celery -A shop control terminate SIGTERM ID", running)
    eventually(lambda: "free" in desk.type("celery -A shop locks show NAME", "shop.export_csv"), 30)


@pytest.mark.parametrize(
    ("command", "name"),
    [("celery locks list", ""), ("celery -A shop locks release NAME", "shop.import_csv")],
)
def test_a_command_that_does_nothing_says_what_its_page_shows(desk: Desk, command: str, name: str) -> None:
    said = desk.run(f"{command.replace('NAME', name)} || true")

    assert any(expected_in(line, said) for line in lines_of(FOLDER / "command_line.md")), said


def app_of(**settings: str) -> Celery:
    return Celery("shop", broker="memory://", set_as_current=False, **settings)


def test_get_without_a_backend_does_not_hang() -> None:
    result = app_of().send_task("shop.import_csv")

    with pytest.raises(NotImplementedError):
        result.get(timeout=30)


def test_get_on_an_ignored_result_returns_unless_the_result_was_made_from_an_id() -> None:
    app = app_of(backend="cache+memory://")
    ignored = app.send_task("shop.import_csv", ignore_result=True)

    assert ignored.get(timeout=30) is None
    with pytest.raises(exceptions.TimeoutError):
        app.AsyncResult(ignored.id).get(timeout=0.1)


@pytest.mark.parametrize(
    "options",
    [{"lock_args": ["pth"]}, {"lock_key": "{}"}, {"base": int}],
    ids=["lock_args", "lock_key", "base"],
)
def test_a_wrong_option_is_refused_when_the_task_is_registered(options: dict[str, Any]) -> None:
    def import_csv(path: str) -> None: ...

    app = app_of()
    locked_task(app=app, shared=False, **options)(import_csv)

    with pytest.raises(ConfigurationError):
        app.finalize()
