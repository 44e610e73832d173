"""Servers: whether they are fit to keep locks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery

from celery_redislock.doctor.live import Live
from celery_redislock.doctor.rule import LIVE, CannotLook
from celery_redislock.engine import rights, server_fitness

from ...support.rights import COMMANDS, PLACES, more
from .looking import configured, found_by, task_of

FIT = {"redis_version": "7.0.15", "role": "master", "maxmemory_policy": "noeviction", "cluster_enabled": "0"}


def with_facts(app: Celery, monkeypatch: pytest.MonkeyPatch, **facts: str) -> Live:
    """Return what runs now, with a server that says this of itself."""
    monkeypatch.setattr(server_fitness, "facts_of", lambda _client: [{**FIT, **facts}])
    return Live(configured(app))


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
    live = with_facts(app, monkeypatch, **{fact: value})

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


def test_info_that_is_refused_is_said(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_client: object) -> None:
        raise redis.exceptions.NoPermissionError("no permissions to run the 'info' command")

    monkeypatch.setattr(server_fitness, "facts_of", refuse)

    with pytest.raises(CannotLook, match="INFO is refused"):
        found_by("RL201", Live(configured(app)), LIVE)


@pytest.mark.parametrize(("there", "is_found"), [("0", True), ("1", True), ("2", False), ("3", False)])
def test_too_few_replicas_are_found(
    app: Celery, monkeypatch: pytest.MonkeyPatch, there: str, is_found: bool
) -> None:
    task_of(app, "a", lock_min_replicas=2)
    task_of(app, "b")

    found = found_by("RL206", with_facts(app, monkeypatch, connected_slaves=there), LIVE)

    assert bool(found) is is_found
    assert all(f"has {there} replicas, but lock_min_replicas of a is 2" in each.message for each in found)


def test_tasks_that_wait_for_no_replica_need_none(app: Celery) -> None:
    task_of(app)

    assert not found_by("RL206", Live(configured(app)), LIVE)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"connected_clients": "81", "maxclients": "100"}, "uses 81 of 100 connections"),
        ({"connected_clients": "80", "maxclients": "100"}, ""),
        ({"used_memory": "91", "maxmemory": "100"}, "uses 91 of 100 bytes of memory"),
        ({"used_memory": "90", "maxmemory": "100"}, ""),
        ({"used_memory": "90", "maxmemory": "0"}, ""),
        ({}, ""),
    ],
    ids=str,
)
def test_a_server_that_is_nearly_full_is_found(
    app: Celery, monkeypatch: pytest.MonkeyPatch, facts: dict[str, str], told: str
) -> None:
    messages = [each.message for each in found_by("RL208", with_facts(app, monkeypatch, **facts), LIVE)]

    assert len(messages) == bool(told)
    assert all(told in each for each in messages)


@pytest.mark.parametrize(("trip_s", "is_found"), [(0.16, True), (0.14, False)])
def test_a_round_trip_that_is_long_beside_the_shortest_lease_is_found(
    app: Celery, monkeypatch: pytest.MonkeyPatch, trip_s: float, is_found: bool
) -> None:
    task_of(app, "short", lock_ttl=3)
    task_of(app, "long", lock_ttl=300)
    live = with_facts(app, monkeypatch)
    live.round_trips_s = (*[0.001] * 98, trip_s, trip_s)

    found = found_by("RL208", live, LIVE)

    assert bool(found) is is_found
    assert all("lock_ttl of short, 3 s" in each.message for each in found)


def test_one_slow_answer_of_a_hundred_is_none(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    task_of(app, lock_ttl=3)
    live = with_facts(app, monkeypatch)
    live.round_trips_s = (*[0.001] * 100, 9.0)

    assert not found_by("RL208", live, LIVE)


def test_round_trips_are_measured(app: Celery) -> None:
    trips_s = Live(configured(app)).round_trips_s

    assert trips_s
    assert list(trips_s) == sorted(trips_s)


# -- rights

PASSWORD = "secret"
STATISTICS = more("writing [statistics]")


@pytest.fixture
def user_app(app: Celery, client: redis.Redis) -> Iterator[Callable[..., Live]]:
    """Give what runs now for a user who may run these commands alone, and touch the keys of the locks."""
    names = []

    def make(*rules: str) -> Live:
        name = f"u{uuid4().hex}"
        names.append(name)
        client.execute_command("ACL", "SETUSER", name, "on", f">{PASSWORD}", "-@all", *rules)
        port = client.connection_pool.connection_kwargs["port"]
        return Live(configured(app, redislock_url=f"redis://{name}:{PASSWORD}@127.0.0.1:{port}/0"))

    yield make
    for name in names:
        client.execute_command("ACL", "DELUSER", name)


def test_the_documented_rights_are_sound(user_app: Callable[..., Live], app: Celery) -> None:
    task_of(app)

    assert not found_by("RL205", user_app(*PLACES, *COMMANDS, *STATISTICS), LIVE)


def test_statistics_that_cannot_be_written_are_a_warning(user_app: Callable[..., Live], app: Celery) -> None:
    task_of(app)
    live = user_app(*PLACES, *COMMANDS)

    (found,) = found_by("RL205", live, LIVE)

    assert found.level == "warning"
    assert "may not run HINCRBY, LTRIM, PFADD, which statistics need" in found.message
    assert not found_by("RL205", Live(configured(app, redislock_stats=False)), LIVE)


@pytest.mark.parametrize("missing", [each for each in COMMANDS if each not in ("+ping", "+client|setname")])
def test_each_documented_right_that_is_missing_is_found_and_its_cure_is_one(
    user_app: Callable[..., Live], app: Celery, client: redis.Redis, missing: str
) -> None:
    task_of(app)
    live = user_app(*PLACES, *STATISTICS, *[each for each in COMMANDS if each != missing])

    (found,) = found_by("RL205", live, LIVE)

    assert f"may not run {missing[1:].upper()}, which locks need" in found.message
    user = live.provider.client.get_connection_kwargs()["credential_provider"].get_credentials()[0]
    client.execute_command(*found.cure.replace("<user>", user).split()[1:])
    assert not found_by("RL205", live, LIVE)


def test_what_is_tried_is_what_the_page_lists() -> None:
    assert {f"+{each}" for each in rights.FOR_EACH_LOCK} == set(COMMANDS)
    assert {f"+{each}" for each in rights.FOR_PENDING_RUNS} == set(more("coalesce"))
    assert {f"+{each}" for each in rights.FOR_BEAT} == set(more("LockedScheduler"))
    assert {f"+{each}" for each in rights.FOR_STATISTICS} == set(STATISTICS)
    assert {f"+{each}" for each in rights.FOR_REPLICAS} == set(more("lock_min_replicas"))


@pytest.mark.parametrize(
    ("options", "settings", "told"),
    [
        ({"lock_on_conflict": "coalesce"}, {}, "HEXISTS, HGETALL, HKEYS, ZSCORE"),
        ({"lock_min_replicas": 1}, {}, "WAIT"),
        ({}, {"beat_scheduler": "celery_redislock.beat:LockedScheduler"}, "HGETALL, HSETNX"),
    ],
)
def test_what_the_app_uses_needs_more(
    user_app: Callable[..., Live],
    app: Celery,
    options: dict[str, Any],
    settings: dict[str, Any],
    told: str,
) -> None:
    task_of(app, **options)
    app.conf.update(settings)

    (found,) = found_by("RL205", user_app(*PLACES, *COMMANDS, *STATISTICS), LIVE)

    assert f"may not run {told}, which" in found.message


@pytest.mark.parametrize("missing", [each for each in PLACES if each.startswith("~")])
def test_a_place_that_the_user_may_not_touch_is_found(
    user_app: Callable[..., Live], app: Celery, missing: str
) -> None:
    task_of(app)
    live = user_app(*[each for each in PLACES if each != missing], *COMMANDS)

    found = [each for each in found_by("RL205", live, LIVE) if "may not touch" in each.message]

    assert [each.cure for each in found] == [f"redis-cli ACL SETUSER <user> '{missing}'"]


def test_what_is_tried_leaves_nothing(app: Celery, client: redis.Redis) -> None:
    task_of(app, lock_on_conflict="coalesce")

    found_by("RL205", Live(configured(app)), LIVE)

    assert client.keys() == []
