"""Commands: what an operator sees of the locks of a live worker, and what he can do about them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from click.testing import CliRunner

from celery_redislock import RedisLock
from celery_redislock.operations.commands import locks

from ...support.places import ROOT, python_path
from ...support.servers import Server
from . import figures
from .ends_app import SETTINGS, build
from .stage import Stage, new_key


def celery(*arguments: str, settings: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``celery -A APP ...`` as an operator does."""
    command = [sys.executable, "-m", "celery", "-A", "tests.stories.ends.ends_app", *arguments]
    env = {**os.environ, "PYTHONPATH": python_path(), SETTINGS: json.dumps(settings or {})}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=env, cwd=ROOT, timeout=100
    )


@pytest.fixture
def app(server: Server, store: str) -> Iterator[Celery]:
    """Give the application with the locks on the shared server, emptied before and after."""
    with server.client() as client:
        client.flushall()
        application = build(store, redislock_url=server.url)
        yield application
        application.close()
        client.flushall()


def invoke(app: Celery, *arguments: str) -> Any:
    """Run a command in this process."""
    return CliRunner().invoke(locks, arguments, obj=SimpleNamespace(app=app))


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_list_show_release_and_inspect_tell_of_the_lock_of_a_live_worker(stage: Stage) -> None:
    key = new_key()
    result = stage.hold("plain", key, ["sleep", 600], lock={"ttl": 3})
    name, pid = stage.lock_name("plain", key), str(stage.begun(key, result)["pid"])
    asked = {
        "list": ("locks", "list"),
        "list json": ("locks", "list", "--json"),
        "show": ("locks", "show", name),
        "show json": ("locks", "show", "--json", name.removeprefix("redislock:")),
        "release": ("locks", "release", name),
        "inspect": ("inspect", "locks", "--json"),
    }
    with ThreadPoolExecutor(3) as threads:
        said = dict(zip(asked, threads.map(lambda words: celery(*words), asked.values()), strict=True))

    (listed,) = [row for row in said["list"].stdout.splitlines() if name in row]
    assert f"/{pid} " in listed
    assert " plain " in listed
    (facts,) = [row for row in lines(said["list json"].stdout) if row["name"] == name]
    (shown,) = lines(said["show json"].stdout)
    for row in (facts, shown):
        assert row["held"] is True
        assert row["kept"] is False
        assert row["metadata"]["id"] == result.id
        assert row["metadata"]["pid"] == pid
        assert 0 < row["lease_left"] <= 3
        assert row["fencing_token"] > 0
    assert result.id in said["show"].stdout
    assert said["release"].returncode != 0
    assert "--force" in said["release"].stderr
    (of_worker,) = [
        rows for worker, rows in json.loads(said["inspect"].stdout).items() if worker == stage.worker.name
    ]
    (run,) = [row for row in of_worker if row["id"] == result.id]
    assert run["lock"] == name
    assert run["task"] == "plain"
    assert str(run["pid"]) == pid
    assert stage.is_held("plain", key), "it was released without --force"

    forced = celery("locks", "release", "--force", name)

    assert forced.returncode == 0
    assert "taken from its holder" in forced.stdout
    assert stage.ended(key, result)["error"] == "LockLost"
    stage.runs_equal("plain", key)


def test_the_token_is_never_shown(app: Celery) -> None:
    lock = app.tasks["plain"].lock_for("a")
    with lock:
        said = [invoke(app, *words).output for words in (["list"], ["list", "--json"], ["show", lock.name])]

        assert invoke(app, "show", lock.name).exit_code == 0
        assert all(lock.name in text for text in said)
        assert lock.token is not None
        assert not any(lock.token in text for text in said)


def test_a_free_lock_is_said_to_be_free(app: Celery) -> None:
    name = app.tasks["plain"].lock_name("a")

    shown, as_json = invoke(app, "show", name), invoke(app, "show", "--json", name)
    assert (shown.output, shown.exit_code) == (f"{name}: free\n", 1)
    assert (lines(as_json.output), as_json.exit_code) == ([{"name": name, "held": False}], 1)
    released = invoke(app, "release", name)
    assert released.exit_code == 0
    assert "already free" in released.output
    assert lines(invoke(app, "list", "--json").output) == []


def test_the_columns_stand_in_line_whatever_the_lock_is_called(app: Celery) -> None:
    with (
        app.tasks["plain"].lock_for("a"),
        RedisLock(app.tasks["plain"].lock_for("b").redis_client, "redislock:x"),
    ):
        headings, *rows = invoke(app, "list").output.splitlines()

    assert len(rows) == 2
    assert all(row[headings.index("lock") - 1] == " " for row in rows)
    assert all(row[headings.index("lock") :].startswith("redislock:") for row in rows)


