"""``python -m example_project.demo``: exit code 0 when the lock did what it promises, else 1."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .batch_outcome import BatchOutcome, batch_problems
from .outcome import FLIGHTS, Outcome, problems
from .processes import CannotRun, end_when_asked, redis_server

#: Where the picture goes, below the current directory.
OUTPUT = Path("demo-output")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all phases, show the tables, draw the picture, and judge."""
    options = _parser().parse_args(arguments)
    console = Console()
    end_when_asked()
    try:
        unlocked, locked, batches = run_phases(options.locked_mode, console)
    except CannotRun as error:
        console.print(f"The demo could not run: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; all processes were ended.")
        return 128 + signal.SIGINT
    console.print(table(unlocked, locked))
    console.print(batch_table(batches))
    from .timeline import draw

    for picture in draw(unlocked, locked, batches, options.output):
        console.print(f"Picture: {picture}", highlight=False)
    found = [*problems(unlocked, locked), *batch_problems(batches)]
    for problem in found:
        console.print(problem, style="bold red")
    if not found:
        console.print(
            f"One import at a time, and all {locked.rows_in_database:,} rows are there; "
            "no tick was sent twice, and the last change was copied.",
            style="bold green",
        )
    return 1 if found else 0


def run_phases(locked_mode: str, console: Console) -> tuple[Outcome, Outcome, BatchOutcome]:
    """Run the control, then the same work with the lock, then batches with a beat that is killed.

    Raises:
        CannotRun: The message says what is missing or broken.
    """
    try:
        from ..csv_import import flights_file, rows_in_file
        from .batches import BatchPhase
        from .imports import IMPORT_EVERY, TICKS_OF_A_BEAT, ImportPhase
        from .phase import BEATS, PROCESSES
        from .progress import BatchProgress, PhaseProgress

        rows = rows_in_file(flights_file())
    except (ImportError, FileNotFoundError) as error:
        raise CannotRun(f"{error}; pip install 'celery-redislock[demo]'") from error
    if rows != FLIGHTS:
        raise CannotRun(f"{flights_file()} has {rows:,} rows instead of {FLIGHTS:,}")
    ticks = TICKS_OF_A_BEAT * len(BEATS)
    console.print(
        f"{len(BEATS)} beats ask for an import of {rows:,} flights every {IMPORT_EVERY:g} s, "
        f"{ticks} times in all; {PROCESSES} processes run them.",
        highlight=False,
    )
    outcomes = []
    with scratch_directory() as directory, redis_server() as url:
        for title, mode in (("Without the lock", "off"), ("With the lock", locked_mode)):
            with PhaseProgress(title, ticks, rows, console) as progress:
                own_directory = directory / title.replace(" ", "-").lower()
                outcomes.append(ImportPhase(title, mode, url, own_directory, progress.show).run(rows))
        title = "In twelve parts, and one beat dies"
        with BatchProgress(title, console) as batch_progress:
            batches = BatchPhase(title, "on", url, directory / "batches", batch_progress.show).run(rows)
    return outcomes[0], outcomes[1], batches


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Give a new directory; it stays only when its log files tell why the demo could not run."""
    directory = Path(tempfile.mkdtemp(prefix="redislock-demo-"))
    keep = False
    try:
        yield directory
    except CannotRun:
        keep = any(directory.rglob("*.log"))
        raise
    finally:
        if not keep:
            shutil.rmtree(directory)


def table(unlocked: Outcome, locked: Outcome) -> Table:
    """Put both phases side by side."""
    result = Table("", unlocked.title, locked.title)
    for column in result.columns[1:]:
        column.justify = "right"
    for label, left, right in (
        ("Ticks sent by the beats", len(unlocked.ticks), len(locked.ticks)),
        ("Imports started", len(unlocked.runs), len(locked.runs)),
        ("Imports skipped", len(unlocked.skips), len(locked.skips)),
        ("Most at once", unlocked.most_at_once, locked.most_at_once),
        ("Rows in the file", unlocked.rows_in_file, locked.rows_in_file),
        ("Rows in the database", unlocked.rows_in_database, locked.rows_in_database),
    ):
        result.add_row(label, f"{left:,}", f"{right:,}")
    result.add_row("Seconds", f"{unlocked.seconds:.1f}", f"{locked.seconds:.1f}")
    return result


def batch_table(outcome: BatchOutcome) -> Table:
    """Tell what the third phase came to."""
    result = Table("", outcome.title)
    result.columns[1].justify = "right"
    for label, number in (
        ("Ticks sent by the beats", len(outcome.ticks)),
        ("Due times sent twice", outcome.sent_twice),
        ("Batches started", len(outcome.batches)),
        ("Batches skipped", len(outcome.skips)),
        ("Most batches at once", outcome.batches_at_once),
        ("Rows in the database", outcome.rows_in_database),
        ("Changes", len(outcome.changes)),
        ("Resyncs", len(outcome.resyncs)),
    ):
        result.add_row(label, f"{number:,}")
    result.add_row("Seconds", f"{outcome.seconds:.1f}")
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m example_project.demo", description=__doc__)
    parser.add_argument(
        "--locked-mode",
        default=os.environ.get("DEMO_LOCKED_MODE", "on"),
        choices=("on", "shadow", "off"),
        help="redislock_mode of the second phase; anything but 'on' must make the demo fail",
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where the picture goes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
