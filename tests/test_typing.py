"""Typing: the decorator keeps the signature of the function, as seen by mypy."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
API = Path(__file__).with_name("typing_api.py")


def expected_errors() -> dict[int, set[str]]:
    """Read the marks: line -> codes."""
    lines = enumerate(API.read_text().splitlines(), start=1)
    return {number: set(line.split("# error: ")[1].split()) for number, line in lines if "# error: " in line}


def test_a_type_checker_sees_the_signature_of_a_locked_task() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(API)]

    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout

    found = defaultdict(set)
    for line, code in re.findall(r"typing_api\.py:(\d+): error: .*\[([\w-]+)\]", output):
        found[int(line)].add(code)
    assert len(expected_errors()) == 14
    assert found == expected_errors(), output
