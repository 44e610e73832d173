"""Conflicts: the page that compares the policies names each one, and shows what it does to two calls."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from celery_redislock.config.options import WHEN_PUBLISHING, WHEN_RUNNING

from ..support.places import DOCS
from ..support.servers import Server
from .walkthrough import Walkthrough

PATH = DOCS / "explanation" / "conflicts.md"
PAGE = PATH.read_text(encoding="utf-8")
AT_A_RUN, AT_PUBLICATION = PAGE.split("## Conflicts when publishing")


def words_in_first_cells(text: str) -> list[str]:
    """Return the quoted words with which the rows of the tables begin."""
    cells = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)
    return [word for cell in cells for word in re.findall(r'`"(\w+)"`', cell)]


def test_each_policy_has_a_row_and_a_section() -> None:
    assert words_in_first_cells(AT_A_RUN) == list(WHEN_RUNNING)
    assert re.findall(r"^## ([a-z]+)$", AT_A_RUN, re.MULTILINE) == list(WHEN_RUNNING)


def test_those_that_decide_when_publishing_come_first_there_and_the_others_are_refused() -> None:
    words = words_in_first_cells(AT_PUBLICATION.partition("nothing is published")[2])
    (refused,) = (line for line in AT_PUBLICATION.splitlines() if "are refused" in line)

    assert tuple(words[: len(WHEN_PUBLISHING)]) == WHEN_PUBLISHING
    assert set(words_in_first_cells(refused)) == {*WHEN_RUNNING} - {*WHEN_PUBLISHING}


@pytest.mark.parametrize("scope", ["run", "queue", "task"])
def test_each_scope_has_a_row(scope: str) -> None:
    assert re.search(rf'^\| `"{scope}"`', AT_PUBLICATION, re.MULTILINE)


def test_each_policy_does_to_two_calls_what_the_page_shows(own_server: Server, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()

    with Walkthrough(PATH, home, own_server).followed() as page:
        assert all(f"] {word}: lock" in page.log("worker") for word in WHEN_RUNNING)
