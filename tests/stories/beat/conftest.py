"""Fixtures: a database for the schedule of Django."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ...support.places import ROOT


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
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
    return environment
