"""Roll-out: the guide is followed: shadow first, then on, and back; and what meets during a deploy."""

from __future__ import annotations

from pathlib import Path

import pytest

from ...support.places import DOCS
from ...support.servers import Server
from ..walkthrough import Walkthrough

PAGE = DOCS / "howto" / "roll_out.md"


@pytest.mark.timeout(400)
def test_locks_are_watched_then_switched_on_and_off(own_server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()

    with Walkthrough(PAGE, folder, own_server).followed() as shop:
        assert "metric: shop.import_csv did skip" in shop.log("worker")
        assert "skip" not in shop.log("off-worker")

        met = shop.run(f"python -c '{MEETING}'")

        assert met.splitlines() == ["shadow, on: REVOKED", "on, shadow: SUCCESS"]

        (folder / "decorated.py").write_text(DECORATED)
        ways_off = ("LOCK_MODE=off", "LOCK_MODE=off LOCKED_TASKS=shop.import_csv", "ANNOTATED=off")
        assert [shop.run(f"env {way} python decorated.py").split() for way in ways_off] == [
            ["off", "on"],
            ["on", "on"],
            ["shadow", "off"],
        ]


#: What the second of two calls gets, by the modes of both.
MEETING = """
import time
from shop import import_csv
for first, second in [("shadow", "on"), ("on", "shadow")]:
    path = first
    held = import_csv.apply_async([path], lock={"mode": first})
    time.sleep(2)
    result = import_csv.apply_async([path], lock={"mode": second})
    result.get(timeout=60, propagate=False)
    print(f"{first}, {second}: {result.state}")
"""

#: Which mode two tasks have: that of the page, and one with a mode in its decorator.
DECORATED = """
import os
from celery_redislock import locked_task
from shop import app, import_csv

if "ANNOTATED" in os.environ:
    app.conf.task_annotations = {"shop.decorated": {"lock_mode": os.environ["ANNOTATED"]}}

@locked_task(app=app, name="shop.decorated", lock_mode="on")
def decorated(): ...

print(import_csv.plan_for().options.mode, decorated.plan_for().options.mode)
"""
