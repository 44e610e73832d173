"""Redis as the project uses it beside the locks: for a cache and for queues of orders."""

from __future__ import annotations

import redis

from .app import app


def connect() -> redis.Redis:
    """Return a client; it closes at the end of a ``with`` block."""
    return redis.Redis.from_url(app.conf.redislock_url, decode_responses=True)


def key(name: str) -> str:
    """Return the Redis key for `name`, inside the project's namespace."""
    return f"{app.conf.example_namespace}{name}"
