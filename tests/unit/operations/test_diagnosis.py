"""Diagnosis: what people and programs read of what the doctor has found."""

from __future__ import annotations

import json

import click
import pytest

from celery_redislock.doctor.examination import NotLooked, Report
from celery_redislock.doctor.finding import Finding
from celery_redislock.operations.diagnosis import as_json, as_text
from celery_redislock.operations.periods import period_s

BAD = Finding("RL106", "error", "a run loses its lock", "lock_max_hold=60", "docs/reference/doctor.md#rl106")
MILD = Finding("RL103", "info", "a message is lost", "x = True", "docs/reference/doctor.md#rl103")
REPORT = Report([BAD], [(MILD, "it is safe")], [NotLooked("live", "nobody answers")])


def test_a_text_has_level_id_sentence_cure_and_page() -> None:
    lines = click.unstyle(as_text(REPORT)).splitlines()

    assert lines == [
        "error    RL106  a run loses its lock",
        "         cure: lock_max_hold=60",
        "         see:  docs/reference/doctor.md#rl106",
        "",
        "ignored  RL103  a message is lost",
        "         because: it is safe",
        "",
        "not looked at: live: nobody answers",
        "1 error",
    ]


def test_a_text_counts_each_level() -> None:
    assert as_text(Report([BAD, BAD, MILD])).splitlines()[-1] == "2 errors, 1 info"


def test_without_a_finding_it_is_said_whether_all_was_looked_at() -> None:
    assert as_text(Report()) == "nothing is found"
    assert as_text(Report([], [], REPORT.not_looked)).endswith("\nnothing is found where it could look")


def test_json_has_these_fields_and_no_other() -> None:
    finding = {"id", "level", "message", "cure", "page"}

    told = json.loads(as_json(REPORT))

    assert told.keys() == {"findings", "ignored", "not_looked"}
    assert [each.keys() for each in told["findings"]] == [finding]
    assert [each.keys() for each in told["ignored"]] == [finding | {"reason"}]
    assert told["not_looked"] == [{"layer": "live", "why": "nobody answers"}]


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("12h", 43200), ("7d", 604800)])
def test_a_period_is_read(text: str, seconds: float) -> None:
    assert period_s(None, None, text) == seconds  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["7", "d", "-7d", "0d", "1w", ""])
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="no length of time"):
        period_s(None, None, text)  # type: ignore[arg-type]
