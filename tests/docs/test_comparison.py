"""Comparison: each row of the README's table is what the packages do, on a real server with a real worker.

A test finds out what they do and says it in the words of the table. A cell ``-`` has nothing to say: the
package does no such thing. A cell ``yours`` leaves it to the code of the user.
"""

from __future__ import annotations

import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import distribution, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kombu
import pytest
import redis
from celery import Celery, Task
from celery_once import AlreadyQueued, QueueOnce
from celery_singleton import Singleton
from click.testing import CliRunner

from celery_redislock import LockedTask

from ..support import processes
from ..support.applications import locked
from ..support.deadlines import eventually
from ..support.places import README, ROOT
from ..support.stores import own_store_of
from ..support.workers import Worker, running_worker
from . import compared_app
from .compared_app import (
    COOKBOOK,
    DATABASES,
    ONCE,
    OURS,
    PACKAGES,
    REDBEAT,
    REDIS_PY,
    SHORT,
    SHORT_S,
    SINGLETON,
    app,
    client_of,
    journal,
)

pytestmark = pytest.mark.skipif(
    version("redis").startswith(("5.", "6.", "7.")), reason="the table is of the newest"
)

LOCKS_OF_TASKS = [package for package in PACKAGES if package != REDBEAT]

#: As it is installed, where it is.
DISTRIBUTIONS = {
    OURS: "celery-redislock",
    ONCE: "celery-once",
    SINGLETON: "celery-singleton",
    REDBEAT: "celery-redbeat",
    REDIS_PY: "redis",
}

NOTHING, YOURS = "-", "yours"


def table() -> dict[str, list[str]]:
    """Read the README's table: its rows, by what stands at their head."""
    text = README.read_text(encoding="utf-8")
    found = re.search(r"^\| \| `?celery_redislock`? \|.*?\n\n", text, re.M | re.S)
    assert found, "the README should have the table"
    rows = [line.strip().strip("|").split("|") for line in found[0].strip().splitlines()]
    head, _, *others = [[cell.strip() for cell in row] for row in rows]
    return {row[0]: row[1:] for row in (head, *others)}


SHOWN: set[str] = set()


