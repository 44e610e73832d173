"""Chaos can fail: a lock that leaves out a rule is found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ..mutants.chaos import OWNER_CHECK
from ..mutants.scripts import gone_wrong
from ..support.places import ROOT

#: The rule that is left out -> what it leads to, in the verdict.
SHOWS = {
    "owner-check": "overlaps_of_believers",
    "redelivery": "overlaps_of_believers",
    "fence": "corrupted_writes",
}


def test_the_script_has_the_rule_that_is_left_out() -> None:
    """It is told here, and not after minutes of chaos."""
    with gone_wrong(*OWNER_CHECK):
        pass


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("rule", SHOWS)
def test_chaos_finds_a_lock_that_leaves_out_a_rule(rule: str, tmp_path: Path) -> None:
    verdict = tmp_path / "verdict.json"
    command = [sys.executable, "-m", "tests.chaos", "--without", rule, "--seconds", "300"]
    command += ["--json", str(verdict), "--logs", str(tmp_path)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 1, done.stdout + done.stderr
    assert json.loads(verdict.read_text())[SHOWS[rule]], done.stdout
