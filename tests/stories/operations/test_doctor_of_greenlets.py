"""Doctor of greenlets: a body that computes holds up the renewals of its process, and the doctor says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from celery import Celery

from ...support.workers import running_worker
from .crawl_app import STORE
from .desk import doctor

APP = "tests.stories.operations.crawl_app"


def found(url: str) -> list[Any]:
    """Return what the doctor finds of RL105."""
    told = doctor("--json", app=APP, env={STORE: url})
    assert told.returncode < 2, told.stdout + told.stderr
    return [each for each in json.loads(told.stdout)["findings"] if each["id"] == "RL105"]


@pytest.mark.usefixtures("client")  # an empty server: what is counted stays
@pytest.mark.timeout(200)
@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
@pytest.mark.parametrize(("computes_s", "is_found"), [(4.5, True), (0.1, False)])
def test_a_body_that_computes_beside_a_short_lease_is_found(
    redis_url: str, pool: str, computes_s: float, is_found: bool
) -> None:
    pytest.importorskip(pool)
    sender = Celery("sender", broker=redis_url, backend=redis_url, set_as_current=False)
    with running_worker(APP, env={STORE: redis_url}, pool=pool, concurrency=10):
        # Renewed each two seconds: the computing one keeps that from being done in time.
        waits = sender.send_task("crawl.fetch", [computes_s + 3])
        sender.send_task("crawl.index", [computes_s], countdown=0.5).get(timeout=60)
        waits.get(timeout=60)
    # What a worker has counted is written when it ends.
    with running_worker(APP, env={STORE: redis_url}, pool=pool, concurrency=10) as worker:
        problems = found(redis_url)

    sender.close()
    assert [each["message"].split(" is ")[0].split(" of ")[-1] for each in problems] == [
        "crawl.fetch"
    ] * is_found
    assert all(
        f"{worker.name} runs {pool}, where a body that computes" in each["message"] for each in problems
    )
    assert all("-P prefork" in each["cure"] for each in problems)
