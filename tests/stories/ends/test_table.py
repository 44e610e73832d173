"""Table: docs/explanation/ends.md tells operators what these tests show, and what was measured."""

from __future__ import annotations

import importlib
import pkgutil
from itertools import takewhile

from ...support.places import DOCS
from . import __name__ as package
from . import __path__ as places
from .figures import HEAD as MEASURED
from .rows import HEAD, ROWS


def rows_of(text: str, head: str) -> list[str]:
    """Return the lines of all tables of a document that have this head."""
    lines = text.splitlines()
    begins = [number + 2 for number, line in enumerate(lines) if line == head]
    return [row for begin in begins for row in takewhile(lambda line: line.startswith("|"), lines[begin:])]


def test_the_tables_of_the_docs_are_the_table_of_the_tests() -> None:
    assert rows_of((DOCS / "explanation" / "ends.md").read_text(), HEAD) == [
        str(row) for row in ROWS.values()
    ]


def test_each_row_was_measured_in_each_of_its_pools_and_no_bodies_overlapped() -> None:
    measured = (DOCS / "explanation" / "ends_measured.md").read_text()
    lines = [line.strip("| ").split(" | ") for line in rows_of(measured, MEASURED)]
    places = {(row, pool) for row, pool, *_ in lines}

    assert {(name, pool) for name, row in ROWS.items() for pool in row.pools} - places == set()
    # "-": whether the two bodies ran at once is not for the lock to say, as the row tells.
    assert {overlaps for row, *_, overlaps in lines if row in ROWS} <= {"0", "-"}


def test_each_row_of_the_table_has_a_test() -> None:
    shown: set[str] = set()
    for module in pkgutil.iter_modules(places):
        if module.name.startswith("test_"):
            tests = vars(importlib.import_module(f"{package}.{module.name}"))
            for name, test in tests.items():
                if name.startswith("test_"):
                    shown |= set(getattr(test, "rows", ()))

    assert set(ROWS) - shown == set()
