"""Fixtures: a project by its name, with a Redis of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ...support.servers import Server
from .project import Project

#: What is in there is started as programs, with names that a second project has, too.
collect_ignore_glob = ["*_project"]


@pytest.fixture
def project(own_server: Server, tmp_path: Path) -> Callable[[str], Project]:
    """Give a project by the name of its directory."""
    return lambda name: Project(name, own_server, tmp_path)
