"""Logs: each event has one line, with flat fields for machines, and no argument's value in any of them."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from celery_redislock import Holder, LockedTask
from celery_redislock.events import Acquired, Conflicted, Event, Forced, Lost, Orphaned, Released, Waiting
from celery_redislock.log_fields import FIELDS, PREFIX
from celery_redislock.observing.logs import Log

from ...support.applications import busy, locked
from ...support.places import DOCS, ROOT

TASK: Any = SimpleNamespace(name="shop.import_csv")
LOCK: Any = SimpleNamespace(name="redislock:a", fencing_token=7)
HOLDER = Holder(
    {"id": "8f0c", "host": "worker2", "task": "shop.import_csv"},
    since=datetime.now(timezone.utc) - timedelta(seconds=12),
    lease_left=24.3,
    fencing_token=6,
)

OF_THE_CALL = {"lock", "task", "task_id", "action"}
OF_THE_HOLDER = {"holder_id", "holder_host", "held_for", "lease_left", "fencing_token"}

EVENTS: list[tuple[Event, str, set[str]]] = [
    (
        Acquired(TASK, "3f1c", LOCK, "waited", 2.5),
        "Task shop.import_csv[3f1c] has lock 'redislock:a' after 2.500 s",
        OF_THE_CALL | {"waited", "fencing_token"},
    ),
    (
        Released(TASK, "3f1c", LOCK, 2.5, is_free=True),
        "Task shop.import_csv[3f1c] gives back lock 'redislock:a' after 2.500 s",
        OF_THE_CALL | {"held_for"},
    ),
    (
        Waiting(TASK, "3f1c", LOCK, HOLDER),
        "Task shop.import_csv[3f1c] waits for lock 'redislock:a', held by: id 8f0c",
        OF_THE_CALL | OF_THE_HOLDER,
    ),
    (
        Conflicted(TASK, "3f1c", "redislock:a", "skip", HOLDER, "it is busy", waited_s=0.2),
        "Task shop.import_csv[3f1c] skip: it is busy",
        OF_THE_CALL | OF_THE_HOLDER | {"shadow", "waited"},
    ),
    (
        Conflicted(TASK, "3f1c", "redislock:a", "skip", HOLDER, "it is busy", is_shadow=True),
        "Task shop.import_csv[3f1c] would skip: it is busy",
        OF_THE_CALL | OF_THE_HOLDER | {"shadow"},
    ),
    (
        Conflicted(TASK, "3f1c", "redislock:a", "superseded", None, "superseded by 8f0c"),
        "Task shop.import_csv[3f1c] skipped: superseded by 8f0c",
        OF_THE_CALL | {"shadow"},
    ),
    (
        Orphaned(TASK, "3f1c", "redislock:a", "parent"),
        "lock 'redislock:a': released for the dead child of task shop.import_csv",
        OF_THE_CALL | {"reason"},
    ),
    (
        Orphaned(TASK, "3f1c", "redislock:a", "lease"),
        "lock 'redislock:a': an earlier run of task shop.import_csv left it behind, its lease has ended",
        OF_THE_CALL | {"reason"},
    ),
    (
        Forced(None, "redislock:a", HOLDER),
        "lock 'redislock:a': taken from its holder: id 8f0c",
        {"lock", "action"} | OF_THE_HOLDER,
    ),
]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Give what the package's loggers are told, at all levels."""
    with caplog.at_level(logging.DEBUG, "celery_redislock"):
        yield caplog


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of a record, without what they begin with."""
    return {
        name.removeprefix(PREFIX): value for name, value in vars(record).items() if name.startswith(PREFIX)
    }


@pytest.mark.parametrize(("event", "text", "fields"), EVENTS, ids=[type(each[0]).__name__ for each in EVENTS])
def test_an_event_has_one_line_with_its_fields(
    event: Event, text: str, fields: set[str], log: pytest.LogCaptureFixture
) -> None:
    Log().hear(event)

    (record,) = log.records
    assert record.getMessage().startswith(text)
    assert fields_of(record).keys() == fields
    assert fields <= {field.name for field in FIELDS}


@pytest.mark.parametrize(
    "event",
    [
        Conflicted(TASK, "3f1c", "redislock:a", "put_off", HOLDER, "delayed"),
        Lost(TASK, "3f1c", LOCK, "taken", "it is free, or another holder has it"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_has_its_line_elsewhere_is_not_logged_twice(event: Event, log: pytest.LogCaptureFixture) -> None:
    Log().hear(event)

    assert log.records == []


def test_the_fields_say_who_has_the_lock_and_for_how_long(log: pytest.LogCaptureFixture) -> None:
    Log().hear(Conflicted(TASK, "3f1c", "redislock:a", "skip", HOLDER, "it is busy", waited_s=0.2))

    fields = fields_of(log.records[0])
    assert fields.pop("held_for") >= 12
    assert fields == {
        "lock": "redislock:a",
        "task": "shop.import_csv",
        "task_id": "3f1c",
        "action": "skip",
        "shadow": False,
        "holder_id": "8f0c",
        "holder_host": "worker2",
        "lease_left": 24.3,
        "waited": 0.2,
        "fencing_token": 6,
    }


def test_each_action_has_its_row_in_the_reference() -> None:
    page = (DOCS / "reference" / "logs.md").read_text(encoding="utf-8")
    lines = page.partition("## Lines")[2]
    documented = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", lines, re.MULTILINE))))

    source = "\n".join(path.read_text() for path in (ROOT / "celery_redislock").rglob("*.py"))
    of_lines = re.findall(r'action="(\w+)"|_facts\(task, "(\w+)"|_(?:own|call)\(event, .*?"(\w+)"\)', source)
    assert {word for words in of_lines for word in words if word} - {"forced"} <= documented
    assert {"skip", "retry", "fail", "coalesce", "replace", "callable", "superseded", "forced"} <= documented


def test_no_field_has_an_arguments_value(app: Celery, log: pytest.LogCaptureFixture) -> None:
    task = locked(app, lambda word: None, name="t", lock_wait=0.05)
    with busy(task, "a secret"):
        task.apply(("a secret",))
    task.apply(("a secret",))

    told = [record for record in log.records if fields_of(record)]
    assert [fields_of(record)["action"] for record in told] == ["waits", "skip", "acquired", "released"]
    assert "a secret" not in "".join(f"{record.getMessage()} {vars(record)}" for record in log.records)


def test_a_lost_lock_of_a_task_is_logged_with_its_task_and_its_fence(
    app: Celery, log: pytest.LogCaptureFixture
) -> None:
    def lose(self: Any) -> Any:
        fence = self.lock.fencing_token
        self.lock.redis_client.delete(self.lock.name)
        self.lock.renew()
        return fence

    task: LockedTask = locked(app, lose, name="t", bind=True, lock_on_lost="continue")
    result = task.apply()

    (record,) = [record for record in log.records if "is lost" in record.getMessage()]
    fields = fields_of(record)
    assert (fields["task"], fields["task_id"], fields["action"]) == ("t", result.id, "lost")
    assert fields["lock"] == "redislock:t"
    assert fields["fencing_token"] == result.result


def test_a_process_that_imports_one_module_only_logs_too(redis_url: str) -> None:
    program = f"""
import logging
from celery import Celery
from celery_redislock.task.locked_task import LockedTask

logging.basicConfig(level="INFO", format="%(message)s")
app = Celery(broker="memory://", backend="cache+memory://")
app.conf.redislock_url = {redis_url!r}

@app.task(base=LockedTask, name="alone")
def alone(): pass

with alone.lock_for():
    alone.apply()
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )

    assert "skip: lock 'redislock:alone' is busy" in ended.stderr
