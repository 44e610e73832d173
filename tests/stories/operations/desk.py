"""Desk: where an operator types ``celery -A APP ...``, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from ...support.places import ROOT, python_path
from .shop_app import SETTINGS

#: Of each command: the package and the tests can be imported.
ENVIRONMENT = {**os.environ, "PYTHONPATH": python_path()}


def celery(app: str, *arguments: str) -> list[str]:
    """Return the command line of one of Celery's commands."""
    return [sys.executable, "-m", "celery", "-A", app, *arguments]


def doctor(
    *arguments: str, app: str = "tests.stories.operations.shop_app", env: Any = None, **settings: Any
) -> Any:
    """Run ``celery -A APP locks doctor`` as an operator does.

    Args:
        *arguments: Of the command.
        app: With the settings from its environment.
        env: More of the environment.
        **settings: Of the app.
    """
    env = {**ENVIRONMENT, SETTINGS: json.dumps(settings), **(env or {})}
    command = celery(app, "locks", "doctor", *arguments)
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=env, cwd=ROOT, timeout=100
    )
