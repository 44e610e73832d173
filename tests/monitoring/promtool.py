"""Promtool: runs the program of Prometheus that checks rules and tries queries."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def promtool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it in a folder; where it is missing the test is skipped, but not in CI."""
    program = shutil.which("promtool")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is missing: it is in Debian's package prometheus")
        pytest.skip("promtool is missing: it is in Debian's package prometheus")
    return subprocess.run(
        [program, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
