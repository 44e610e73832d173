"""Test your tasks: the tests of the guide and of the README pass as their reader runs them, without Redis."""

from __future__ import annotations

from pathlib import Path

import pytest

from ...support.places import README
from ...support.sample import plugin_arguments
from ...support.servers import Server
from ..pages import blocks
from ..walkthrough import Walkthrough
from .guide import followed

#: Nobody listens there: no test may need the Redis of a page.
NOWHERE = {"localhost:6379": "127.0.0.1:1"}


@pytest.fixture(autouse=True)
def _with_our_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(["-W error", *plugin_arguments()]))


def test_each_test_of_the_guide_passes(server: Server, tmp_path: Path) -> None:
    with followed("test_your_tasks.md", server, tmp_path, places=NOWHERE):
        pass


def test_the_test_of_the_readme_passes(server: Server, tmp_path: Path) -> None:
    reader = Walkthrough(README, tmp_path, server, places=NOWHERE)
    [shop] = (block for block in blocks(README) if block.code.startswith("# shop.py"))
    [tests] = (block for block in blocks(README) if "redislock.busy(" in block.code)
    reader.follow(shop)
    (tmp_path / "test_shop.py").write_text(tests.code)

    assert "1 passed" in reader.run("python -m pytest -q test_shop.py")
