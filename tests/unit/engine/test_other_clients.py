"""Other clients: what a lock cannot use is refused by its full name, with what to give in its place."""

from __future__ import annotations

from typing import Any

import pytest
import redis
import redis.asyncio
import valkey

from celery_redislock import ConfigurationError, RedisLock


class Lazy:
    """A proxy that makes its client when it is used first."""

    def __getattr__(self, name: str) -> Any:
        return getattr(redis.Redis(), name)


@pytest.mark.parametrize(
    ("client", "words"),
    [
        (
            redis.asyncio.Redis(),
            r"not redis\.asyncio\.client\.Redis: .* use a synchronous redis\.Redis",
        ),
        (valkey.Valkey(), r"not valkey\.client\.Valkey: use a redis\.Redis, which works with Valkey"),
        (Lazy(), r"not .*\.Lazy: .*use the client inside it"),
        (redis.Redis().pipeline(), r"not redis\.client\.Pipeline: use the client of the pipeline"),
        (None, r"not builtins\.NoneType$"),
        ("redis://h", r"not builtins\.str$"),
    ],
    ids=["asyncio", "valkey", "proxy", "pipeline", "nothing", "url"],
)
def test_it_is_refused_by_name_with_the_cure(client: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        RedisLock(client, "name")
