"""Scheduler: which beat leads when; over a real server, in one process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from celery.beat import Scheduler, Service

from celery_redislock import RedisLock
from celery_redislock.beat.lead_or_stand_by import LockedScheduler

from ...support import rights
from ...support.applications import application
from ...support.deadlines import eventually
from ...support.servers import Server

LOCK = "redislock:beat:beat"


@pytest.fixture
def beat(app: Celery, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Make beats of one group; each has a schedule file of its own."""
    made: list[Any] = []

    def make(app: Celery = app) -> Any:
        path = str(tmp_path / f"{len(made)}.schedule")
        made.append(Service(app, scheduler_cls=LockedScheduler, schedule_filename=path).scheduler)
        return made[-1]

    yield make
    for scheduler in made:
        scheduler.close()


@pytest.fixture(autouse=True)
def _short_lease(app: Celery) -> None:
    app.conf.update(redislock_beat_ttl=3, beat_schedule={"a": {"task": "t", "schedule": 3600}})


def test_one_leads_and_the_other_only_when_that_has_ended(beat: Callable[..., Any]) -> None:
    first, second = beat(), beat()
    first.tick()
    second.tick()
    assert first._leading is not None
    assert second._leading is None

    first.close()
    second.tick()

    assert second._leading is not None


def test_who_stands_by_opens_no_schedule_file(beat: Callable[..., Any], tmp_path: Path) -> None:
    first, second = beat(), beat()
    first.tick()
    second.tick()

    assert {path.name.partition(".")[0] for path in tmp_path.iterdir()} == {"0"}


def test_who_stands_by_says_so_once_where_every_log_shows_it(
    beat: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = beat(), beat()
    first.tick()

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            second.tick()

    assert caplog.text.count(f"standing by: another beat is the leader (lock {LOCK}") == 1


def test_who_lost_the_lease_sends_no_more(
    beat: Callable[..., Any], client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    former = beat()
    former.tick()
    client.set(LOCK, "another")

    with caplog.at_level(logging.WARNING):
        while former._leading is not None:
            former.tick()

    assert "no longer the leader" in caplog.text


def test_who_leads_keeps_its_lease(beat: Callable[..., Any]) -> None:
    leader = beat()
    leader.tick()
    fencing_token = leader._lock.fencing_token
    ends = time.monotonic() + 4
    while time.monotonic() < ends:
        time.sleep(min(leader.tick(), 0.1))
        assert leader._leading is not None
    assert leader._lock.fencing_token == fencing_token


def test_beats_of_another_name_lead_for_themselves(
    beat: Callable[..., Any], redis_url: str, app: Celery
) -> None:
    other_app = application(redis_url, redislock_beat_name="other", redislock_beat_ttl=1)
    first, other = beat(), beat(other_app)
    first.tick()
    other.tick()

    assert first._leading is not None
    assert other._leading is not None
    other.close()
    other_app.close()


def test_to_be_shown_it_takes_no_lock(app: Celery, client: redis.Redis) -> None:
    shown = LockedScheduler(app, lazy=True)

    assert "celery.beat:PersistentScheduler" in shown.info
    assert LOCK in shown.info
    assert not client.exists(LOCK)


def test_to_end_is_safe_at_any_moment(beat: Callable[..., Any], client: redis.Redis) -> None:
    """A signal may strike anywhere, and Celery closes twice."""
    scheduler = beat()
    scheduler.close()
    scheduler.tick()
    scheduler.close()
    scheduler.close()

    assert not client.exists(LOCK)


def test_a_signal_in_the_middle_of_a_publication_ends_the_beat_after_it(
    app: Celery, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Celery's handler closes the scheduler and raises; a library may make an error of what it raises."""
    told: list[str] = []

    class Interrupted(Scheduler):
        def send_task(self, *_: Any, **__: Any) -> Any:
            locked.close()
            told.append("publishing")
            raise ValueError("in place of SystemExit")

        def close(self) -> None:
            told.append("closed")

    app.conf.update(
        redislock_beat_scheduler=Interrupted, beat_schedule={"a": {"task": "t", "schedule": 0.01}}
    )
    locked = LockedScheduler(app)
    with pytest.raises(SystemExit):
        eventually(lambda: locked.tick() < 0)
    assert told == ["publishing"]
    assert client.exists(LOCK)

    locked.close()

    assert told == ["publishing", "closed"]
    assert not client.exists(LOCK)


def test_without_redis_a_beat_stands_by_and_says_so_once(
    own_server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = application(own_server.url, redislock_beat_ttl=1)
    scheduler = LockedScheduler(app, schedule_filename=str(tmp_path / "schedule"))
    own_server.kill()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert scheduler.tick() == 0
    assert caplog.text.count("beat: nothing is sent") == 1

    own_server.start()
    scheduler.tick()

    assert scheduler._leading is not None
    scheduler.close()
    app.close()


def test_a_scheduler_that_takes_longer_than_the_lease_to_make_leads_all_the_same(
    app: Celery, client: redis.Redis
) -> None:
    class Slow(Scheduler):
        def setup_schedule(self) -> None:
            time.sleep(2.5)

    app.conf.update(redislock_beat_scheduler=Slow, redislock_beat_ttl=1)
    scheduler: Any = LockedScheduler(app)
    scheduler.tick()

    assert scheduler._leading is not None
    assert scheduler._lock.owned()
    assert scheduler._lock.remaining > 0
    scheduler.close()
    assert not client.exists(LOCK)


def test_a_scheduler_that_cannot_be_made_ends_the_beat_and_frees_the_lock(
    app: Celery, client: redis.Redis
) -> None:
    class Broken(Scheduler):
        def setup_schedule(self) -> None:
            raise OSError("no such database")

    app.conf.redislock_beat_scheduler = Broken
    scheduler = LockedScheduler(app)

    with pytest.raises(OSError, match="no such database"):
        scheduler.tick()

    assert not RedisLock(client, LOCK).locked()


def test_the_rights_that_the_docs_list_are_enough_for_a_beat(own_server: Server, tmp_path: Path) -> None:
    with own_server.client() as client:
        rules = [*rights.PLACES, *rights.COMMANDS, *rights.more("LockedScheduler")]
        client.execute_command("ACL", "SETUSER", "beat", "on", ">secret", *rules)
    app = application(
        own_server.url.replace("redis://", "redis://beat:secret@"),
        beat_schedule={"a": {"task": "t", "schedule": 0.01}},
        redislock_beat_ttl=1,
    )
    scheduler: Any = LockedScheduler(app, schedule_filename=str(tmp_path / "schedule"))
    ends = time.monotonic() + 2
    while time.monotonic() < ends:
        scheduler.tick()

    assert scheduler._leading._tenure.sent["a"].due_ms
    scheduler.close()
    app.close()
    with own_server.client() as client:
        assert not client.exists(LOCK)
