"""The wheel: all that a user needs is in it, and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import sys
import zipfile
from configparser import ConfigParser
from email.message import Message
from email.parser import Parser
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import pytest

import celery_redislock

from ..docs.walkthrough import Walkthrough
from ..support import newcomer
from ..support.newcomer import README, run
from ..support.places import DOCS, ROOT
from ..support.sample import Sample
from ..support.servers import Server

PACKAGE = ROOT / "celery_redislock"

#: What a clone does not have, and a build must not see.
NOT_SOURCE = (".*", "build", "dist", "*.egg-info", "__pycache__", "demo-output")

#: The setuptools that pyproject.toml asks for; with an older one here, the build gets its own.
SETUPTOOLS = 77

OLDEST = ROOT / "tests" / "oldest.txt"

#: Name of an environment: its Python, and what pip is told beside the wheel. Python 3.13 and Celery 5.7
#: are the newest there were.
ENVIRONMENTS = {
    "oldest": ("3.10", ("-c", str(OLDEST))),
    "celery-5.4": ("3.11", ("celery==5.4.*",)),
    "celery-5.5": ("3.12", ("celery==5.5.*",)),
    "celery-5.6": ("3.11", ("celery==5.6.*",)),
    "newest": ("3.13", ()),
}


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
    assert "celery_redislock/engine/scripts/lock/acquire.lua" in packed


def test_the_wheel_requires_celery_and_its_redis_alone(metadata: Message) -> None:
    required = metadata.get_all("Requires-Dist", [])

    unconditional = [line for line in required if "extra ==" not in line]
    assert sorted(line.partition("<")[0].partition(">")[0] for line in unconditional) == [
        "celery[redis]",
        "kombu[redis]",
        "redis",
    ]


def test_the_wheel_offers_its_extras(metadata: Message) -> None:
    assert set(metadata.get_all("Provides-Extra", [])) == {
        "hiredis",
        "prometheus",
        "opentelemetry",
        "pytest",
        "bench",
        "demo",
        "docs",
        "test",
        "dev",
    }


def test_the_wheel_names_its_commands_and_its_plugin_of_pytest(wheel: Path) -> None:
    found = ConfigParser()
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
        found.read_string(archive.read(name).decode())

    assert {group: dict(found[group]) for group in found.sections()} == {
        "celery.commands": {"locks": "celery_redislock.operations.commands:locks"},
        "pytest11": {"redislock": "celery_redislock.testing.plugin"},
    }


def test_the_wheel_says_what_it_is(metadata: Message) -> None:
    assert metadata["Name"] == "celery-redislock"
    assert metadata["Version"] == celery_redislock.__version__
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["License-File"] == "LICENSE"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("chosen", ENVIRONMENTS)
def test_the_first_example_works_in_an_empty_environment(
    chosen: str, wheel: Path, server: Server, tmp_path: Path
) -> None:
    minor, told = ENVIRONMENTS[chosen]
    python = newcomer.interpreter(minor)
    programs = newcomer.environment(tmp_path / "venv", python, str(wheel), *told)

    assert the_example_runs(programs, tmp_path / "redis", newcomer.example(f"127.0.0.1:{server.port}"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_first_example_works_with_hiredis_and_over_rabbitmq(
    wheel: Path, server: Server, amqp_url: str, tmp_path: Path
) -> None:
    programs = newcomer.environment(tmp_path / "venv", sys.executable, f"{wheel}[hiredis]")
    code = newcomer.example(f"127.0.0.1:{server.port}", broker=amqp_url)
    queue = f"newcomer-{uuid4().hex}"

    code += f"\napp.conf.task_default_queue = {queue!r}\napp.conf.task_queue_expires = 60\n"
    assert the_example_runs(programs, tmp_path / "amqp", code)
    run(programs / "python", "-c", "import hiredis", cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_tests_of_locked_tasks_work_in_an_environment_of_their_own(
    wheel: Path, server: Server, tmp_path: Path
) -> None:
    programs = newcomer.environment(
        tmp_path / "venv", sys.executable, f"{wheel}[pytest]", "pytest-xdist", "django"
    )
    sample = Sample.copied(tmp_path / "project", programs / "python", newcomer.clean_environment())

    sample.check_right()
    sample.check_wrong()

    home = tmp_path / "home"
    home.mkdir()
    env = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": ""}
    # The page's Redis is that of its production: nobody may be asked there.
    nowhere = {"localhost:6379": "127.0.0.1:1"}
    with Walkthrough(DOCS / "howto" / "test_your_tasks.md", home, server, env=env, places=nowhere).followed():
        pass


def the_example_runs(programs: Path, folder: Path, code: str) -> bool:
    """Save the example, start the worker as the README does, and publish from a second process."""
    folder.mkdir()
    (folder / "shop.py").write_text(code)
    (folder / "program.py").write_text(newcomer.PROGRAM)
    with newcomer.worker_of_the_readme(programs, folder):
        return run(programs / "python", "program.py", cwd=folder) == "skipped\n"


def test_the_environments_are_those_that_the_readme_claims() -> None:
    claim = re.search(
        r"^Supported: Python ([\d.]+) to ([\d.]+), Celery ([\d.]+) to ([\d.]+), redis-py", README, re.M
    )
    assert claim
    oldest_python, newest_python, oldest_celery, newest_celery = claim.groups()
    pythons = sorted((python for python, _ in ENVIRONMENTS.values()), key=minor_of)

    assert (pythons[0], pythons[-1]) == (oldest_python, newest_python)
    assert f"celery=={oldest_celery}.0" in OLDEST.read_text()
    of_minors = [
        told[0].removeprefix("celery==") for _, told in ENVIRONMENTS.values() if told and told[0] != "-c"
    ]
    assert of_minors == [f"5.{minor}.*" for minor in range(minor_of(oldest_celery), minor_of(newest_celery))]


def test_the_environments_are_those_of_the_metadata(metadata: Message) -> None:
    named = {line.rpartition(" ")[2] for line in metadata.get_all("Classifier", []) if "Python :: 3." in line}
    oldest, newest = (ENVIRONMENTS[name][0] for name in ("oldest", "newest"))

    assert named == {f"3.{minor}" for minor in range(minor_of(oldest), minor_of(newest) + 1)}
    assert metadata["Requires-Python"] == f">={oldest}"


@pytest.mark.parametrize("required", ["celery", "kombu", "redis"])
def test_the_oldest_that_is_tried_is_the_oldest_that_is_allowed(metadata: Message, required: str) -> None:
    bounds = [
        found[1]
        for line in metadata.get_all("Requires-Dist", [])
        if (found := re.fullmatch(rf"{required}(?:\[redis\])?\S*>=([\d.]+)", line))
    ]
    tried = re.search(rf"^{required}==(.*)$", OLDEST.read_text(), re.M)

    assert tried
    assert [(*numbers(bound), 0, 0)[:3] for bound in bounds] == [numbers(tried[1])]


def minor_of(version: str) -> int:
    """Return the second number of a version."""
    return numbers(version)[1]


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version."""
    return tuple(map(int, version.split(".")))
