"""The benchmark as a program: a quick run measures what it says, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.results import Results
from benchmarks.scenarios import NAMES, scenario_of

from ..support import processes
from ..support.deadlines import eventually
from ..support.places import ROOT, python_path

#: A quick run takes half a minute, and several on a machine with other work.
pytestmark = pytest.mark.timeout(600)

#: Those that need nothing but what the tests have.
CONTENDERS = ("floor", "redislock", "redis-py", "plain", "locked")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": python_path()},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Measure every scenario, quickly."""
    folder = tmp_path_factory.mktemp("benchmarks")
    file = folder / "results.json"
    done = run("--quick", "--contenders", *CONTENDERS, "--json", file, "--plots", folder / "plots")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in (folder / "plots").iterdir()} == {
        "growth.png",
        "handoff.png",
        "throughput.png",
        "waiting.png",
    }
    return Results.load(file)


@pytest.mark.parametrize("scenario", NAMES)
def test_every_scenario_measures_our_lock(results: Results, scenario: str) -> None:
    ours = [row for row in results.rows(scenario) if row[1] in ("redislock", "locked")]

    assert ours
    for case, contender in ours:
        for column in scenario_of(scenario).COLUMNS:
            values = results.rounds(scenario, case, contender, column.measure)
            assert values or results.pooled(scenario, case, contender, column.measure), column.heading


def test_a_cycle_is_two_round_trips(results: Results) -> None:
    for contender in ("redislock", "redis-py", "floor"):
        (round_trips,) = results.rounds("free_cycle", "reused", contender, "round_trips")
        assert round_trips == pytest.approx(2, abs=0.1), contender


def test_no_two_hold_at_once_and_none_is_lost(results: Results) -> None:
    overlaps = [
        results.rounds("handoff", case, name, "overlaps") for case, name in results.rows("handoff") if name
    ]
    lost = [results.rounds("renewed", case, name, "lost") for case, name in results.rows("renewed")]

    assert all(sum(each) == 0 for each in [*overlaps, *lost])


def test_a_lock_leaves_at_most_one_key_for_longer_than_two_minutes(results: Results) -> None:
    ((later,), (endless,)) = (
        results.rounds("memory", "100 locks", "redislock", measure)
        for measure in ("later_keys", "endless_keys")
    )

    assert later <= 1
    assert endless == 0


def test_what_stays_of_a_lock_stays_for_longer_if_its_message_is_acknowledged_late(results: Results) -> None:
    (early,), (late,) = (
        results.rounds("what_stays", f"acknowledged {when}", "locked", "left_s") for when in ("early", "late")
    )

    assert early <= 120
    assert late > 3000


def test_facts_name_no_host_and_no_path(results: Results) -> None:
    text = str(results.facts)

    assert os.uname().nodename not in text
    assert str(ROOT) not in text
    assert {"cores", "python", "server", "versions", "load average at start"} <= set(results.facts)


def test_a_run_leaves_no_process_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "benchmarks",
            "--only",
            "handoff",
            "--contenders",
            "redislock",
            "--rounds",
            "1",
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        cwd=ROOT,
    )
    eventually(lambda: len(processes.living(group=process.pid)) > 4, within=60)

    process.kill()
    process.wait()

    eventually(lambda: not processes.living(group=process.pid), within=20)
