"""Environments: which Python runs a contender; peers whose pins clash get one of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent

#: Where environments are kept between runs.
_KEPT = ROOT / ".bench"

#: The environment that runs the benchmark itself: ``pip install -e '.[bench]'``.
MAIN = "main"

#: The same one, with hiredis hidden.
PURE = "pure"

#: Peers that refuse the redis-py of the others -> what their environment gets.
_APART = {
    "redis4": ("sherlock==0.4.1", "redis<5", "hiredis>=2.3"),
    "redis5": ("redlock-ng==2.0.4", "redis<6", "hiredis>=2.3"),
}

#: Tells the agent to hide hiredis.
WITHOUT_HIREDIS = "BENCHMARKS_WITHOUT_HIREDIS"


def python_of(environment: str) -> str:
    """Return the Python of an environment; make the environment when it is missing."""
    if environment in (MAIN, PURE):
        return sys.executable
    folder = _KEPT / environment
    python = str(folder / "bin" / "python")
    complete, wanted = folder / ".complete", " ".join(_APART[environment])
    if not complete.exists() or complete.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "--quiet", *_APART[environment]]
        ours_hidden = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        subprocess.run(install, check=True, env=ours_hidden)
        complete.write_text(wanted)
    return python


def variables_of(environment: str) -> dict[str, str]:
    """Return the environment variables of a contender's process."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    hidden = {WITHOUT_HIREDIS: "1"} if environment == PURE else {}
    return {**os.environ, "PYTHONPATH": path, **hidden}
