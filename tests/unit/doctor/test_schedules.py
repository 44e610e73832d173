"""Schedules: beats that send beside each other, and entries that come more often than runs can follow."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab

from celery_redislock.doctor.schedules import runs_overlap, skips, two_beats
from celery_redislock.observing.counting import Numbers
from celery_redislock.observing.statistics import EntryNumbers

from ...support.applications import locked
from .histories import entry_numbers, history, task_numbers


def body() -> None: ...


@pytest.fixture
def app(unreached: Celery) -> Celery:
    locked(unreached, lambda: None, name="shop.import")
    unreached.task(body, name="shop.report", shared=False, lazy=False)
    unreached.conf.beat_schedule = {
        "import": {"task": "shop.import", "schedule": 10.0},
        "report": {"task": "shop.report", "schedule": 60.0},
        "report at night": {"task": "shop.report", "schedule": crontab(minute=0, hour=3)},
    }
    return unreached


class TestTwoBeats:
    def test_two_plain_beats_are_found_with_what_they_send(self, app: Celery) -> None:
        pair = {("plain", "gen1@a gen2@b"): 3}
        [problem] = two_beats(
            history(app, beats={"shop.report": Numbers(pair), "shop.import": Numbers(pair)})
        )

        assert problem.message == (
            "two beats run at once, gen1@a and gen2@b, and none is a LockedScheduler: each due time of "
            "shop.import, shop.report is sent twice"
        )
        assert "celery_redislock.beat:LockedScheduler" in problem.cure

    def test_a_plain_beat_beside_one_that_locks_is_found(self, app: Celery) -> None:
        [problem] = two_beats(history(app, beats={"shop.report": Numbers({("mixed", "gen1@a gen2@b"): 1})}))

        assert "only one of them is a LockedScheduler" in problem.message

    def test_one_beat_is_left_alone(self, app: Celery) -> None:
        assert not list(two_beats(history(app)))


class TestRunsOverlap:
    def test_a_plain_task_that_takes_longer_than_its_interval_is_found(self, app: Celery) -> None:
        [problem] = runs_overlap(history(app, {"shop.report": task_numbers(run=[20] * 90 + [90] * 10)}))

        assert "'report' comes every 60 s" in problem.message
        assert "p95 of 100 runs is 85 s" in problem.message  # within a tenth

    @pytest.mark.parametrize(
        ("task", "runs"),
        [
            pytest.param("shop.report", [20] * 100, id="shorter"),
            pytest.param("shop.report", [90] * 2, id="too few to say"),
            pytest.param("shop.import", [90] * 100, id="locked"),
            pytest.param("shop.other", [90] * 100, id="not scheduled"),
        ],
    )
    def test_what_cannot_overlap_is_left_alone(self, app: Celery, task: str, runs: list[float]) -> None:
        assert not list(runs_overlap(history(app, {task: task_numbers(run=runs)})))

    def test_a_task_whose_locks_are_off_has_none(self, app: Celery) -> None:
        app.tasks["shop.import"].lock_mode = "off"

        assert list(runs_overlap(history(app, {"shop.import": task_numbers(run=[90] * 100)})))


class TestSkips:
    def found(self, app: Celery, **numbers: Any) -> Any:
        return list(skips(history(app, entries={"import": entry_numbers(**numbers)})))

    def test_runs_that_are_too_long_get_the_next_round_interval(self, app: Celery) -> None:
        [problem] = self.found(
            app, sent=100, begun=50, skipped=50, interval_s=10, run=[14.0] * 50, wait=[0.1] * 50
        )

        assert "skips 50%: 100 due, 100 sent, 50 begun, 50 skipped" in problem.message
        assert "wait p50 0.099 s, p95 0.099 s; run p50 15 s, p95 15 s" in problem.message
        assert problem.cure.startswith('app.conf.beat_schedule["import"]["schedule"] = 20')
        assert "coalesce" in problem.cure

    def test_messages_that_wait_too_long_get_a_queue_of_their_own(self, app: Celery) -> None:
        [problem] = self.found(
            app, sent=100, begun=50, skipped=50, interval_s=10, run=[1.0] * 50, wait=[30.0] * 50
        )

        assert "wait too long for a worker" in problem.message
        assert 'task_routes = {"shop.import": {"queue": "scheduled"}}' in problem.cure

    def test_a_lock_that_others_have_is_named(self, app: Celery) -> None:
        [problem] = self.found(
            app, sent=100, begun=50, skipped=50, interval_s=10, run=[1.0] * 50, wait=[0.1] * 50
        )

        assert "other calls of shop.import have the lock" in problem.message

    def test_an_entry_whose_schedule_is_kept_elsewhere_is_found_too(self, app: Celery) -> None:
        app.conf.beat_schedule = {}
        [problem] = self.found(app, sent=100, begun=50, skipped=50, interval_s=10, run=[14.0] * 50)

        assert problem.cure.startswith("let 'import' come every 20 seconds")

    @pytest.mark.parametrize(
        "numbers",
        [
            pytest.param({"sent": 100, "begun": 95, "skipped": 5}, id="seldom"),
            pytest.param({"sent": 3, "begun": 1, "skipped": 2}, id="too few to say"),
            pytest.param({"sent": 0, "begun": 0, "skipped": 0}, id="never sent"),
            pytest.param({"sent": 100, "begun": 40, "skipped": 0}, id="not begun yet"),
        ],
    )
    def test_an_entry_that_hardly_skips_is_left_alone(self, app: Celery, numbers: dict[str, int]) -> None:
        assert not self.found(app, interval_s=10, run=[14.0] * 50, **numbers)

    def test_due_times_that_are_merged_into_another_run_are_not_skipped(self, app: Celery) -> None:
        merged = EntryNumbers({("ticks", "sent"): 100, ("begun", ""): 50, ("skipped", "superseded"): 50})

        assert not list(skips(history(app, entries={"import": merged})))

    def test_a_beat_that_counts_nothing_hides_no_skips(self, app: Celery) -> None:
        assert self.found(app, sent=0, begun=50, skipped=50, interval_s=10, run=[14.0] * 50)
