"""Doctor: what its command prints, and how it ends, on the real command line."""

from __future__ import annotations

import json
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from click.testing import CliRunner

from celery_redislock.operations.commands import locks

from ...support.applications import locked
from ...support.workers import running_worker
from .desk import doctor
from .shop_app import SETTINGS

#: A run may go on for longer than it can hold its lock.
BROKEN = {"task_time_limit": 3600}
AWAY = "redis://127.0.0.1:1/0"


def test_trouble_is_told_with_its_cure_and_ends_with_1(redis_url: str) -> None:
    told = doctor(redislock_url=redis_url, result_backend=redis_url, **BROKEN)

    assert told.returncode == 1, told.stderr
    first, cure, page, *_ = told.stdout.splitlines()
    assert first.startswith("error    RL106  shop.import_csv may run for 3600 s")
    assert cure == "         cure: lock_max_hold=3660"
    assert page == "         see:  docs/reference/doctor.md#rl106"
    assert "\x1b" not in told.stdout, "colours are for terminals"


def test_without_trouble_it_ends_with_0_and_says_where_it_could_not_look(redis_url: str) -> None:
    told = doctor("--json", redislock_url=redis_url, result_backend=redis_url)

    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    assert report["findings"] == []
    assert {each["layer"] for each in report["not_looked"]} <= {"live", "history"}


def test_the_configuration_alone_needs_no_redis() -> None:
    told = doctor("--config-only", "--json", redislock_url=AWAY, result_backend=AWAY, **BROKEN)

    assert told.returncode == 1, told.stderr
    (found,) = json.loads(told.stdout)["findings"]
    assert (found["id"], found["level"]) == ("RL106", "error")


def test_a_redis_that_is_away_ends_with_2_and_the_configuration_is_told() -> None:
    told = doctor("--json", redislock_url=AWAY, result_backend=AWAY, **BROKEN)

    assert told.returncode == 2, told.stderr
    report = json.loads(told.stdout)
    assert [each["id"] for each in report["findings"]] == ["RL106"]
    assert [each["layer"] for each in report["not_looked"]] == ["live", "history"]
    assert "Redis at redis://127.0.0.1:1/0 (setting redislock_url): it cannot be reached" in str(report)


@pytest.mark.parametrize(
    ("app", "complaint"),
    [("tests.stories.operations.no_such_app", "no_such_app"), ("tests.stories.operations.shop_app", "RL999")],
)
def test_what_is_no_app_or_no_rule_ends_with_2(app: str, complaint: str) -> None:
    told = doctor("--config-only", "--ignore", "RL999", app=app, redislock_url=AWAY)

    assert told.returncode == 2
    assert complaint in told.stderr
    assert "Traceback" not in told.stderr


def test_what_is_ignored_does_not_count_and_is_told_with_its_reason() -> None:
    reasons = {"RL106": "imports are short"}

    told = doctor("--config-only", redislock_url=AWAY, redislock_doctor_ignore=reasons, **BROKEN)

    assert told.returncode == 0, told.stderr
    assert "ignored  RL106  shop.import_csv may run" in told.stdout
    assert "because: imports are short" in told.stdout


def test_the_example_project_has_no_finding_above_info(redis_url: str) -> None:
    told = doctor(
        "--json", "--fail-level", "warning", app="example_project.app", env={"REDISLOCK_URL": redis_url}
    )

    assert told.returncode == 0, told.stdout + told.stderr
    assert {each["level"] for each in json.loads(told.stdout)["findings"]} <= {"info"}


def test_workers_that_differ_are_found_while_they_run(redis_url: str) -> None:
    settings = {"broker_url": redis_url, "result_backend": redis_url, "redislock_url": redis_url}
    with ExitStack() as stack:
        for ttl in (30, 60):
            env = {SETTINGS: json.dumps({**settings, "redislock_ttl": ttl})}
            app = "tests.stories.operations.shop_app"
            stack.enter_context(running_worker(app, env=env, pool="solo", concurrency=1))
        told = doctor("--json", "--ignore", "RL106", **settings)

    assert told.returncode == 1, told.stdout + told.stderr
    report = json.loads(told.stdout)
    (found,) = report["findings"]
    assert found["id"] == "RL301"
    assert "differ in the lock options of shop.import_csv" in found["message"]
    assert "lock_ttl=60.0" in found["message"]
    assert "live" not in {each["layer"] for each in report["not_looked"]}, "all rules should have looked"


@pytest.mark.parametrize(("level", "status"), [("error", 0), ("warning", 1), ("info", 1)])
def test_the_level_that_fails_can_be_lowered(level: str, status: int) -> None:
    told = in_this_process("--config-only", "--fail-level", level, redislock_ttl=1)

    assert "warning  RL105" in told.output
    assert told.exit_code == status


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--since", "nonsense"], "'nonsense' is no length of time: write 30m, 12h or 7d"),
        (["--since", "0d"], "'0d' is no length of time"),
        (["--ignore", "RL999"], "--ignore: there is no rule 'RL999'; there are RL101"),
        (["--fail-level", "fatal"], "'fatal' is not one of 'error', 'warning', 'info'"),
    ],
    ids=str,
)
def test_an_option_that_is_wrong_ends_with_2_and_says_what_is_right(
    arguments: list[str], complaint: str
) -> None:
    told = in_this_process("--config-only", *arguments)

    assert told.exit_code == 2
    assert complaint in told.output


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["RL105"], "must be a dict of reasons by id"),
        ("RL105", "must be a dict of reasons by id"),
        ({"RL105": 3}, "must give a reason why RL105 is ignored"),
        ({"RL105": " "}, "must give a reason why RL105 is ignored"),
        ({"RL999": "because"}, "there is no rule 'RL999'"),
    ],
    ids=str,
)
def test_a_setting_of_another_type_ends_with_2_and_names_the_setting(given: Any, complaint: str) -> None:
    told = in_this_process("--config-only", redislock_doctor_ignore=given)

    assert told.exit_code == 2
    assert "Error: redislock_doctor_ignore setting" in told.output
    assert complaint in told.output


@pytest.mark.parametrize(
    ("broker", "why"),
    [
        ("", "no worker has answered within 1 s (RL207, RL301)"),
        (
            "amqp://guest:secret@127.0.0.1:1//",
            "the broker cannot be reached (OperationalError) (RL207, RL301)",
        ),
    ],
    ids=["no worker", "broker away"],
)
def test_a_layer_that_cannot_be_looked_at_is_said_and_is_no_2(redis_url: str, broker: str, why: str) -> None:
    told = doctor(redislock_url=redis_url, result_backend=redis_url, broker_url=broker or redis_url)

    assert told.returncode == 0, told.stdout + told.stderr
    assert f"not looked at: live: {why}" in told.stdout.splitlines()
    assert told.stdout.splitlines()[-1] == "nothing is found where it could look"
    assert "secret" not in told.stdout + told.stderr


def test_a_module_that_cannot_be_imported_ends_with_2() -> None:
    told = in_this_process("--config-only", imports=["tests.stories.operations.no_such_module"])

    assert told.exit_code == 2
    assert "a module of the app cannot be imported: ModuleNotFoundError" in told.output


def in_this_process(*arguments: str, **settings: Any) -> Any:
    """Run the command without a process of its own."""
    app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(redislock_url=AWAY, **settings)
    locked(app, lambda: None, name="t")
    try:
        return CliRunner().invoke(locks, ["doctor", *arguments], obj=SimpleNamespace(app=app))
    finally:
        app.close()
