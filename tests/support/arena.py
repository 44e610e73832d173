"""Arena: an empty server, a proxy before it, and clients on both sides of the proxy."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .proxy import Proxy
from .servers import Server


class Arena:
    """Where a lock meets a network that fails.

    Attributes:
        client: A client past the proxy: it sees what is true.
        proxy: The network of `victim` and of all that `make_victim` makes.
        victim: A client behind the proxy that gives up on a reply soon, and retries by itself.
    """

    def __init__(self, server: Server) -> None:
        self._stack = ExitStack()
        self._server = server

    def __enter__(self) -> Arena:
        self.client = self._server.client()
        self._stack.callback(self.client.close)
        self.client.flushall()
        self._stack.callback(self.client.flushall)
        self.proxy = self._stack.enter_context(Proxy(self._server.port))
        self.victim = self.make_victim()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def make_victim(self, **options: Any) -> redis.Redis:
        """Return a client behind the proxy; options as ``redis.Redis`` takes them."""
        client = redis.Redis(port=self.proxy.port, **{"socket_timeout": 0.25, **options})
        self._stack.callback(client.close)
        return client

    def make_victim_that_sends_once(self) -> redis.Redis:
        """Return a client behind the proxy that never retries by itself."""
        return self.make_victim(retry=Retry(NoBackoff(), 0))


def companion(kind: str, name: str) -> str:
    """Return a companion key of a lock whose name has no braces: "holder", "waiters" ..."""
    return f"redislock.{kind}:{{{name}}}"
