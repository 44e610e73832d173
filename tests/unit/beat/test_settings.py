"""Settings of beat: what is accepted, and how a wrong one is named."""

from __future__ import annotations

from datetime import timedelta

import pytest
from celery import Celery
from celery.beat import PersistentScheduler, Scheduler

from celery_redislock import ConfigurationError
from celery_redislock.beat.lead_or_stand_by import LockedScheduler
from celery_redislock.beat.settings import beat_settings


def test_by_default_celerys_own_scheduler_is_wrapped() -> None:
    settings = beat_settings({}, LockedScheduler)

    assert (settings.scheduler, settings.name, settings.ttl_ms) == (PersistentScheduler, "beat", 15_000)


@pytest.mark.parametrize(
    ("scheduler", "wrapped"),
    [("celery.beat:Scheduler", Scheduler), ("celery.beat.Scheduler", Scheduler), (Scheduler, Scheduler)],
)
def test_a_scheduler_is_named_as_celery_names_it(scheduler: object, wrapped: type) -> None:
    assert beat_settings({"redislock_beat_scheduler": scheduler}, LockedScheduler).scheduler is wrapped


def test_a_lease_may_be_a_timedelta() -> None:
    assert beat_settings({"redislock_beat_ttl": timedelta(minutes=1)}, LockedScheduler).ttl_ms == 60_000


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("redislock_beat_scheduler", "nowhere:Scheduler", "cannot be imported"),
        ("redislock_beat_scheduler", "celery.beat:Sheduler", "cannot be imported"),
        ("redislock_beat_scheduler", "celery.beat:Service", "subclass of celery.beat.Scheduler"),
        ("redislock_beat_scheduler", 7, "subclass of celery.beat.Scheduler"),
        (
            "redislock_beat_scheduler",
            "celery_redislock.beat:LockedScheduler",
            "the scheduler that LockedScheduler wraps",
        ),
        ("redislock_beat_name", "", "a non-empty str"),
        ("redislock_beat_name", 7, "a non-empty str"),
        ("redislock_beat_ttl", 0.5, "at least 1 s"),
        ("redislock_beat_ttl", "15", "not a str"),
        ("redislock_beat_ttl", True, "not bool"),
    ],
)
def test_a_wrong_setting_is_named(setting: str, value: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{setting} setting.*{words}"):
        beat_settings({setting: value}, LockedScheduler)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("REDISLOCK_BEAT_TTL", 0), ("REDISLOCK_BEAT_NAME", ""), ("REDISLOCK_BEAT_SCHEDULER", 7)],
)
def test_a_wrong_setting_of_django_is_named_as_it_is_spelled_there(setting: str, value: object) -> None:
    app = Celery("django", set_as_current=False)
    app.config_from_object({f"CELERY_{setting}": value}, namespace="CELERY")

    with pytest.raises(ConfigurationError, match=f"CELERY_{setting} setting"):
        beat_settings(app.conf, LockedScheduler)
