"""The demo measures, can fail, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread
from rich.console import Console

from example_project.demo import __main__ as demo
from example_project.demo.batch_outcome import BatchOutcome, Tick, batch_outcome_of, batch_problems
from example_project.demo.outcome import Outcome, Run, most_at_once, outcome_of, problems
from example_project.demo.processes import CannotRun
from example_project.demo.style import lanes
from example_project.demo.timeline import draw
from example_project.events import EVENTS_FILE, Event, read, record, recorded_run

from ..support import processes
from ..support.deadlines import eventually
from ..support.places import ROOT


def outcome(*intervals: tuple[float, float], rows: int = 10) -> Outcome:
    """A phase with these runs, on a file of ten rows."""
    return Outcome(
        title="Phase",
        ticks=tuple(start for start, _ in intervals),
        skips=(0.5,),
        runs=tuple(Run(start, end, 10, True) for start, end in intervals),
        rows_in_file=10,
        rows_in_database=rows,
        seconds=max((end for _, end in intervals), default=0.0),
    )


def run(start: float, end: float) -> Run:
    """A body that ended well."""
    return Run(start, end, 0, True)


BATCHES = BatchOutcome(
    title="Batches",
    ticks=(Tick(0.0, "beat-1", "import, 12:00:00"), Tick(5.0, "beat-2", "import, 12:00:04")),
    killed_at=1.0,
    batches=((run(0, 2), run(1, 3)), (run(5, 6), run(6, 7))),
    skips=(1.5,),
    changes=(0.5, 1.5),
    resyncs=(run(0.6, 1.6), run(1.6, 2.6)),
    last_change_copied=True,
    rows_in_file=10,
    rows_in_database=10,
    seconds=8.0,
)

OVERLAPPING = outcome((0, 3), (1, 4), (2, 5), rows=25)
ONE_AT_A_TIME = outcome((0, 1), (1, 2), (3, 4))


@pytest.mark.parametrize(
    ("intervals", "most"),
    [
        ([], 0),
        ([(0, 1)], 1),
        ([(0, 1), (1, 2)], 1),
        ([(0, 2), (1, 3)], 2),
        ([(0, 9), (1, 2), (3, 4)], 2),
        ([(0, 9), (1, 4), (2, 3), (5, 6)], 3),
    ],
)
def test_the_most_bodies_at_once_are_counted(intervals: list[tuple[float, float]], most: int) -> None:
    """Runs that follow each other closely do not overlap."""
    assert most_at_once(intervals) == most


def test_the_expected_outcome_has_no_problems() -> None:
    """Mixed up without the lock, in good order with it."""
    assert problems(OVERLAPPING, ONE_AT_A_TIME) == []


@pytest.mark.parametrize(
    ("locked", "complaint"),
    [
        (OVERLAPPING, "3 imports ran at once"),
        (replace(ONE_AT_A_TIME, rows_in_database=9), "left 9 rows"),
        (replace(ONE_AT_A_TIME, rows_in_database=11), "left 11 rows"),
        (replace(ONE_AT_A_TIME, runs=(Run(0, 1, 5, False),)), "import failed"),
        (outcome(), "No import ran"),
    ],
)
def test_a_bad_locked_phase_is_a_problem(locked: Outcome, complaint: str) -> None:
    """Each way in which the lock could have failed is found on its own."""
    assert any(complaint in problem for problem in problems(OVERLAPPING, locked))


def test_a_control_without_overlap_proves_nothing() -> None:
    """A locked phase in good order says little when the other one was so too."""
    assert "nothing was compared" in problems(ONE_AT_A_TIME, ONE_AT_A_TIME)[0]


def test_an_outcome_is_computed_from_events() -> None:
    """Times count from the first tick, skips and runs by what their processes recorded."""
    seen = [
        Event(99.0, "ready"),
        Event(100.0, "published", "a"),
        Event(100.1, "started", "a"),
        Event(101.0, "published", "b"),
        Event(101.2, "skipped", "b"),
        Event(102.0, "rows", "a", 7),
        Event(103.0, "finished", "a"),
        Event(104.0, "published", "c"),
        Event(104.5, "started", "c"),
        Event(105.0, "failed", "c"),
    ]

    computed = outcome_of("Phase", seen, rows_in_file=7, rows_in_database=8)

    assert computed.ticks == pytest.approx((0, 1, 4))
    assert computed.skips == pytest.approx((1.2,))
    assert [(run.rows, run.succeeded) for run in computed.runs] == [(7, True), (0, False)]
    assert computed.runs[0].start == pytest.approx(0.1)
    assert computed.runs[0].end == pytest.approx(3)
    assert computed.seconds == pytest.approx(5)
    assert (computed.most_at_once, computed.rows_in_database) == (1, 8)


def test_batches_in_good_order_are_no_problem() -> None:
    """The control of what follows."""
    assert batch_problems(BATCHES) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"killed_at": 0.0}, "No second beat"),
        ({"ticks": (BATCHES.ticks[0],) * 2}, "1 due times were sent twice"),
        ({"batches": BATCHES.batches[:1]}, "Fewer than two"),
        ({"batches": ((run(0, 2),), (run(1, 3),))}, "Members of two batches"),
        ({"batches": (*BATCHES.batches, (Run(8, 9, 0, False),))}, "A member"),
        ({"rows_in_database": 11}, "11 rows"),
        ({"resyncs": (run(0, 2), run(1, 3))}, "Two resyncs"),
        ({"last_change_copied": False}, "The last change"),
    ],
)
def test_bad_batches_are_a_problem(change: dict[str, Any], complaint: str) -> None:
    """Each promise can be broken alone."""
    assert any(complaint in problem for problem in batch_problems(replace(BATCHES, **change)))


def test_batches_are_computed_from_the_events() -> None:
    """Members by batch, ticks by beat, and whether the last change was copied."""
    seen = [
        Event(100.0, "ticked", "t1", name="beat-1", group="import, 1"),
        Event(100.1, "batch", "t1"),
        Event(100.5, "started", "m1", name="month 1", group="t1"),
        Event(101.0, "killed", name="beat-1"),
        Event(102.0, "finished", "m1"),
        Event(103.0, "changed", "c", name="change 1"),
        Event(103.1, "started", "r", name="resync 1"),
        Event(104.0, "ticked", "t2", name="beat-2", group="import, 2"),
        Event(104.1, "skipped", "t2"),
        Event(105.0, "failed", "r"),
    ]

    computed = batch_outcome_of("Phase", seen, rows_in_file=7, rows_in_database=8)

    assert [(tick.at, tick.beat) for tick in computed.ticks] == [(0.0, "beat-1"), (4.0, "beat-2")]
    assert [[(member.start, member.end) for member in batch] for batch in computed.batches] == [[(0.5, 2.0)]]
    assert (computed.killed_at, computed.sent_twice, len(computed.skips)) == (1.0, 0, 1)
    assert [member.succeeded for member in computed.resyncs] == [False]
    assert computed.last_change_copied
    later = [*seen, Event(106.0, "changed", "d", name="change 2")]
    assert not batch_outcome_of("Phase", later, 7, 8).last_change_copied


def test_a_run_that_never_ended_lasts_to_the_end_of_the_phase() -> None:
    """A process that was killed overlaps with whatever came later."""
    seen = [Event(0, "published", "a"), Event(0, "started", "a"), Event(1, "started", "b")]

    computed = outcome_of("Phase", [*seen, Event(2, "finished", "b")], 1, 1)

    assert computed.most_at_once == 2
    assert not computed.runs[0].succeeded


def test_events_are_read_as_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is not complete yet is left for the next time."""
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(EVENTS_FILE, str(path))
    assert read(path) == []

    record("published", "a")
    with recorded_run("a"):
        record("rows", "a", 5)
    with pytest.raises(LookupError), recorded_run("b"):
        raise LookupError
    with path.open("a") as file:
        file.write('{"at": 1')

    assert [(event.kind, event.run, event.rows) for event in read(path)] == [
        ("published", "a", 0),
        ("started", "a", 0),
        ("rows", "a", 5),
        ("finished", "a", 0),
        ("started", "b", 0),
        ("failed", "b", 0),
    ]


