"""Table: rows fit the terminal, in columns that stay where they are."""

from __future__ import annotations

import click
import pytest

from celery_redislock.operations.formats import CUT, width_of
from celery_redislock.operations.table import GAP, MARK, Column, lines

COLUMNS = (Column("held"), Column("waits", is_number=True), Column("task", share=1), Column("lock", share=2))
ROWS = [
    ("3h 12m", "12", "shop.import_csv", "redislock:shop.import_csv:0f3c1a7e5b9d2846"),
    (f"9h 01m{MARK}", "0", "mail", "redislock:\N{CJK UNIFIED IDEOGRAPH-8CA8}\N{CJK UNIFIED IDEOGRAPH-7269}"),
]


def shown(rows: list[tuple[str, ...]], width: int | None) -> list[str]:
    return [click.unstyle(line) for line in lines(COLUMNS, rows, width)]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(map(width_of, shown(ROWS, width))) <= width


def test_without_a_terminal_names_are_whole() -> None:
    assert shown(ROWS, None)[1].endswith(f"shop.import_csv{GAP}redislock:shop.import_csv:0f3c1a7e5b9d2846")


def test_each_cell_stands_below_its_heading() -> None:
    head, *below = shown(ROWS, 60)

    for line, task in zip(below, ("shop", "mail"), strict=True):
        assert line[head.index("task") :].startswith(task)
    assert [line[: head.index("waits") + len("waits")].split()[-1] for line in below] == ["12", "0"]


def test_a_column_that_needs_little_leaves_the_rest_to_the_others() -> None:
    line = shown([("1 s", "0", "mail", "x" * 60)], 50)[1]

    assert CUT in line
    assert width_of(line) == 50


def test_a_lock_that_would_look_like_another_is_not_cut() -> None:
    alike = [f"redislock:{'a' * 20}{number}{'a' * 20}" for number in (1, 2)]

    below = shown([("1 s", "0", "pay", name) for name in alike], 60)[1:]

    assert [line.split()[-1] for line in below] == alike


def test_a_column_whose_names_would_look_alike_is_as_wide_as_it_must_be() -> None:
    tasks = [f"shop.accounts.{which}.{'transfer' * 3}" for which in ("one", "two", "ten")]

    below = shown([("1 s", "0", task, "lock") for task in tasks], 40)[1:]

    assert len({line.split()[-2] for line in below}) == 3
    assert len({line.rindex("lock") for line in below}) == 1


def test_what_is_marked_is_red() -> None:
    styled = list(lines(COLUMNS, ROWS, 100))

    assert ["\x1b[31m" in line for line in styled] == [False, False, True]


def test_nothing_stands_behind_the_last_text() -> None:
    assert all(line == line.rstrip() for line in shown(ROWS, 100))