def shows(row: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Mark a test as the one that shows a row."""
    SHOWN.add(row)
    return pytest.mark.parametrize("row", [pytest.param(row, id=re.sub(r"\W+", "-", row).strip("-"))])


def says(row: str, seen: dict[str, str]) -> bool:
    """Tell whether a row of the table says what was seen, and nothing of what was not."""
    cells = dict(zip(PACKAGES, table()[row], strict=True))
    said = {package: cell for package, cell in cells.items() if cell not in {NOTHING, YOURS}}
    assert said == seen
    return True


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """Run one worker for the tasks of all packages."""
    with (
        own_store_of(app, compared_app.configure),
        running_worker("tests.docs.compared_app", env={}, concurrency=8) as running,
    ):
        yield running
        for package in PACKAGES:
            client_of(package).close()
        journal().client.close()


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> None:
    """Begin each test without the locks that others have left."""
    if "worker" in request.fixturenames:
        request.getfixturevalue("worker")
        for package in PACKAGES:
            client_of(package).flushdb()


def task(package: str) -> Any:
    return app.tasks[package]


def begun(name: str, key: str, times: int = 1) -> None:
    eventually(lambda: journal().count("begun", name, key) >= times, 40, f"{name} should begin {key}")


def open_gates(name: str, key: str, times: int = 5) -> None:
    journal().open(f"{name}:{key}", times)


def hold(name: str, key: str) -> Any:
    """Publish a call, and return when its body runs: it stays there until the gates are opened."""
    result = app.tasks[name].delay(key, "gate")
    begun(name, key)
    return result


def all_is_done() -> None:
    """Wait until no message waits, runs, or is on its way between the two."""

    def nothing_waits() -> bool:
        time.sleep(0.02)
        return not (broker.llen("celery") or broker.hlen("unacked"))

    with redis.Redis.from_url(app.conf.broker_url) as broker:
        eventually(lambda: all(nothing_waits() for _ in range(10)), 40, "every message should be done with")


def keys_of(package: str) -> list[bytes]:
    """List the keys of locks that are there."""
    pattern = "redislock:*" if package == OURS else "*"
    return [key for key in client_of(package).keys(pattern) if b":zset" not in key and b"statics" not in key]


def seconds_left(package: str) -> float:
    """Return when the lock that is there ends by itself; 0: there is none."""
    ends = [client_of(package).pttl(key) for key in keys_of(package)]
    return max((math.inf if end == -1 else end / 1000 for end in ends), default=0)


def in_words(package: str) -> str:
    """Return when the lock of what has ended is free."""
    left = seconds_left(package)
    terms = {"10 minutes": 600, "25 minutes": 1500, "1 hour": 3600}
    for words, seconds in terms.items():
        if seconds - 60 < left <= seconds:
            return words
    return {0: "at once", math.inf: "never"}.get(left, f"{left:g} s")


@contextmanager
def running_beat(
    scheduler: str, folder: Path, **settings: Any
) -> Iterator[processes.subprocess.Popen[bytes]]:
    """Run a beat of the app until the block ends."""
    command = [sys.executable, "-m", "celery", "-A", "tests.docs.compared_app", "beat", "-S", scheduler]
    command += ["-s", str(folder / "schedule"), "--pidfile", "", "-l", "DEBUG"]
    settings_of_env = {f"COMPARED_{name}": str(value) for name, value in settings.items()}
    with (folder / "beat.log").open("wb") as output:
        process = processes.start(command, output=output, env={**os.environ, **settings_of_env}, cwd=ROOT)
        try:
            yield process
        finally:
            processes.end_group(process, grace=15)


def test_the_table_is_of_the_versions_that_are_tried() -> None:
    head = table()[""]
    named = dict(zip(PACKAGES, head, strict=True))

    for package in (ONCE, SINGLETON, REDBEAT, REDIS_PY):
        said = re.search(r"[\d.]+", named[package])
        assert said, named[package]
        assert version(DISTRIBUTIONS[package]).startswith(said[0])


def test_each_row_of_the_table_is_shown_by_a_test() -> None:
    assert table().keys() - {""} == SHOWN


@shows("The lock of a killed process is free after")
def test_when_the_lock_of_a_killed_process_is_free(row: str, worker: Worker, tmp_path: Path) -> None:
    with running_beat("redbeat.RedBeatScheduler", tmp_path) as beat:
        eventually(lambda: client_of(REDBEAT).exists("redbeat::lock"), 40)
        beat.send_signal(signal.SIGKILL)
        beat.wait()
    for package in LOCKS_OF_TASKS:
        result = task(package).delay("killed", "die")
        begun(package, "killed")
        eventually(result.ready, 40)
    eventually(lambda: not keys_of(OURS), 20)

    seen = {package: in_words(package) for package in PACKAGES}

    # The whole worker or its host may be lost, too: then the lease ends.
    assert task(OURS).plan_for().options.ttl_ms == 30_000
    assert says(row, {**seen, OURS: f"{seen[OURS]}; the whole worker or its host: 30 s"})


@shows("The lock is renewed while the task runs")
def test_whose_lock_outlasts_its_lease(row: str, worker: Worker, tmp_path: Path) -> None:
    with running_beat("redbeat.RedBeatScheduler", tmp_path, redbeat_lock_timeout=4, beat_max_loop_interval=1):
        eventually(lambda: 0 < seconds_left(REDBEAT) < 3.5, 40)
        eventually(lambda: seconds_left(REDBEAT) > 3.5, 10)
    firsts = {package: hold(package + SHORT, "long") for package in LOCKS_OF_TASKS}
    longer_than_a_lease = time.monotonic() + 2 * SHORT_S
    eventually(lambda: time.monotonic() > longer_than_a_lease)

    seconds = {package: task(package + SHORT).delay("long", "gate") for package in LOCKS_OF_TASKS}

    seen = {REDBEAT: "yes"}
    for package, second in seconds.items():
        name = package + SHORT
        eventually(lambda n=name, s=second: s.ready() or journal().count("begun", n, "long") == 2, 40)
        seen[package] = "yes" if journal().count("begun", name, "long") == 1 else "no"
        open_gates(name, "long")
    for result in firsts.values():
        eventually(result.ready, 40)
    assert says(row, seen)


@shows("A run cannot free the lock of another")
def test_whose_lock_is_freed_by_its_owner_alone(row: str, worker: Worker, tmp_path: Path) -> None:
    seen = {}
    with running_beat("redbeat.RedBeatScheduler", tmp_path, beat_max_loop_interval=300) as beat:
        eventually(lambda: client_of(REDBEAT).exists("redbeat::lock"), 40)
        client_of(REDBEAT).set("redbeat::lock", "another")
        beat.send_signal(signal.SIGTERM)
        beat.wait(30)
        seen[REDBEAT] = "yes" if client_of(REDBEAT).get("redbeat::lock") == b"another" else "no"
    for package in LOCKS_OF_TASKS:
        hold(package, "overtaken")
        (key,) = keys_of(package)
        client_of(package).set(key, "another")  # as after an expiry, an eviction or a flush
        open_gates(package, "overtaken")
        # Not only its result is there: some packages free the lock after it.
        all_is_done()

        seen[package] = "yes" if client_of(package).get(key) == b"another" else "no"
    assert says(row, seen)


@shows("A retry by `self.retry()`")
def test_who_can_retry(row: str, worker: Worker) -> None:
    seen = {}
    for package in LOCKS_OF_TASKS:
        task(package).delay("again", "retry")
        begun(package, "again")
        all_is_done()
        seen[package] = {1: "never runs", 2: "runs"}[journal().count("ended", package, "again")]
    assert says(row, seen)


@shows("`Ignore` and `Reject` free the lock after")
def test_when_the_lock_of_an_ignored_run_is_free(row: str, worker: Worker) -> None:
    seen = {}
    for package in LOCKS_OF_TASKS:
        terms = set()
        for step in ("ignore", "reject"):
            client_of(package).flushdb()
            task(package).delay(step, step)
            begun(package, step)
            all_is_done()
            terms.add(in_words(package))
        (seen[package],) = terms
    assert says(row, seen)


@shows("A message that is delivered twice runs")
def test_how_often_runs_what_is_delivered_twice(row: str, worker: Worker) -> None:
    results = {package: hold(package, "twice") for package in LOCKS_OF_TASKS}
    with kombu.Connection(app.conf.broker_url) as connection:
        channel = connection.default_channel
        for tag in channel.client.hkeys("unacked"):  # as after the `visibility_timeout`
            channel.qos.restore_by_tag(tag, leftmost=False)

    for package, result in results.items():
        told = f"Task {package}[{result.id}] received"
        eventually(lambda t=told: worker.log().count(t) >= 2, 40, told)
    for package in (ONCE, SINGLETON):
        begun(package, "twice", times=2)

    seen = {}
    for package in LOCKS_OF_TASKS:
        at_once = journal().count("begun", package, "twice")
        seen[package] = {1: "once", 2: "twice at the same time"}[at_once]
    for package, result in results.items():
        open_gates(package, "twice")
        eventually(result.ready, 60)
    assert says(row, seen)


@shows("A call by name (`send_task`) is locked")
def test_who_locks_a_call_by_name(row: str, worker: Worker) -> None:
    seen = {}
    for package in LOCKS_OF_TASKS:
        first = hold(package, "by name")
        second = app.send_task(package, ("by name", "gate"))
        eventually(lambda p=package, s=second: s.ready() or journal().count("begun", p, "by name") == 2, 40)
        seen[package] = "yes" if journal().count("begun", package, "by name") == 1 else "no"
        open_gates(package, "by name")
        eventually(first.ready, 40)
    assert says(row, seen)


@shows('`f(1)` and `f(a=1)` share a lock, `f("1")` does not')
def test_which_calls_are_one(row: str, worker: Worker) -> None:
    def f(a: Any) -> None: ...

    def named(base: type[Task], name_of: Callable[..., Any], **options: Any) -> str:
        function = app.task(base=base, name=f"named by {base.__name__}", shared=False, **options)(f)
        one, the_same, other = (
            name_of(function, *call) for call in [((1,), {}), ((), {"a": 1}), (("1",), {})]
        )
        return "yes" if one == the_same != other else "no"

    seen = {
        OURS: named(LockedTask, lambda task, args, kwargs: task.lock_name(*args, **kwargs)),
        ONCE: named(QueueOnce, lambda task, args, kwargs: task.get_key(args, kwargs)),
        SINGLETON: named(Singleton, lambda task, args, kwargs: task.generate_lock(task.name, args, kwargs)),
    }
    assert says(row, seen)


@shows("A call that is not run")
def test_what_becomes_of_a_call_that_is_not_run(row: str, worker: Worker) -> None:
    seen = {}
    for package in LOCKS_OF_TASKS:
        first = hold(package, "skipped")
        try:
            second = task(package).delay("skipped", "gate")
        except AlreadyQueued:
            seen[package] = "raises in the caller"
        else:
            if second.id == first.id:
                seen[package] = "gives the first result"
            else:
                eventually(second.ready, 40)
                seen[package] = f"ends as `{second.state}`"
        open_gates(package, "skipped")
        eventually(first.ready, 40)
    del seen[REDIS_PY]
    assert says(row, seen)


@shows("Calls during a run are merged into one more run")
def test_who_runs_once_more(row: str, worker: Worker) -> None:
    seen = {}
    for package in LOCKS_OF_TASKS:
        options = {"lock": {"on_conflict": "coalesce"}} if package == OURS else {}
        first = hold(package, "changed")
        later = []
        for _ in range(3):
            try:
                later.append(task(package).apply_async(("changed", "gate"), **options))
            except AlreadyQueued:
                continue
        for result in later:
            if package == OURS:
                worker.wait_for_log(f"{result.id}] ignored", 40)
            elif result.id != first.id:
                eventually(result.ready, 40)
        open_gates(package, "changed")
        for result in [first, *later]:
            eventually(result.ready, 40)
        seen[package] = {1: "no", 2: "yes"}[journal().count("ended", package, "changed")]
    assert says(row, {**seen, OURS: f'{seen[OURS]}, with `"coalesce"`'})


@shows("While a call waits in the queue, an equal one is not published")
def test_who_publishes_once(row: str, worker: Worker) -> None:
    seen = {}
    for package in LOCKS_OF_TASKS:
        queue = f"nobody reads {package}"
        options = {"lock": {"scope": "task"}} if package == OURS else {}
        for _ in range(2):
            try:
                task(package).apply_async(("waits", "gate"), queue=queue, **options)
            except AlreadyQueued:
                continue
        with redis.Redis.from_url(app.conf.broker_url) as broker:
            seen[package] = {1: "yes", 2: "no"}[broker.llen(queue)]
    assert says(row, {**seen, OURS: f'{seen[OURS]}, with `lock_scope="task"`'})


@shows("Of several beats one sends; when it is killed, another one takes over after")
def test_when_another_beat_takes_over(row: str, worker: Worker, tmp_path: Path) -> None:
    seen = {}
    for package, scheduler, key in (
        (REDBEAT, "redbeat.RedBeatScheduler", "redbeat::lock"),
        (OURS, "celery_redislock.beat:LockedScheduler", "redislock:beat:beat"),
    ):
        with running_beat(scheduler, tmp_path) as beat:
            eventually(lambda p=package, k=key: client_of(p).exists(k), 40)
            beat.send_signal(signal.SIGKILL)
            beat.wait()
        left = seconds_left(package)
        seen[package] = "16 s" if 1 < left <= 15 else in_words(package)
    assert says(row, seen)


@shows("Fencing tokens")
def test_who_has_fencing_tokens(row: str, worker: Worker) -> None:
    with task(OURS).lock_for("fenced", "") as lock:
        assert lock.fencing_token
    seen = dict.fromkeys(PACKAGES, "no")
    for package, name in DISTRIBUTIONS.items():
        sources = (path.locate() for path in distribution(name).files or () if path.suffix == ".py")
        if package != OURS and any(b"fencing" in Path(str(source)).read_bytes() for source in sources):
            seen[package] = "yes"
    assert says(row, {**seen, OURS: "yes"})


@shows("A command lists and frees locks")
def test_who_has_a_command(row: str) -> None:
    seen = {COOKBOOK: "no"}
    for package, name in DISTRIBUTIONS.items():
        commands = distribution(name).entry_points.select(group="celery.commands")
        seen[package] = "yes" if commands else "no"
    assert says(row, seen)


@shows("A command finds settings that break the lock, with the cure")
def test_who_has_a_command_that_finds_what_is_wrong(row: str) -> None:
    seen = dict.fromkeys(PACKAGES, "no")
    for package, name in DISTRIBUTIONS.items():
        for command in distribution(name).entry_points.select(group="celery.commands"):
            broken = Celery("broken", broker="redis://localhost:1", set_as_current=False)
            locked(broken, lambda: None, name="import", time_limit=3600, lock_max_hold=60)
            obj = SimpleNamespace(app=broken)
            said = CliRunner().invoke(command.load(), ["doctor", "--config-only"], obj=obj)
            if said.exit_code == 1 and "lock_max_hold=" in said.output.partition("cure:")[2]:
                seen[package] = "yes"
    assert says(row, seen)


def test_each_package_has_a_database_of_its_own() -> None:
    assert len(set(DATABASES.values())) == len(PACKAGES)
