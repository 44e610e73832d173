"""Headers: each has one name and one home, and what came from outside is not trusted."""

from __future__ import annotations

import ast
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from celery_redislock.messages import headers
from celery_redislock.messages.headers import (
    OUTAGE_HEADER,
    PENDING_HEADER,
    RETRY_HEADER,
    TICKET_HEADER,
    attempts_in,
    attempts_value,
    pending_in,
    pending_value,
    ticket_in,
    ticket_value,
)

NAMES = [getattr(headers, name) for name in headers.__all__ if name.endswith("_HEADER")]
PACKAGE = Path(str(files("celery_redislock")))


def test_each_header_has_a_name_of_its_own() -> None:
    assert len(set(NAMES)) == len(NAMES) == 13
    assert all(name.partition("_")[0] == "redislock" for name in NAMES)


def test_each_header_is_in_the_table() -> None:
    assert headers.__doc__ is not None
    assert [
        name for name in headers.__all__ if name.endswith("_HEADER") and name not in headers.__doc__
    ] == []


def test_no_other_module_spells_a_header() -> None:
    spelled = {
        (path.relative_to(PACKAGE).as_posix(), node.value)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in NAMES
    }

    # pytest's mark has the name of a header, too.
    assert {name for name, _ in spelled} - {"testing/plugin.py"} == {"messages/headers.py"}


@pytest.mark.parametrize("value", [None, {}, "text", 7, [3, 4.0]])
def test_a_malformed_count_of_attempts_is_none(value: Any) -> None:
    assert attempts_in({RETRY_HEADER: value}, RETRY_HEADER) == (0, 0.0)
    assert attempts_in(None, RETRY_HEADER) == (0, 0.0)


def test_attempts_are_counted_for_each_reason_alone() -> None:
    message = {RETRY_HEADER: attempts_value(3, 4.5)}

    assert attempts_in(message, RETRY_HEADER) == (3, 4.5)
    assert attempts_in(message, OUTAGE_HEADER) == (0, 0.0)


MALFORMED = [None, {}, "text", 7, ["id", "lock", "token"]]


@pytest.mark.parametrize("value", [*MALFORMED, {"id": "a"}, {"id": "a", "lock": 7, "token": "t"}])
def test_a_malformed_ticket_is_none(value: Any) -> None:
    assert ticket_in({TICKET_HEADER: value}, "a") == {}
    assert ticket_in(None, "a") == {}


def test_a_ticket_is_of_one_message() -> None:
    message = {TICKET_HEADER: ticket_value("a", "redislock:t", "t0")}

    assert ticket_in(message, "a") == {"id": "a", "lock": "redislock:t", "token": "t0"}
    assert ticket_in(message, "another") == {}


@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_pending_run_is_none(value: Any) -> None:
    assert pending_in({PENDING_HEADER: value}) == {}
    assert pending_in(None) == {}


def test_the_retry_of_a_pending_run_keeps_only_when_it_was_triggered() -> None:
    assert pending_in({PENDING_HEADER: pending_value(7)}) == {"triggered_us": 7}
    assert pending_in({PENDING_HEADER: pending_value(7, "redislock:t", "t0")}) == {
        "lock": "redislock:t",
        "token": "t0",
        "triggered_us": 7,
    }
