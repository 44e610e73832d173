"""Contenders of our own: each takes the lock, and gives it back."""

from __future__ import annotations

import pytest
import redis

from benchmarks.contenders.ours import BareScripts, RedislockContender


@pytest.mark.parametrize("kind", [RedislockContender, BareScripts])
def test_a_contender_of_ours_holds_its_lock_until_it_releases(
    client: redis.Redis, kind: type[RedislockContender] | type[BareScripts]
) -> None:
    port = client.connection_pool.connection_kwargs["port"]
    first, second = kind(port), kind(port)
    lock: object = first.make("contended", 30)
    other: object = second.make("contended", 30)

    assert first.acquire(lock)  # type: ignore[arg-type]
    assert not second.acquire(other)  # type: ignore[arg-type]
    assert client.exists("contended")

    first.release(lock)  # type: ignore[arg-type]

    assert not client.exists("contended")
    assert second.acquire(other)  # type: ignore[arg-type]
