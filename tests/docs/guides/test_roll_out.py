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
