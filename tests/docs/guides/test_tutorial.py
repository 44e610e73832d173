"""Tutorial: followed from an empty folder to two beats, of which one is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ...support.places import DOCS
from ...support.servers import Server
from ..walkthrough import Walkthrough

PAGE = DOCS / "tutorial" / "two_beats.md"


#: What a beat writes when it sends, and when it comes to lead.
SENT, LEADS = "Sending due task import", "now the leader"


@pytest.mark.timeout(400)
def test_the_tutorial_shows_what_happens(own_server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()

    with Walkthrough(PAGE, folder, own_server).followed() as shop:
        leaders = [shop.log(beat) for beat in ("beat-one", "beat-two")]

        assert all(SENT in shop.log(beat) for beat in ("plain-one", "plain-two")), "plain beats send both"
        assert leaders[0].count("now the leader") == leaders[1].count("now the leader") == 1
        assert leaders[1].index("standing by") < leaders[1].index("now the leader") < leaders[1].index(SENT)
