"""A scheduled import: it runs more often than it can finish, and the table is never a mix of two imports."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ...support.deadlines import eventually
from ...support.servers import Server
from .guide import Reader, followed

IMPORT_TWICE = """
import json
from imports import import_csv
results = [import_csv.apply_async(["flights.csv", 0.2], lock={options}) for _ in range(2)]
for result in results:
    result.get(timeout=60, propagate=False)
print(json.dumps(sorted(result.state for result in results)))
"""


def test_the_import_never_overlaps_itself(own_server: Server, tmp_path: Path) -> None:
    with followed("csv_import.md", own_server, tmp_path) as reader:
        eventually(lambda: reader.log("worker").count(" skip: ") > 2, 60, "imports should be skipped")
        reader.stop("standby")
        eventually(
            lambda: reader.run("celery -A imports locks list --json") == "", 60, "no import should run"
        )
        assert rows(reader) == 10

        assert reader.python(IMPORT_TWICE.format(options="{}")) == ["REVOKED", "SUCCESS"]
        assert rows(reader) == 10

        # The control: without the lock rows are there twice.
        assert reader.python(IMPORT_TWICE.format(options='{"mode": "off"}')) == ["SUCCESS", "SUCCESS"]
        assert rows(reader) > 10


def rows(reader: Reader) -> int:
    """Return how many flights the table has."""
    with sqlite3.connect(reader.folder / "flights.sqlite3") as database:
        return int(database.execute("SELECT count(*) FROM flights").fetchone()[0])
