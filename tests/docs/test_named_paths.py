"""Named paths: a test, an example or a picture that a page names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ..support.places import ROOT
from .pages import pages

#: A path of the repository in a page's text: ``tests/contract/test_loss.py``.
_PATH = re.compile(r"`((?:tests|example_project|celery_redislock|benchmarks)/[\w./-]*)`")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_each_path_that_a_page_names_is_there(page: Path) -> None:
    named = _PATH.findall(page.read_text(encoding="utf-8"))

    assert [path for path in named if not (ROOT / path).exists()] == []
