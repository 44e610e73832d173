"""Newcomer: an empty environment with a wheel in it, where the README's first example is run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from . import processes
from .deadlines import eventually

README = (Path(__file__).parents[2] / "README.md").read_text()

#: Seconds: importing Celery and forking a pool on two busy cores.
_READY_WITHIN = 40.0

#: Where the example has its Redis: there the test puts its own.
_PLACE = "localhost:6379"

#: What the README's example is for, from a second shell in the same directory.
PROGRAM = """
import sys
import time
from pathlib import Path

import celery_redislock
from celery.exceptions import TaskRevokedError
from shop import app, import_csv

assert Path(celery_redislock.__file__).is_relative_to(sys.prefix), celery_redislock.__file__


def end_of(result):
    deadline = time.monotonic() + 30
    # Looked up, not waited for: on a busy machine Celery may miss the word that a result is there.
    while not result.ready() and time.monotonic() < deadline:
        time.sleep(0.02)
    return result.get(timeout=1)


assert end_of(import_csv.delay("flights.csv")) is None
with import_csv.lock_for("flights.csv") as lock:
    assert lock.fencing_token
    overlapping = import_csv.delay("flights.csv", chunk_size=1)
    try:
        end_of(overlapping)
    except TaskRevokedError:
        print("skipped")
    assert end_of(import_csv.delay("trains.csv")) is None
assert end_of(import_csv.delay("flights.csv")) is None
app.conf.redislock_url = "redis://:hunter2@localhost/0"
assert "hunter2" not in app.bugreport()
"""


def interpreter(minor: str) -> str:
    """Return a Python of that minor version, such as ``3.10``; this one where the machine has none."""
    if minor == f"{sys.version_info[0]}.{sys.version_info[1]}":
        return sys.executable
    of_pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [str(path) for path in sorted(of_pyenv.glob(f"{minor}.*/bin/python"))]
    # A shim of pyenv is on the path for each version, and works for the chosen one alone.
    for candidate in filter(None, [*found, shutil.which(f"python{minor}")]):
        if subprocess.run([candidate, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return candidate
    return sys.executable


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program and return its output, or fail and show it."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env=clean_environment()
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean_environment() -> dict[str, str]:
    """Return our environment without what could bring this checkout into another one."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def environment(folder: Path, python: str, *requirements: str) -> Path:
    """Make an environment with the requirements and what they require; return where its programs are."""
    run(python, "-m", "venv", folder, cwd=folder.parent)
    programs = folder / "bin"
    run(programs / "python", "-m", "pip", "install", "--quiet", *requirements, cwd=folder)
    run(programs / "python", "-m", "pip", "check", cwd=folder)
    return programs


def example(redis_place: str, broker: str = "") -> str:
    """Return the README's first example, with another Redis, and perhaps another broker."""
    found = re.search(r"^```python\n(.*?)^```$", README, re.M | re.S)
    assert found, "the README has no example"
    assert _PLACE in found[1]
    code = found[1].replace(_PLACE, redis_place)
    return re.sub(r'broker="[^"]*"', f'broker="{broker}"', code) if broker else code


def worker_command() -> list[str]:
    """Return how the README starts a worker."""
    found = re.search(r"^\$ (celery -A shop worker .*)$", README, re.M)
    assert found, "the README starts no worker"
    return shlex.split(found[1], comments=True)


@contextmanager
def worker_of_the_readme(programs: Path, folder: Path) -> Iterator[None]:
    """Run the worker in the folder of the example, until the block ends."""
    command = worker_command()
    with tempfile.NamedTemporaryFile(prefix="newcomer-", suffix=".log") as output:
        process = processes.start(
            [programs / command[0], *command[1:]], output=output, env=clean_environment(), cwd=folder
        )
        try:
            eventually(lambda: " ready." in _text(output), _READY_WITHIN, "the worker should be ready")
            yield
        except BaseException:
            print(f"---- log of the worker ----\n{_text(output)}", file=sys.stderr)
            raise
        finally:
            left_over = processes.end_group(process, grace=15)
        assert not left_over
        assert "Traceback" not in _text(output), _text(output)


def _text(output: IO[bytes]) -> str:
    return Path(output.name).read_text(errors="replace")
