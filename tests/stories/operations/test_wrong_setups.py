"""Wrong set-ups: what an operator reads of each, after it has really run; set up well, nothing is found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from ...support import processes
from ...support.deadlines import eventually
from ...support.places import ROOT
from ...support.servers import Server
from ...support.workers import running_worker
from .desk import ENVIRONMENT, celery, doctor
from .shop_app import SETTINGS

APP = "tests.stories.operations.setups_app"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def url(own_server: Server) -> str:
    """Give the address of a server where nothing has happened yet."""
    return own_server.url


@pytest.fixture
def sender(url: str) -> Iterator[Celery]:
    """Give an app that calls tasks by their names."""
    with Celery("sender", broker=url, backend=url, set_as_current=False) as sender:
        yield sender


def places(url: str, **settings: Any) -> dict[str, Any]:
    """Return settings with all servers at one address."""
    return {"broker_url": url, "result_backend": url, "redislock_url": url, **settings}


def printed(level: str, settings: dict[str, Any]) -> tuple[int, list[str]]:
    """Return the exit status of the doctor, and its lines."""
    told = doctor("--fail-level", level, app=APP, **settings)
    assert told.returncode < 2, told.stdout + told.stderr
    print(told.stdout)
    return told.returncode, told.stdout.splitlines()


@pytest.mark.parametrize("lock_args", [None, ["path"]])
def test_a_time_among_the_arguments(url: str, sender: Celery, lock_args: Any) -> None:
    settings = places(url, shop_lock_args=lock_args)
    began = datetime(2026, 12, 1, 4, tzinfo=timezone.utc)
    with running_worker(APP, env={SETTINGS: json.dumps(settings)}, concurrency=2):
        calls = [
            sender.send_task(
                "shop.import_csv", ["flights.csv", (began + timedelta(seconds=number)).isoformat()]
            )
            for number in range(300)
        ]
        for call in calls:
            call.get(timeout=120, propagate=False)
    # What a worker has counted is written when it ends.
    status, lines = printed("warning", settings)

    if lock_args is None:
        assert status == 1
        finding, cure, page, *_ = lines
        assert finding.startswith("warning  RL120  shop.import_csv locks nothing: 300 runs took ")
        assert finding.endswith(
            " different locks, and none met a busy one; its name has all arguments, perhaps a time or an id "
            "among them"
        )
        assert cure == '         cure: lock_args=["path", "at"] # without those that differ in each call'
        assert page == "         see:  docs/reference/doctor.md#rl120"
    else:
        assert status == 0
        assert not [line for line in lines if "RL120" in line]


@pytest.mark.parametrize(("timeout_s", "is_found"), [(2, True), (3600, False)])
def test_a_visibility_timeout_below_the_time_of_the_task(
    url: str, sender: Celery, timeout_s: int, is_found: bool
) -> None:
    options = {"visibility_timeout": timeout_s}
    settings = places(url, broker_transport_options=options)
    with running_worker(APP, env={SETTINGS: json.dumps(settings)}, concurrency=1):
        for _ in range(2):
            sender.send_task("shop.resize", [4]).get(timeout=60)
    status, lines = printed("error", settings)

    assert status == is_found
    finding = [line for line in lines if "RL101" in line]
    assert len(finding) == is_found
    if is_found:
        assert lines[0].startswith("error    RL101  shop.resize holds its lock for ")
        assert lines[0].endswith(
            "(p99 of its runs), but after a visibility_timeout of 2 s the broker delivers its message again"
        )
        assert lines[1] == (
            "         cure: app.conf.broker_transport_options = "
            '{**app.conf.broker_transport_options, "visibility_timeout": 10}'
        )


@pytest.mark.parametrize("beats", [2, 1])
def test_two_plain_beats(url: str, tmp_path: Path, beats: int) -> None:
    schedule = {"report": {"task": "shop.report", "schedule": 1.0}}
    settings = places(url, beat_schedule=schedule)
    env = {SETTINGS: json.dumps(settings)}
    with ExitStack() as stack:
        worker = stack.enter_context(running_worker(APP, env=env, concurrency=1))
        for number in range(beats):
            command = celery(APP, "beat", "-s", str(tmp_path / f"schedule{number}"), "--pidfile=")
            output = stack.enter_context((tmp_path / f"beat{number}.log").open("wb"))
            beat = processes.start(command, output=output, env={**ENVIRONMENT, **env}, cwd=ROOT)
            stack.callback(processes.end_group, beat, grace=5)
        eventually(lambda: worker.log().count("succeeded") >= 8 * beats, 60, "the beats should send")
    status, lines = printed("error", settings)

    assert status == (beats == 2)
    found = [line for line in lines if "RL110" in line]
    assert len(found) == (beats == 2)
    assert all(
        "none is a LockedScheduler: each due time of shop.report is sent twice" in line for line in found
    )
