"""Diagnosis: what the doctor has found, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import click

from ..doctor.examination import Report
from ..doctor.finding import ERROR, INFO, LEVELS, WARNING, Finding

__all__ = ["as_json", "as_text"]

#: What is said without a finding: all was looked at; not all.
_NOTHING = ("nothing is found", "nothing is found where it could look")
_COLOURS = {ERROR: "red", WARNING: "yellow", INFO: "cyan"}


def as_text(report: Report) -> str:
    """Return what people read: the worst first."""
    return "\n".join(_lines(report))


def as_json(report: Report) -> str:
    """Return one object with all that was found."""
    return json.dumps(
        {
            "findings": [each.as_dict() for each in report.findings],
            "ignored": [{**each.as_dict(), "reason": reason} for each, reason in report.ignored],
            "not_looked": [each.as_dict() for each in report.not_looked],
        }
    )


def _lines(report: Report) -> Iterator[str]:
    for each in report.findings:
        yield from _of_finding(each)
        yield ""
    for ignored, reason in report.ignored:
        yield f"ignored  {ignored.id}  {ignored.message}"
        yield f"         because: {reason}"
        yield ""
    for part in report.not_looked:
        yield f"not looked at: {part.layer}: {part.why}"
    yield _summary(report.findings) or _NOTHING[bool(report.not_looked)]


def _of_finding(each: Finding) -> Iterator[str]:
    level = click.style(f"{each.level:<7}", fg=_COLOURS[each.level], bold=each.level == ERROR)
    yield f"{level}  {each.id}  {each.message}"
    yield f"         cure: {each.cure}"
    yield f"         see:  {each.page}"


def _summary(findings: Sequence[Finding]) -> str:
    counts = {level: sum(each.level == level for each in findings) for level in LEVELS}
    told = [f"{count} {level}" + ("s" if count > 1 else "") for level, count in counts.items() if count]
    return ", ".join(told)
