"""Fixtures of the engine's tests: an arena with a network that can fail, and other processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from ...support.arena import Arena
from ...support.proxy import Proxy
from ...support.servers import Server
from .contender import Contender


@pytest.fixture
def arena(any_server: Server) -> Iterator[Arena]:
    """Give an empty server of each kind in turn, and a proxy before it."""
    with Arena(any_server) as arena:
        yield arena


@pytest.fixture
def one_arena(server: Server) -> Iterator[Arena]:
    """Give an empty server, of one kind, and a proxy before it."""
    with Arena(server) as arena:
        yield arena


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """Give a network of the test's own before the shared server."""
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def contend(client: redis.Redis, server: Server) -> Iterator[Callable[..., Contender]]:
    """Start processes that each have one lock: ``contend("name", expire=5)``; all end with the test."""
    with ExitStack() as stack:

        def start(name: str, port: int = server.port, **options: Any) -> Contender:
            return stack.enter_context(Contender(port, name, **options))

        yield start
