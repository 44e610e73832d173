"""Fixtures: a trial of each kind of lock on each kind of server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..support.arena import Arena
from ..support.servers import Server
from .kinds import KINDS, Can, LockKind
from .trial import Trial


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask each promise of the kinds that give it."""
    if "kind" in metafunc.fixturenames:
        needed = Can(0)
        for mark in metafunc.definition.iter_markers("needs"):
            needed |= mark.args[0]
        metafunc.parametrize("kind", [kind for kind in KINDS if needed in kind.can], ids=str)


@pytest.fixture
def trial(kind: LockKind, any_server: Server) -> Iterator[Trial]:
    """Give an empty server, a proxy before it, and what makes locks of one kind."""
    with Arena(any_server) as arena:
        yield Trial(kind, arena)


@pytest.fixture
def one_arena(server: Server) -> Iterator[Arena]:
    """Give an empty server, of one kind, and a proxy before it."""
    with Arena(server) as arena:
        yield arena
