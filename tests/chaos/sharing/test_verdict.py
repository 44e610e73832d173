"""The verdict sees what is wrong in the ledgers, and nothing where all is well; and the chaos can fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ...support.places import ROOT
from .ground import GROUNDS, READER, STRANGER, WRITER
from .ledger import ENDED, GRANTED, Ledger, Record, read
from .verdict import LATE_S, PAUSED, STUCK_S, Change, Verdict, judge

#: Which lock the grants below are of: one without a window.
PLACE = 0


def grant(number: int, kind: int, at: float, until: float, ended: float | None = None) -> list[Record]:
    """Return what a contender writes of a grant; without `ended` it was killed meanwhile."""
    begun = Record(GRANTED, PLACE, kind, number, number + 1, at, until)
    return [begun] if ended is None else [begun, Record(ENDED, PLACE, kind, number, number + 1, ended, ended)]


def verdict_on(*grants: list[Record], died: float | None = None) -> Verdict:
    ledger = [record for each in grants for record in each]
    return judge({"one": ledger}, {} if died is None else {"one": died}, 0, 5)


def test_readers_beside_one_another_are_in_order() -> None:
    verdict = verdict_on(grant(0, READER, 1, 3, 2), grant(1, READER, 1.5, 3, 2.5))

    assert verdict.offences == []
    assert verdict.grants == 2
    assert verdict.most[GROUNDS[PLACE].name] == 2


@pytest.mark.parametrize("alone", [WRITER, STRANGER])
@pytest.mark.parametrize("is_first", [True, False])
def test_somebody_alone_is_beside_nobody(alone: int, is_first: bool) -> None:
    kinds = (alone, READER) if is_first else (READER, alone)

    verdict = verdict_on(grant(0, kinds[0], 1, 3, 2), grant(1, kinds[1], 1.5, 3, 2.5))

    assert "beside others" in verdict.offences[0]


def test_the_last_that_came_in_had_a_limit_of_at_least_their_number() -> None:
    assert verdict_on(grant(0, 2, 1, 3, 2), grant(1, 2, 1, 3, 2)).offences == []
    assert verdict_on(grant(0, 2, 1, 3, 2), grant(1, 2, 1, 3, 2), grant(2, 6, 1.5, 3, 2)).offences == []

    verdict = verdict_on(grant(0, 2, 1, 3, 2), grant(1, 2, 1, 3, 2), grant(2, 2, 1.5, 3, 2))

    assert "more than the limit" in verdict.offences[0]


def test_what_is_set_for_all_counts_once_all_know_of_it() -> None:
    def with_limit(limit: int | None, *grants: list[Record]) -> list[str]:
        ledger = [record for each in grants for record in each]
        changes = [Change(PLACE, limit, 1.0, 1.1)]
        return judge({"one": ledger}, {}, 0, 9, changes).offences

    two, later = (grant(0, READER, 1.05, 5, 4.9), grant(1, READER, 1.06, 5, 4.9)), 1.2 + LATE_S
    assert with_limit(1, *two) == []
    assert with_limit(1, grant(0, READER, later, 5, 4), grant(1, READER, later, 5, 4)) != []
    assert with_limit(2, grant(0, READER, later, 5, 4), grant(1, READER, later, 5, 4)) == []
    assert with_limit(None, grant(0, READER, later, 5, 4), grant(1, READER, later, 5, 4)) == []
    assert with_limit(PAUSED, grant(0, WRITER, 1.05, 2, 2)) == []
    assert "paused" in with_limit(PAUSED, grant(0, WRITER, later, 5, 4))[0]


def test_who_is_dead_or_has_lost_it_is_not_counted() -> None:
    assert verdict_on(grant(0, WRITER, 1, 3), grant(1, READER, 2, 3, 2.5), died=1.5).offences == []
    assert verdict_on(grant(0, WRITER, 1, 3), grant(1, READER, 3.1, 4, 3.5)).offences == []
    assert verdict_on(grant(0, WRITER, 1, 3), grant(1, READER, 2, 3, 2.5)).offences != []


def test_one_fencing_token_twice_and_a_lock_that_nobody_gets_are_offences() -> None:
    assert "came twice" in verdict_on(grant(0, READER, 1, 3, 2), grant(0, READER, 3, 4, 4)).offences[0]
    stuck = judge({"one": grant(0, READER, 1, 2, 2)}, {}, 0, 2 + STUCK_S)
    assert "stuck" in stuck.offences[0]


def test_more_in_a_window_than_the_limit_are_an_offence() -> None:
    place = next(n for n, ground in enumerate(GROUNDS) if ground.min_hold_ms)
    window_us, limit = GROUNDS[place].min_hold_ms * 1000, GROUNDS[place].askers[0][0]

    def began(spread_us: int) -> Verdict:
        moments = [n * spread_us for n in range(limit + 1)]
        records = [Record(GRANTED, place, limit, us, us + 1, us / 1e6, us / 1e6) for us in moments]
        return judge({"one": records}, {}, 0, 1)

    assert "began within" in began(window_us // (limit + 1)).offences[0]
    assert began(window_us // limit + 1).offences == []


def test_what_was_written_before_a_kill_is_read(tmp_path: Path) -> None:
    path, record = tmp_path / "ledger", Record(GRANTED, 1, READER, 2, 2**53 - 1, 4.5, 5.5)
    Ledger(path).write(record)
    path.write_bytes(path.read_bytes() + b"cut off")

    assert list(read(path)) == [record]


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("rule", "words"), [("limit", "more than the limit"), ("mark", "beside others")])
def test_chaos_finds_a_shared_lock_that_leaves_out_a_rule(rule: str, words: str, tmp_path: Path) -> None:
    verdict = tmp_path / "verdict.json"
    command = [sys.executable, "-m", "tests.chaos.sharing", "--without", rule, "--seconds", "20"]

    done = subprocess.run(
        [*command, "--json", str(verdict)], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1, done.stdout + done.stderr
    assert words in str(json.loads(verdict.read_text())["offences"]), done.stdout
