"""Several beats: the guide is followed; each tick is sent once, whichever beat leads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ...support.deadlines import eventually
from ...support.places import DOCS
from ...support.servers import Server
from ..walkthrough import Walkthrough

PAGE = DOCS / "howto" / "two_beats.md"

_DUE = re.compile(r"tick: \{'entry': 'refresh', 'due': '([^']+)'\}")


@pytest.mark.timeout(400)
def test_two_beats_send_each_tick_once(own_server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()

    with Walkthrough(PAGE, folder, own_server).followed() as shop:
        before = len(_DUE.findall(shop.log("worker")))
        eventually(
            lambda: len(_DUE.findall(shop.log("worker"))) > before + 2, 60, "the second beat should go on"
        )

        dues = _DUE.findall(shop.log("worker"))
        assert len(dues) == len(set(dues))


@pytest.mark.timeout(200)
def test_a_tick_knows_of_no_beat_where_none_sent_it(own_server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    guide = Walkthrough(PAGE, folder, own_server)
    guide.follow(guide.steps[0])

    said = guide.run(
        "python -c \"import logging; logging.basicConfig(level='INFO')\n"
        'from shop import refresh; refresh.apply()"'
    )

    assert "tick: None" in said
