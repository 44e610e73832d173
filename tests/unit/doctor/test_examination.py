"""Examination: what is looked at, what is ignored, and what is said of where it could not be looked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from celery_redislock import ConfigurationError, StoreUnavailable
from celery_redislock.doctor.configuration import Configuration
from celery_redislock.doctor.examination import NotLooked, Report, examine, examine_configuration
from celery_redislock.doctor.finding import ERROR, INFO, LEVELS, WARNING, Finding, Problem
from celery_redislock.doctor.ignoring import ignored_by
from celery_redislock.doctor.rule import CONFIG, LAYERS, CannotLook, Rule
from celery_redislock.doctor.rules import IDS, RULES

from ...support.places import DOCS
from .looking import configured, task_of


def rule(rule_id: str, level: str, *problems: Problem) -> Rule:
    return Rule(rule_id, level, CONFIG, lambda _seen: problems)


def test_the_worst_is_told_first() -> None:
    report = Report()
    rules = [rule(f"RL{number}", level, Problem("a", "b")) for number, level in enumerate(reversed(LEVELS))]

    report.add(CONFIG, None, rules)
    report.set_aside({})

    assert [each.level for each in report.findings] == list(LEVELS)


def test_a_problem_may_be_less_bad_than_its_rule() -> None:
    report = Report()
    report.add(CONFIG, None, [rule("RL1", ERROR, Problem("a", "b", WARNING))])

    assert [each.level for each in report.findings] == [WARNING]


@pytest.mark.parametrize(("level", "counts"), [(ERROR, False), (WARNING, True), (INFO, True)])
def test_a_finding_counts_for_its_level_and_those_below(level: str, counts: bool) -> None:
    assert Finding("RL1", WARNING, "a", "b", "c").is_at_least(level) is counts


@pytest.mark.parametrize("error", [CannotLook("nobody answers"), StoreUnavailable("a lock", "it is away")])
def test_a_rule_that_cannot_look_is_said_and_the_others_go_on(error: Exception) -> None:
    def check(_seen: object) -> Iterator[Problem]:
        raise error
        yield

    report = Report()
    blind = [Rule("RL1", ERROR, CONFIG, check), Rule("RL2", ERROR, CONFIG, check)]
    report.add(CONFIG, None, [*blind, rule("RL3", ERROR, Problem("a", "b"))])

    assert [each.id for each in report.findings] == ["RL3"]
    assert report.not_looked == [NotLooked(CONFIG, f"{error} (RL1, RL2)")]


def test_an_ignored_rule_is_listed_with_its_reason(app: Celery) -> None:
    task_of(app, acks_late=True)

    report = examine_configuration(configured(app), {"RL103": "imports are safe"})

    assert "RL103" not in [each.id for each in report.findings]
    assert [(each.id, reason) for each, reason in report.ignored] == [("RL103", "imports are safe")]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"RL999": "a reason"}, "no rule 'RL999'"),
        ({"RL103": ""}, "reason why RL103"),
        ({"RL103": None}, "reason why RL103"),
        (["RL103"], "must be a dict"),
    ],
)
def test_what_cannot_be_ignored_is_refused_by_name(app: Celery, given: Any, complaint: str) -> None:
    app.conf.redislock_doctor_ignore = given

    with pytest.raises(ConfigurationError, match=complaint):
        ignored_by(app)


def test_a_redis_that_is_away_is_said_of_both_layers_that_need_it(app: Celery) -> None:
    task_of(app, acks_late=True)

    report = examine(configured(app, redislock_url="redis://:secret-word@127.0.0.1:1/0"), {}, 60.0)

    assert "RL103" in [each.id for each in report.findings], "the configuration should have been looked at"
    assert not report.is_redis_reached
    assert [each.layer for each in report.not_looked] == ["live", "history"]
    assert all("cannot be reached" in each.why for each in report.not_looked)
    assert "secret-word" not in str(report)


def test_an_app_without_locks_needs_no_redis(app: Celery) -> None:
    task_of(app, lock_mode="off")

    report = examine(configured(app, redislock_url="redis://127.0.0.1:1/0"), {}, 60.0)

    assert report.is_redis_reached
    assert [each.layer for each in report.not_looked] == ["live"]


def test_the_tasks_of_celery_and_of_this_package_are_not_looked_at(app: Celery) -> None:
    task_of(app)

    assert list(Configuration.of(app).tasks) == ["shop.import_csv"]


def test_the_table_is_in_order_and_its_words_are_known() -> None:
    assert [rule.id for rule in RULES] == sorted(rule.id for rule in RULES)
    assert all(rule.level in LEVELS and rule.layer in LAYERS for rule in RULES)
    assert len({(rule.id, rule.check) for rule in RULES}) == len(RULES)
    assert all(len({rule.level for rule in RULES if rule.id == each}) == 1 for each in IDS)


def test_each_rule_has_its_heading_with_its_level_and_there_is_no_other() -> None:
    page = (DOCS / "reference" / "doctor.md").read_text(encoding="utf-8")

    told = re.findall(r"^## (RL\d+)\n\n(\w+): ", page, re.MULTILINE)

    assert told == list({rule.id: rule.level for rule in RULES}.items())
    sections = re.split(r"^## RL\d+\n", page, flags=re.MULTILINE)[1:]
    assert all("```text\n" in section and "\nCure: " in section for section in sections)