def test_without_an_app_the_command_says_how_to_give_one() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CELERY")}
    asked = subprocess.run(
        [sys.executable, "-m", "celery", "locks", "list"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=60,
    )

    assert asked.returncode == 2
    assert asked.stderr.startswith("Error: no app is given: write `celery -A APP locks ...`")


@pytest.mark.parametrize("setting", [{"redislock_url": "http://x"}, {"redislock_ttl": "x"}], ids=str)
@pytest.mark.parametrize("program", ["worker", "beat -S celery_redislock.beat:LockedScheduler"])
def test_a_wrong_setting_ends_the_command_line_with_one_sentence(
    program: str, setting: dict[str, Any]
) -> None:
    ended = celery(*program.split(), settings=setting)

    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith(f"Error: {next(iter(setting))}")


def test_a_lock_kept_for_its_min_hold_is_released_without_force(app: Celery) -> None:
    task = app.tasks["plain"]
    lock = RedisLock(task.lock_for("a").redis_client, task.lock_name("a"), min_hold=60)
    assert lock.acquire()
    assert lock.release()
    (facts,) = lines(invoke(app, "list", "--json").output)
    assert facts["kept"] is True

    released = invoke(app, "release", lock.name)

    assert released.exit_code == 0
    assert "kept for its min_hold; released" in released.output
    assert task.lock_for("a").acquire()


def test_a_lock_of_another_program_is_listed_with_what_can_be_known(app: Celery, server: Server) -> None:
    with server.client() as client:
        client.set("redislock:elsewhere", "a-token", px=60_000)
        client.lpush("redislock:no-lock", "x")

    (facts,) = lines(invoke(app, "list", "--json").output)

    assert facts["name"] == "redislock:elsewhere"
    assert facts["metadata"] == {}


def test_redis_away_is_one_line_for_people(app: Celery) -> None:
    app.conf.redislock_url = "redis://:secret-word@127.0.0.1:1/0"

    said = invoke(app, "list")

    assert said.exit_code == 2
    assert "cannot be reached" in said.output
    assert "secret-word" not in said.output
    assert "Traceback" not in said.output


def fill(server: Server, number: int) -> None:
    with server.client() as client:
        for first in range(0, number, 5000):
            pipeline = client.pipeline(transaction=False)
            for count in range(first, min(first + 5000, number)):
                pipeline.set(f"redislock:plain:{count:032x}", "a-token", px=600_000)
            pipeline.execute()


def test_ten_thousand_locks_are_all_listed(app: Celery, server: Server) -> None:
    fill(server, 10_000)

    names = {row["name"] for row in lines(invoke(app, "list", "--json").output)}

    assert len(names) == 10_000


LISTS = """
import pathlib, re, sys, time
from types import SimpleNamespace
from tests.stories.ends.ends_app import app
from celery_redislock.operations.commands import locks

class Enough(Exception): pass

class Out:
    encoding, errors = "utf-8", "strict"
    def __init__(self, rows): self.wanted, self.rows, self.first = rows, 0, None
    def write(self, text):
        self.rows += text.count("\\n")
        if self.rows > 1 and self.first is None:
            self.first = time.monotonic() - began
        if self.rows > self.wanted: raise Enough
        return len(text)
    def flush(self): pass
    def isatty(self): return False

def peak_mb():
    # Not ru_maxrss: that begins with what the process had that started this one.
    return int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text()).group(1)) // 1024

app.finalize()
before, firsts, real = peak_mb(), [], sys.stdout
for rows, arguments in ((1, ["list", "--json"]), (1, ["list", "--json"]), (10**9, ["list"])):
    began, sys.stdout = time.monotonic(), Out(rows)
    try:
        locks(arguments, obj=SimpleNamespace(app=app), standalone_mode=False)
    except Enough:
        pass
    firsts.append(sys.stdout.first)
    rows, sys.stdout = sys.stdout.rows, real
print(rows, min(firsts), time.monotonic() - began, peak_mb(), peak_mb() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_a_hundred_thousand_locks_are_listed_as_they_are_found_or_in_order(
    app: Celery, server: Server
) -> None:
    fill(server, 100_000)
    env = {**os.environ, "PYTHONPATH": python_path(), SETTINGS: json.dumps({"redislock_url": server.url})}
    done = subprocess.run(
        [sys.executable, "-c", LISTS],
        capture_output=True,
        text=True,
        check=False,
        env=env,
        cwd=ROOT,
        timeout=100,
    )

    assert done.returncode == 0, done.stderr
    rows, first, total, peak, grown = map(float, done.stdout.split())
    memory = f"peak {peak:.0f} MB, grown by {grown:.0f} MB"
    figures.note("100,000 locks listed: first row of --json", "-", "-", first, how=memory)
    figures.note("100,000 locks listed: all, in order", "-", "-", total, how=f"{rows:.0f} rows")
    assert rows >= 100_000
    assert first < 1.0
    assert grown < 60, "a row of the table takes little: all of them are kept until they are in order"