def test_overlapping_runs_are_drawn_in_lanes_of_their_own() -> None:
    """And a lane is used again when it is free."""
    runs = outcome((0, 3), (1, 2), (2, 5), (3, 4)).runs

    assert lanes(runs) == [0, 1, 1, 0]


@pytest.mark.parametrize("locked", [ONE_AT_A_TIME, OVERLAPPING, outcome()])
@pytest.mark.parametrize("batches", [BATCHES, batch_outcome_of("Nothing happened", [], 10, 0)])
def test_the_picture_is_drawn_whatever_the_outcome(
    locked: Outcome, batches: BatchOutcome, tmp_path: Path
) -> None:
    """A failed demo is when one wants to see it most."""
    png, svg = draw(OVERLAPPING, locked, batches, tmp_path / "new")

    assert imread(png).shape[1] > 1000
    assert "<svg" in svg.read_text()


def test_the_table_shows_what_was_measured() -> None:
    """Numbers come from the outcomes, not from the text."""
    console = Console(width=100)

    with console.capture() as capture:
        console.print(demo.table(OVERLAPPING, ONE_AT_A_TIME))

    rows = {line.split("│")[1].strip(): line for line in capture.get().splitlines() if "│" in line}
    assert rows["Most at once"].split() == ["│", "Most", "at", "once", "│", "3", "│", "1", "│"]
    assert " 25 " in rows["Rows in the database"]


@pytest.mark.parametrize(("locked", "code"), [(ONE_AT_A_TIME, 0), (OVERLAPPING, 1)])
def test_the_exit_code_says_whether_the_lock_held(
    locked: Outcome, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A continuous build can rely on it."""
    monkeypatch.setattr(demo, "run_phases", lambda *_: (OVERLAPPING, locked, BATCHES))
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    assert demo.main(["--output", str(tmp_path)]) == code


def test_a_demo_that_cannot_run_says_why_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It must never look like a success."""

    def refuse(*_: object) -> None:
        raise CannotRun("there is no Redis")

    monkeypatch.setattr(demo, "run_phases", refuse)
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    assert demo.main([]) == 1
    assert "there is no Redis" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Server, worker, its pool and the beats are gone when the demo is, and so are their files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = [sys.executable, "-m", "example_project.demo"]
    with tempfile.TemporaryFile() as output:
        program = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stdout=output, stderr=output)
        try:
            eventually(lambda: imports_started(tmp_path), 60, "an import should have started")
            family = descendants(program.pid)
            assert len(family) >= 6
            program.send_signal(number)
            assert program.wait(20) == 128 + number
        finally:
            program.kill()
            program.wait()
    eventually(lambda: not alive(family), 5, "all processes should be gone")
    assert list(tmp_path.iterdir()) == []


def imports_started(temporary: Path) -> bool:
    """Whether any import of the running demo has begun."""
    return any('"started"' in path.read_text() for path in temporary.rglob("events.jsonl"))


def descendants(pid: int) -> list[int]:
    """List the living children of a process, their children and so on."""
    children = processes.living(parent=pid)
    return [*children, *(pid for child in children for pid in descendants(child))]


def alive(pids: list[int]) -> list[int]:
    """Filter out the processes that have ended, zombies included."""
    return [process.pid for process in processes._process_table() if process.pid in pids and process.is_alive]
