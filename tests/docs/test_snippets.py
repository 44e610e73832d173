"""Snippets: each block of Python on a page compiles; those marked runnable run, on a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.places import python_path
from ..support.servers import Server
from .pages import Block, blocks, pages

PYTHON = [block for page in pages() for block in blocks(page) if block.language == "python"]
RUNNABLE = [block for block in PYTHON if "runnable" in block.info]

#: Where the pages have their Redis: there a test puts its own.
PLACE = "localhost:6379"


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_each_snippet_compiles(block: Block) -> None:
    compile(block.code, str(block), "exec")


@pytest.mark.parametrize("block", RUNNABLE, ids=str)
def test_each_runnable_snippet_runs(block: Block, own_server: Server, tmp_path: Path) -> None:
    code = block.code.replace(PLACE, f"127.0.0.1:{own_server.port}")

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout + done.stderr
