"""Delivery: messages that the broker delivers again, or does not."""

from __future__ import annotations

from celery import Celery

from .looking import configured, found_by, task_of


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

    assert not found_by("RL103", configured(app, task_reject_on_worker_lost=True))
