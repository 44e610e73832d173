"""Fixtures: a database for the schedule of Django."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]


@pytest.fixture
def django_database(postgres_url: str) -> dict[str, str]:
    """Give the environment of beats whose schedule is in an empty database."""
    environment = {
        "BEAT_DATABASE": postgres_url,
        "DJANGO_SETTINGS_MODULE": "tests.stories.beat.django_settings",
    }
    for command in (["migrate", "-v", "0"], ["flush", "--no-input"]):
        subprocess.run(
            [sys.executable, "-m", "django", *command],
            env={**os.environ, **environment},
            cwd=_ROOT,
            check=True,
            capture_output=True,
        )
    return environment
