"""Commands: the table fits where it is shown, and is there whatever else cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from inspect import signature
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from click.testing import CliRunner, Result

from celery_redislock import RedisLock, StoreUnavailable
from celery_redislock.events import Forced, listen, unlisten
from celery_redislock.observing import statistics
from celery_redislock.operations.commands import locks
from celery_redislock.operations.formats import width_of

#: Click before 8.2 mixes what is written to both streams, unless it is told.
APART: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}

LONG = "redislock:shop.reports.monthly.build_report:0f3c1a7e5b9d2846"


@pytest.fixture(autouse=True)
def held(client: Any) -> Iterator[RedisLock]:
    """Have a lock with a long name held by a task with a long name."""
    metadata = {
        "task": "shop.reports.monthly.build_report",
        "id": "an-id",
        "host": "worker-5d8f7c",
        "pid": "712",
    }
    with RedisLock(client, LONG, expire=30, metadata=metadata) as lock:
        yield lock


def invoke(app: Celery, *arguments: str, is_terminal: bool = False, **env: str | None) -> Result:
    """Run a command as in a terminal of this width, or without one."""
    obj = SimpleNamespace(app=app)
    shown = {"COLUMNS": None, "NO_COLOR": None, **env}
    return CliRunner(**APART).invoke(locks, arguments, obj=obj, color=is_terminal, env=shown)


@pytest.mark.parametrize("columns", [80, 100])
def test_the_table_fits_the_terminal(app: Celery, columns: int) -> None:
    shown = invoke(app, "list", COLUMNS=str(columns)).stdout

    assert "shop" in shown
    assert max(map(width_of, shown.splitlines())) <= columns


def test_into_a_pipe_names_are_whole(app: Celery) -> None:
    assert invoke(app, "list").stdout.splitlines()[1].endswith(f"worker-5d8f7c/712  {LONG}")


def test_there_are_colours_on_a_terminal_only(app: Celery) -> None:
    assert "\x1b" in invoke(app, "list", is_terminal=True).stdout
    assert "\x1b" not in invoke(app, "list").stdout


@pytest.mark.parametrize("no_color", [{"NO_COLOR": "1"}])
def test_there_is_no_colour_where_it_is_unwanted(app: Celery, no_color: dict[str, str]) -> None:
    assert "\x1b" not in invoke(app, "list", is_terminal=True, **no_color).stdout


@pytest.mark.parametrize("command", [("list",), ("show", LONG)])
def test_statistics_that_cannot_be_read_fail_nothing(
    app: Celery, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    def fail(*_: Any) -> Any:
        raise StoreUnavailable("redislock:*", "it cannot be reached")

    before = [json.loads(invoke(app, *command, "--json").stdout)]
    monkeypatch.setattr(statistics, "read", fail)
    result, as_json = invoke(app, *command), invoke(app, *command, "--json")

    assert result.exit_code == as_json.exit_code == 0
    assert LONG in result.stdout
    assert "the statistics of the locks could not be read: " in result.stderr
    assert json.loads(as_json.stdout).keys() == before[0].keys()


def test_a_release_by_force_is_told_with_who_had_the_lock(app: Celery, client: Any) -> None:
    heard: list[Forced] = []
    assert RedisLock(client, "redislock:stuck", metadata={"id": "stuck-id"}).acquire()
    listen(Forced, heard.append)
    try:
        assert invoke(app, "release", "redislock:stuck", "--force").exit_code == 0
        assert invoke(app, "release", "redislock:stuck", "--force").exit_code == 0  # it is free
    finally:
        unlisten(Forced, heard.append)

    (told,) = heard
    assert (told.app, told.lock_name, told.holder and told.holder.metadata["id"]) == (
        app,
        "redislock:stuck",
        "stuck-id",
    )


def test_the_event_of_a_release_by_force_is_sent_before_the_command_ends(app: Celery, client: Any) -> None:
    app.conf.redislock_events = "rare"
    metadata = {"id": "stuck-id", "host": "worker2"}
    assert RedisLock(client, "redislock:stuck", metadata=metadata).acquire()
    events: list[dict[str, Any]] = []
    with app.connection_for_read() as given:
        receiver = app.events.Receiver(given, handlers={"lock-forced": events.append})
        with receiver.consumer_context() as (connection, *_):
            invoke(app, "release", "redislock:stuck", "--force")
            connection.drain_events(timeout=5)

    (event,) = events
    assert (event["lock"], event["holder_id"], event["holder_host"]) == (
        "redislock:stuck",
        "stuck-id",
        "worker2",
    )


def test_a_limit_is_set_printed_and_reset(app: Celery) -> None:
    assert (invoke(app, "limit", "api").exit_code, invoke(app, "limit", "api").stdout) == (
        1,
        "redislock:api: no limit is set\n",
    )

    made = invoke(app, "limit", "api", "3", "--for", "2h", "--note", "it is slow")
    assert made.exit_code == 0
    assert made.stdout.startswith("redislock:api: at most 3, set by ")
    assert made.stdout.endswith(": it is slow\n")
    assert invoke(app, "limit", "redislock:api").stdout == made.stdout
    found = json.loads(invoke(app, "limit", "api", "--json").stdout)
    assert found["name"] == "redislock:api"
    assert (found["limit"], found["paused"], found["note"]) == (3, False, "it is slow")

    assert "paused by" in invoke(app, "limit", "api", "--pause").stdout
    assert invoke(app, "limit", "api", "--reset").exit_code == 0
    assert invoke(app, "limit", "api").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["0"], "0 is not in the range"),
        (["many"], "'many' is not a valid integer"),
        (["3", "--pause"], "give one of N, --pause and --reset"),
        (["--pause", "--reset"], "give one of N, --pause and --reset"),
        (["--for", "5m"], "--for and --note go with N or --pause"),
        (["--reset", "--note", "why"], "--for and --note go with N or --pause"),
        (["3", "--for", "5"], "'5' is no length of time"),
        (["3", "--note", "n" * 201], "note must be a str of at most 200 characters"),
    ],
)
def test_a_wrong_limit_is_refused(app: Celery, arguments: list[str], said: str) -> None:
    refused = invoke(app, "limit", "api", *arguments)

    assert refused.exit_code == 2
    assert said in refused.stderr
    assert invoke(app, "limit", "api").exit_code == 1


def test_a_paused_lock_is_shown_as_one(app: Celery) -> None:
    invoke(app, "limit", "api", "--pause", "--note", "a migration")

    shown = invoke(app, "show", "api")
    assert shown.exit_code == 1
    assert shown.stdout.startswith("redislock:api: paused\n")
    assert "a migration" in shown.stdout
    assert json.loads(invoke(app, "show", "api", "--json").stdout)["held"] is False
    assert any("paused" in line for line in invoke(app, "list").stdout.splitlines())
    refused = invoke(app, "release", "api", "--force")
    assert refused.exit_code == 1
    assert "locks limit redislock:api --reset" in refused.stderr


def test_a_held_lock_stays_paused_after_a_release_by_force(app: Celery, client: Any) -> None:
    name = "redislock:api"
    assert RedisLock(client, name, 30).acquire()
    invoke(app, "limit", name, "--pause")

    assert "paused by" in invoke(app, "show", name).stdout
    assert invoke(app, "release", name, "--force").stdout.endswith("and it stays paused\n")
    assert invoke(app, "show", name).stdout.startswith(f"{name}: paused\n")


def test_a_limit_of_a_free_lock_is_shown(app: Celery) -> None:
    invoke(app, "limit", "api", "3")

    shown = invoke(app, "show", "api")
    assert shown.exit_code == 1
    assert shown.stdout.splitlines()[0] == "redislock:api: free"
    assert "at most 3" in shown.stdout
    assert json.loads(invoke(app, "show", "api", "--json").stdout)["limit"]["limit"] == 3


def test_a_shared_lock_is_one_row_with_its_holders(app: Celery, client: Any) -> None:
    holders = [RedisLock(client, "redislock:api", 30, limit=10) for _ in range(3)]
    assert all(lock.acquire() for lock in holders)

    rows = invoke(app, "list", COLUMNS="100").stdout.splitlines()
    assert [line for line in rows if "3 of 10" in line]
    assert max(map(width_of, rows)) <= 100
    invoke(app, "limit", "api", "2")
    assert any("3 of 2" in line for line in invoke(app, "list").stdout.splitlines())
    shown = invoke(app, "show", "api").stdout
    assert "slots used     0, 1, 2" in shown
    assert shown.count("  holder  ") == 3
