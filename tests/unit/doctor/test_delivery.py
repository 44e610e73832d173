"""Delivery: messages that the broker delivers again, or does not."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from celery_redislock.doctor.finding import Finding

from .looking import configured, found_by, task_of

REDIS = "redis://localhost:6379/0"


def applied(app: Celery, found: Finding) -> None:
    """Paste the cure of a finding."""
    exec(found.cure, {"app": app})


@pytest.mark.parametrize(
    "options", [{"time_limit": 7200}, {"lock_max_hold": 7200}, {"soft_time_limit": 7200, "time_limit": 7300}]
)
def test_a_run_that_may_outlive_its_visibility_is_found_and_its_cure_is_one(
    app: Celery, options: dict[str, Any]
) -> None:
    task_of(app, acks_late=True, **options)

    (found,) = found_by("RL101", configured(app, broker_url=REDIS))

    assert found.level == "error"
    assert "may run for 7200 s" in found.message
    assert "visibility_timeout of 3600 s" in found.message
    applied(app, found)
    assert not found_by("RL101", configured(app))


def test_other_transport_options_stay(app: Celery) -> None:
    task_of(app, acks_late=True, time_limit=7200)
    options = {"visibility_timeout": 600, "global_keyprefix": "a"}

    (found,) = found_by("RL101", configured(app, broker_url=REDIS, broker_transport_options=options))
    applied(app, found)

    assert not found_by("RL101", configured(app))
    assert app.conf.broker_transport_options["global_keyprefix"] == "a"


@pytest.mark.parametrize(
    ("broker", "limit_s", "is_found"),
    [
        ("sqs://", 1800, False),
        ("sqs://", 1801, True),
        ("sentinel://a:26379", 3601, True),
        ("rediss://a", 3600, False),
        ("amqp://", 9999, False),
        ("memory://", 9999, False),
    ],
)
def test_each_broker_has_its_own_visibility(app: Celery, broker: str, limit_s: int, is_found: bool) -> None:
    task_of(app, acks_late=True, time_limit=limit_s)

    assert bool(found_by("RL101", configured(app, broker_url=broker))) is is_found


@pytest.mark.parametrize(
    "options", [{"time_limit": 7200}, {"acks_late": True}, {"acks_late": True, "time_limit": 60}]
)
def test_a_run_that_is_acknowledged_or_over_in_time_is_left_alone(
    app: Celery, options: dict[str, Any]
) -> None:
    task_of(app, **options)

    assert not found_by("RL101", configured(app, broker_url=REDIS))


@pytest.mark.parametrize(("options", "is_found"), [({}, False), ({"autoretry_for": (OSError,)}, True)])
def test_celerys_default_delay_counts_where_the_task_is_retried(
    app: Celery, options: dict[str, Any], is_found: bool
) -> None:
    task_of(app, **options)

    found = found_by(
        "RL101", configured(app, broker_url=REDIS, broker_transport_options={"visibility_timeout": 60})
    )

    assert bool(found) is is_found
    assert all("may wait for 180 s (default_retry_delay)" in each.message for each in found)


@pytest.mark.parametrize(
    "options",
    [
        {"default_retry_delay": 7200},
        {"autoretry_for": (OSError,), "retry_backoff": True, "retry_backoff_max": 7200},
    ],
    ids=str,
)
def test_a_retry_that_is_delayed_beyond_its_visibility_is_found(app: Celery, options: dict[str, Any]) -> None:
    task_of(app, **options)

    (found,) = found_by("RL101", configured(app, broker_url=REDIS))

    assert "may wait for 7200 s" in found.message
    applied(app, found)
    assert not found_by("RL101", configured(app))


def test_a_scheduled_call_that_is_delayed_beyond_its_visibility_is_found(app: Celery) -> None:
    task_of(app)
    schedule = {
        "late": {"task": "shop.import_csv", "schedule": 60, "options": {"countdown": 7200}},
        "sound": {"task": "shop.import_csv", "schedule": 60, "options": {"countdown": 60}},
        "of another": {"task": "elsewhere", "schedule": 60, "options": {"countdown": 9000}},
    }

    (found,) = found_by("RL101", configured(app, broker_url=REDIS, beat_schedule=schedule))

    assert "may wait for 7200 s (countdown of the entry 'late')" in found.message


def test_reserved_messages_that_may_age_are_told_as_an_info(app: Celery) -> None:
    task_of(app, acks_late=True, time_limit=3000)

    (found,) = found_by("RL102", configured(app, broker_url=REDIS))

    assert found.level == "info"
    assert "reserves 4 messages" in found.message
    applied(app, found)
    assert not found_by("RL102", configured(app))


@pytest.mark.parametrize(
    "options", [{"time_limit": 3000}, {"acks_late": True, "time_limit": 900}, {"acks_late": True}]
)
def test_reserved_messages_that_are_begun_in_time_are_left_alone(
    app: Celery, options: dict[str, Any]
) -> None:
    task_of(app, **options)

    assert not found_by("RL102", configured(app, broker_url=REDIS))


def test_a_late_acknowledgement_that_does_not_survive_its_process_is_found(app: Celery) -> None:
    task_of(app, acks_late=True)

    (found,) = found_by("RL103", configured(app))

    assert found.level == "info"
    assert "shop.import_csv" in found.message


def test_a_message_that_comes_again_after_its_process_is_left_alone(app: Celery) -> None:
    task_of(app, "a", acks_late=True, reject_on_worker_lost=True)
    task_of(app, "b")

    assert not found_by("RL103", configured(app))


def test_the_cure_of_a_lost_message_is_one(app: Celery) -> None:
    task_of(app, acks_late=True)

    (found,) = found_by("RL103", configured(app, task_reject_on_worker_lost=None))
    other = Celery("other", set_as_current=False)
    applied(other, found)
    task_of(other, acks_late=True)

    assert not found_by("RL103", configured(other))
