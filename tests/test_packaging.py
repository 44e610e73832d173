"""The wheel: all that a user needs is in it, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.metadata import version
from pathlib import Path

import pytest

import celery_redislock

from .servers import Server

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "celery_redislock"

#: What a clone does not have, and a build must not see.
NOT_SOURCE = (".*", "build", "dist", "*.egg-info", "__pycache__", "demo-output")

#: The setuptools that pyproject.toml asks for; with an older one here, the build gets its own.
SETUPTOOLS = 77

#: Runs in an environment that has the wheel, what it requires, and no more.
PROGRAM = """
import sys
from pathlib import Path

import celery_redislock
import redis
from celery import Celery
from celery_redislock import LockBusy, LockedTask, RedisLock

url = sys.argv[1]
assert Path(celery_redislock.__file__).is_relative_to(sys.prefix), celery_redislock.__file__

client = redis.Redis.from_url(url)
lock = RedisLock(client, "wheel", expire=5)
assert lock.acquire() and not RedisLock(client, "wheel").acquire()
assert lock.release() and not lock.locked()

app = Celery("wheel", set_as_current=False)
app.conf.redislock_url = url
seen = []

@app.task(base=LockedTask, bind=True, name="double")
def double(self, number):
    seen.append(self.lock.fencing_token)
    return 2 * number

assert double.apply((21,)).get() == 42
assert seen[0] is not None
with double.lock_for(21):
    assert double.apply((21,)).state == "REVOKED"
assert len(seen) == 1
print("the wheel works")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources, as nothing may be left in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*NOT_SOURCE))
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder)]
    if int(version("setuptools").partition(".")[0]) >= SETUPTOOLS:
        command.append("--no-isolation")
    run(*command, str(folder / "source"), cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """Give what the package index will show."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def run(*command: str, cwd: Path) -> str:
    """Run a program and return its output, or fail and show it."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env=clean_environment()
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean_environment() -> dict[str, str]:
    """Return our environment without what could bring this checkout into another one."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    sources = {
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert packed == sources
    assert "celery_redislock/py.typed" in packed
    assert "celery_redislock/engine/scripts/acquire.lua" in packed


def test_the_wheel_requires_celery_and_redis_alone(metadata: Message) -> None:
    required = metadata.get_all("Requires-Dist", [])

    unconditional = [line for line in required if "extra ==" not in line]
    assert sorted(line.partition("<")[0].partition(">")[0] for line in unconditional) == [
        "celery",
        "redis",
    ]


def test_the_wheel_offers_its_extras(metadata: Message) -> None:
    assert set(metadata.get_all("Provides-Extra", [])) == {"hiredis", "bench", "demo", "test", "dev"}


def test_the_wheel_says_what_it_is(metadata: Message) -> None:
    assert metadata["Name"] == "celery-redislock"
    assert metadata["Version"] == celery_redislock.__version__
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["License-File"] == "LICENSE"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_works_in_an_empty_environment(wheel: Path, server: Server, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")

    run(python, "-m", "pip", "install", "--quiet", str(wheel), cwd=tmp_path)

    run(python, "-m", "pip", "check", cwd=tmp_path)
    assert run(python, "-I", "-c", PROGRAM, server.url, cwd=tmp_path) == "the wheel works\n"
