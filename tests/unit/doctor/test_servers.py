"""Servers: whether they are fit to keep locks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from celery import Celery

from celery_redislock.doctor.live import Live
from celery_redislock.doctor.rule import LIVE
from celery_redislock.engine import server_fitness

from .looking import configured, found_by

FIT = {"redis_version": "7.0.15", "role": "master", "maxmemory_policy": "noeviction", "cluster_enabled": "0"}


@pytest.fixture
def policy(client: redis.Redis) -> Iterator[None]:
    """Have the server evict keys."""
    client.config_set("maxmemory-policy", "allkeys-lru")
    yield
    client.config_set("maxmemory-policy", "noeviction")


@pytest.mark.usefixtures("policy")
def test_a_server_that_evicts_is_found_and_its_cure_is_one(app: Celery, client: redis.Redis) -> None:
    (found,) = found_by("RL201", Live(configured(app)), LIVE)

    assert "maxmemory-policy is allkeys-lru" in found.message
    client.execute_command(*found.cure.removeprefix("redis-cli ").split())
    assert not found_by("RL201", Live(configured(app)), LIVE)


@pytest.mark.parametrize(
    ("rule_id", "fact", "value"),
    [
        ("RL201", "maxmemory_policy", "volatile-lru"),
        ("RL202", "role", "slave"),
        ("RL203", "redis_version", "6.0.20"),
        ("RL204", "cluster_enabled", "1"),
    ],
)
def test_each_fact_that_makes_a_server_unfit_has_its_rule(
    app: Celery, monkeypatch: pytest.MonkeyPatch, rule_id: str, fact: str, value: str
) -> None:
    unfit = server_fitness.findings({**FIT, fact: value}, in_cluster=False)
    monkeypatch.setattr(server_fitness, "check", lambda _client: unfit)
    live = Live(configured(app))

    found = {each: bool(found_by(each, live, LIVE)) for each in ("RL201", "RL202", "RL203", "RL204")}

    assert found == {each: each == rule_id for each in found}


def test_a_password_in_the_url_is_not_shown(app: Celery, client: redis.Redis) -> None:
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        url = app.conf.redislock_url.replace("redis://", "redis://default:secret-word@")
        found = found_by("RL201", Live(configured(app, redislock_url=url)), LIVE)
    finally:
        client.config_set("maxmemory-policy", "noeviction")

    assert found
    assert "secret-word" not in str(found)
