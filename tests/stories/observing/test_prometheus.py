"""Prometheus: what real workers and beats serve is what ran, whatever became of the processes that ran it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import redis

from celery_redislock import RedisLock
from celery_redislock.observing.metrics import COUNTER, GAUGE, METRICS
from celery_redislock.observing.prometheus import DIRECTORY

from ...support import processes
from ...support.deadlines import eventually
from ...support.exported import EXPORTED, Exported
from ...support.places import ROOT, python_path
from ...support.servers import Server
from ...support.stores import STORE
from ...support.workers import Worker, running_worker
from . import metered_app
from .metered import (
    BOUND,
    Metered,
    Page,
    a_lock_is_lost,
    a_run_comes_again,
    a_run_waits,
    conflicts_are_met,
    everything_is_zero,
    last_numbers,
    runs_are_merged,
    runs_end,
    states,
    waiters_of,
)

HERE = "tests.stories.observing"
APP = f"{HERE}.metered_app"
PROCESSES = 4


@pytest.fixture
def store(metered_store: str) -> str:
    """Give the address of the server."""
    return metered_store


@contextmanager
def metered(store: str, directory: Path, **env: str) -> Iterator[Metered]:
    settings = {STORE: store, DIRECTORY: str(directory), **env}
    with running_worker(APP, env=settings, concurrency=PROCESSES) as worker:
        yield Metered(worker, store)


def test_every_counter_is_what_ran(store: str, tmp_path: Path) -> None:
    with metered(store, tmp_path) as it:
        everything_is_zero(it)

        runs_end(it)
        conflicts_are_met(it)
        a_run_comes_again(it)
        runs_are_merged(it)
        a_run_waits(it)
        a_lock_is_lost(it)
        children_are_killed_as_they_run(it)
        it.is_counted()

        recycled = len([*tmp_path.glob("counter_*.db")])
        assert recycled > PROCESSES + 1, "some children should have ended after three tasks"
        the_others_are_killed_too(it)
        it.is_counted()
        assert set(it.page.all()) >= {("redislock_running", task) for task in ("returns", "loses")}


def children_are_killed_as_they_run(it: Metered) -> None:
    it.expect_runs("returns", 2, died=2)
    it.expect(2, "orphans_total", "parent", "returns")
    killed = [metered_app.returns.delay(f"d{number}", "die") for number in range(2)]
    assert states(killed) == ["FAILURE"] * 2


def the_others_are_killed_too(it: Metered) -> None:
    before = it.worker.children()
    for child in before:
        os.kill(child, signal.SIGKILL)
    eventually(lambda: not {*before} & {*it.worker.children()}, BOUND)
    it.expect_runs("returns", 1)
    assert it.ended(metered_app.returns, "after") == ["SUCCESS"]


def test_what_is_counted_later_dies_with_the_child(store: str, tmp_path: Path) -> None:
    with metered(store, tmp_path, **{metered_app.LATER: "1"}) as it:
        it.expect_runs("returns", 1, died=1)
        it.expect(1, "orphans_total", "parent", "returns")
        metered_app.returns.delay("d", "die")
        eventually(lambda: it.page.all()["redislock_orphans_total", "parent", "returns"], BOUND)

        assert it.differs()


def test_a_worker_with_children_stops_without_the_directory(store: str) -> None:
    env = {**os.environ, "PYTHONPATH": python_path(), STORE: store}
    command = [sys.executable, "-m", "celery", "-A", APP, "worker", "-P", "prefork"]
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)

    assert ended.returncode != 0
    (said,) = [line for line in ended.stderr.splitlines() if DIRECTORY in line]
    assert "redislock_metrics setting" in said


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent", "eventlet"])
def test_a_pool_without_children_counts_in_its_own_process(pool: str, store: str, tmp_path: Path) -> None:
    assert DIRECTORY not in os.environ
    exported = Exported(tmp_path / "exported")
    env = {STORE: store, EXPORTED: str(exported.path)}
    concurrency = 1 if pool == "solo" else 4
    with running_worker(f"{HERE}.pooled_app", env=env, pool=pool, concurrency=concurrency) as worker:
        it = Metered(worker, store)
        everything_is_zero(it)
        runs_end(it)
        others_have_the_lock(it, pool)
        a_lock_is_lost(it)
        it.is_counted()

    counted = last_numbers(exported)
    assert counted == {key: value for key, value in it.expected.items() if key[0] in counted_by_both()}


def test_what_seldom_becomes_of_a_run_is_counted_by_its_word(store: str) -> None:
    with running_worker(APP, env={STORE: store}, pool="threads", concurrency=4) as worker:
        it = Metered(worker, store)
        a_run_is_replaced(it)
        a_function_that_decides_fails(it)
        a_lock_is_taken_and_another_held_for_too_long(it)
        a_worker_stands_still(it)
        it.is_counted()


def a_run_is_replaced(it: Metered) -> None:
    it.expect_runs("replaces", 2)
    it.expect(1, "conflicts_total", "replace", "false", "replaces")
    it.expect(1, "lost_total", "replaced", "replaces")
    replaced = metered_app.replaces.delay("r", "wait_for_the_loss")
    it.wait_until_begun("r")
    assert states([metered_app.replaces.delay("r", "go_on"), replaced]) == ["REVOKED", "SUCCESS"]


def a_function_that_decides_fails(it: Metered) -> None:
    it.expect(1, "conflicts_total", "callable", "false", "asks")
    with metered_app.asks.lock_for("a", ""):
        assert it.ended(metered_app.asks, "a") == ["FAILURE"]


def a_lock_is_taken_and_another_held_for_too_long(it: Metered) -> None:
    it.expect_runs("loses", 1)
    it.expect(1, "lost_total", "taken", "loses")
    it.expect_runs("bounded", 1)
    it.expect(1, "lost_total", "max_hold", "bounded")
    taken = metered_app.loses.delay("taken", "wait_for_the_loss")
    it.wait_until_begun("taken")
    lock = metered_app.loses.lock_for("taken", "")
    lock.redis_client.set(lock.name, "a thief's", px=60_000)
    bounded = metered_app.bounded.delay("b", "wait_for_the_loss")
    assert states([taken, bounded]) == ["SUCCESS"] * 2


def a_worker_stands_still(it: Metered) -> None:
    """For longer than its lease lasts: as it goes on, its own clock says that the lease has ended."""
    it.expect_runs("loses", 1)
    it.expect(1, "lost_total", "expired", "loses")
    result = metered_app.loses.delay("still", "wait_for_the_loss")
    it.wait_until_begun("still")
    it.worker.pause()
    lock = metered_app.loses.lock_for("still", "")
    eventually(lambda: not lock.locked(), BOUND, "the lease should end")
    it.worker.resume()
    assert states([result]) == ["SUCCESS"]


def others_have_the_lock(it: Metered, pool: str) -> None:
    """Also in a pool that runs one task after the other: the locks are held from here."""
    it.expect(3, "conflicts_total", "skip", "false", "skips")
    with metered_app.skips.lock_for(f"s-{pool}", ""):
        assert it.ended(metered_app.skips, f"s-{pool}", times=3) == ["REVOKED"] * 3
    it.expect_runs("waits", 1, waited=1)
    with metered_app.waits.lock_for(f"w-{pool}", "") as lock:
        result = metered_app.waits.delay(f"w-{pool}", "go_on")
        eventually(lambda: waiters_of(f"w-{pool}") == 1, BOUND)
        lock.release()
        assert states([result]) == ["SUCCESS"]


def counted_by_both() -> set[str]:
    return {metric.name for metric in METRICS if metric.kind == COUNTER}


def test_the_lock_of_a_killed_worker_is_counted_when_its_message_comes_again(store: str) -> None:
    def worker(queue: str) -> AbstractContextManager[Worker]:
        return running_worker(APP, env={STORE: store}, pool="threads", concurrency=1, args=("-Q", queue))

    with worker("first") as first, worker("second") as second:
        it = Metered(second, store)
        metered_app.late.apply_async(("killed", "wait"), queue="first")
        it.wait_until_begun("killed")
        first.kill()
        deliver_again(store, "second")
        it.expect(1, "conflicts_total", "put_off", "false", "late")
        it.expect_runs("late", 1)
        it.expect(1, "orphans_total", "lease", "late")
        it.journal.open("killed")
        it.is_counted()

        second.wait_for_log("an earlier run of task late left it behind")


def deliver_again(store: str, queue: str) -> None:
    """Put the only message that is not acknowledged into a queue, as the broker does."""
    with redis.Redis.from_url(f"{store}/1") as messages:
        (kept,) = messages.hvals("unacked")
        message = json.loads(kept)[0]
        message["headers"]["redelivered"] = True
        message["properties"]["delivery_info"].update(redelivered=True, exchange="", routing_key=queue)
        messages.rpush(queue, json.dumps(message))


@contextmanager
def running(command: list[str], store: str, line: str) -> Iterator[Page]:
    """Run a command of Celery, and give the page that it serves once it has written a line."""
    with started(command, store, line) as log:
        yield Page(log)


@contextmanager
def started(command: list[str], store: str, line: str, app: str = APP, **more: str) -> Iterator[str]:
    """Run a command of Celery, and give what it has written once it has written a line."""
    env = {**os.environ, "PYTHONPATH": python_path(), "PYTHONUNBUFFERED": "1", STORE: store, **more}
    with tempfile.NamedTemporaryFile(prefix="serving-", suffix=".log") as output:
        log = Path(output.name)
        program = [sys.executable, "-m", "celery", "-A", app, *command]
        process = processes.start(program, output=output, env=env, cwd=ROOT)
        try:
            eventually(lambda: line in log.read_text(), BOUND, f"it should write {line!r}")
            yield log.read_text()
        finally:
            processes.end_group(process, grace=10)


def test_a_beat_serves_its_ticks(store: str, tmp_path: Path) -> None:
    command = ["beat", "-l", "INFO", "-S", "celery_redislock.beat:LockedScheduler"]
    command += ["-s", str(tmp_path / "schedule")]
    with running(command, store, "locks: metrics at") as page:
        assert page.all()["redislock_beat_ticks_total", "often", "lost"] == 0
        eventually(lambda: page.all()["redislock_beat_ticks_total", "often", "sent"] >= 2, BOUND)
        shown = page.all()

    assert shown["redislock_beat_leader", "beat"] == 1
    assert shown["redislock_schedule_interval_seconds", "often", "returns"] == 1
    assert shown["redislock_beat_last_tick_timestamp_seconds", "often"] > 0


def test_the_exporter_serves_what_redis_knows_and_that_it_is_away(own_server: Server) -> None:
    store = own_server.url.removesuffix("/0")
    with running(["locks", "exporter", "--port", "0", "--bind", "127.0.0.1"], store, "metrics at") as page:
        with own_server.client() as client, RedisLock(client, "redislock:a", metadata={"task": "returns"}):
            shown = page.all()
            assert shown["redislock_up",] == shown["redislock_held", "returns"] == 1
            assert shown["redislock_held", "skips"] == 0
        own_server.kill()
        eventually(lambda: page.all() == {("redislock_up",): 0}, BOUND, "it should say that Redis is away")
        own_server.restart(keep_data=False)
        eventually(lambda: page.all()["redislock_up",] == 1, BOUND, "it should find Redis again")


def test_the_exporter_has_opentelemetry_tell_what_redis_knows(own_server: Server, tmp_path: Path) -> None:
    store = own_server.url.removesuffix("/0")
    exported = Exported(tmp_path / "exported")
    command, app = ["locks", "exporter", "--opentelemetry"], f"{HERE}.fleet_app"
    with (
        started(command, store, "are exported", app, **{EXPORTED: str(exported.path)}),
        own_server.client() as client,
    ):
        held = ("redislock_held", "returns")
        with RedisLock(client, "redislock:a", metadata={"task": "returns"}):
            eventually(lambda: last_numbers(exported, GAUGE).get(held) == 1, BOUND, "it should be seen")
            assert last_numbers(exported, GAUGE)["redislock_held", "skips"] == 0
        eventually(lambda: last_numbers(exported, GAUGE)[held] == 0, BOUND, "it should be free")
        own_server.kill()
        eventually(lambda: last_numbers(exported, GAUGE) == {("redislock_up",): 0}, BOUND, "it is away")


def test_the_exporter_stops_where_nothing_exports(store: str) -> None:
    env = {**os.environ, "PYTHONPATH": python_path(), STORE: store}
    command = [sys.executable, "-m", "celery", "-A", APP, "locks", "exporter", "--opentelemetry"]
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 2
    assert "has nothing that exports metrics" in ended.stderr
