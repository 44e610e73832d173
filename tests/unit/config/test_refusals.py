"""Configuration: what cannot be right is refused when a lock is declared, and says which option."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis
import redis.asyncio

from celery_redislock import ConfigurationError, RedisLock

NAME = "declared"

NO_DURATIONS = [True, math.nan, math.inf, -1, "10", timedelta(seconds=-1)]


def refusal(declare: Callable[[], object]) -> str:
    """Return what the refusal says."""
    with pytest.raises(ConfigurationError) as refused:
        declare()
    assert isinstance(refused.value, ValueError)
    return str(refused.value)


@pytest.mark.parametrize("option", ["expire", "max_hold"])
@pytest.mark.parametrize("value", [*NO_DURATIONS, 0, 0.0004, timedelta(0)], ids=repr)
def test_a_length_is_a_positive_duration(fake_client: redis.Redis, option: str, value: object) -> None:
    assert option in refusal(lambda: RedisLock(fake_client, NAME, **{option: value}))


@pytest.mark.parametrize("option", ["wait", "min_hold"])
@pytest.mark.parametrize("value", NO_DURATIONS, ids=repr)
def test_a_wait_and_a_min_hold_are_durations(fake_client: redis.Redis, option: str, value: object) -> None:
    assert option in refusal(lambda: RedisLock(fake_client, NAME, **{option: value}))
    RedisLock(fake_client, NAME, **{option: 0})


@pytest.mark.parametrize("value", [*NO_DURATIONS, "x"], ids=repr)
def test_a_timeout_is_a_duration(fake_client: redis.Redis, value: Any) -> None:
    lock = RedisLock(fake_client, NAME)

    assert "timeout" in refusal(lambda: lock.acquire(blocking=True, timeout=value))
    assert "timeout" in refusal(lambda: lock.acquire(timeout=value))
    assert not fake_client.keys()


@pytest.mark.parametrize("name", ["", None, b"name", 5], ids=repr)
def test_a_name_is_a_text(fake_client: redis.Redis, name: Any) -> None:
    assert "name" in refusal(lambda: RedisLock(fake_client, name))


@pytest.mark.parametrize(
    "make_client",
    [
        lambda: None,
        lambda: "redis://localhost",
        lambda: redis.asyncio.Redis(),
        lambda: redis.Redis().pipeline(),
        lambda: redis.Redis,
        lambda: redis.ConnectionPool(),
    ],
    ids=["None", "URL", "asyncio", "pipeline", "class", "pool"],
)
def test_a_client_is_a_synchronous_redis_py_client(make_client: Callable[[], Any]) -> None:
    assert "client" in refusal(lambda: RedisLock(make_client(), NAME))


@pytest.mark.parametrize("metadata", [{1: 2}, {"a": 1}, "text", ["a"]], ids=repr)
def test_metadata_is_text_to_text(fake_client: redis.Redis, metadata: Any) -> None:
    assert "metadata" in refusal(lambda: RedisLock(fake_client, NAME, metadata=metadata))


@pytest.mark.parametrize("on_lost", [3, "function", []], ids=repr)
def test_on_lost_can_be_called(fake_client: redis.Redis, on_lost: Any) -> None:
    assert "on_lost" in refusal(lambda: RedisLock(fake_client, NAME, on_lost=on_lost))


def test_what_a_refusal_shows_is_no_metadata(fake_client: redis.Redis) -> None:
    assert "s3cret" not in refusal(
        lambda: RedisLock(fake_client, NAME, metadata={"password": ["s3cret"]})  # type: ignore
    )


def test_options_are_named(fake_client: redis.Redis) -> None:
    with pytest.raises(TypeError):
        RedisLock(fake_client, NAME, 10, True)  # type: ignore
