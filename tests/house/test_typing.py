"""Typing: a locked task keeps the signature of its function, and a typo is an error; mypy and pyright."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import sysconfig
import venv
from collections import defaultdict
from importlib.metadata import distribution
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from celery import Task

from celery_redislock import ConfigurationError, Conflict, LockedTask
from celery_redislock.config.options import OPTIONS
from celery_redislock.task.typed import CallOptions, Locked, LockTaskOptions, TaskOptions

from ..docs.pages import blocks
from ..docs.walkthrough import commands_of, expected_in
from ..support.places import DOCS, ROOT
from ..support.versions import not_with_5_4

API = Path(__file__).with_name("typing_api.py")


def expected_errors() -> dict[int, set[str]]:
    """Read the marks: line -> mypy's codes, of which it gives one at least."""
    lines = enumerate(API.read_text().splitlines(), start=1)
    marks = ((number, re.search(r"# error: ([\w -]+)", line)) for number, line in lines)
    return {number: set(mark[1].split()) for number, mark in marks if mark}


def test_mypy_sees_what_is_right_and_what_is_wrong() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(API)]

    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout

    found = defaultdict(set)
    for line, code in re.findall(r"typing_api\.py:(\d+): error: .*\[([\w-]+)\]", output):
        found[int(line)].add(code)
    expected = expected_errors()
    assert len(expected) == 32
    assert found.keys() == expected.keys(), output
    assert [line for line, codes in found.items() if not codes <= expected[line]] == []


def test_pyright_sees_what_is_right_and_what_is_wrong() -> None:
    pytest.importorskip("basedpyright", reason="pyright, with what it runs on")
    # It would look for Celery in an environment of the folder, whichever Python runs it.
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable]
    command += ["--level", "error", "--outputjson", str(API)]

    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout

    found = {error["range"]["start"]["line"] + 1 for error in json.loads(output)["generalDiagnostics"]}
    assert found == expected_errors().keys(), output


PAGE = DOCS / "howto" / "typing.md"


@pytest.fixture(scope="module")
def users_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write what the page has a user write into a folder of its own: code, and the configuration of mypy."""
    folder = tmp_path_factory.mktemp("user")
    of_page = blocks(PAGE)
    (folder / "shop.py").write_text("".join(block.code for block in of_page if block.language == "python"))
    (folder / "mypy.ini").write_text("".join(block.code for block in of_page if block.language == "ini"))
    return folder


@pytest.fixture(scope="module", params=["with celery-types", "without celery-types"])
def users_environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment with the package and what is installed here, or without the types of Celery."""
    folder = tmp_path_factory.mktemp(request.param.replace(" ", "-"))
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    types = {path.parts[0] for path in distribution("celery-types").files or ()}
    left_out = types if "without" in request.param else set()
    for installed in Path(sysconfig.get_path("purelib")).iterdir():
        if installed.name not in left_out and "redislock" not in installed.name:
            (packages / installed.name).symlink_to(installed)
    (packages / "celery_redislock").symlink_to(ROOT / "celery_redislock")
    return folder


def errors_of_the_page(code: Path, checker: str, environment: Path) -> set[int]:
    """Read the marks of the page: the lines in which this checker finds an error there."""
    knows_celery = checker == "pyright" or environment.name.startswith("with-")
    lines = enumerate(code.read_text().splitlines(), start=1)
    marks = {number: found[1] for number, line in lines if (found := re.search(r"# error\b([\w -]*)", line))}
    assert set(marks.values()) == {"", " with celery-types in mypy"}
    return {number for number, condition in marks.items() if knows_celery or not condition}


def test_mypy_finds_in_a_users_code_what_the_page_says(users_code: Path, users_environment: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--no-error-summary",
        "--cache-dir",
        str(users_environment / "cache"),
    ]
    command += ["--python-executable", str(users_environment / "bin" / "python"), "shop.py"]

    output = subprocess.run(command, cwd=users_code, capture_output=True, text=True, check=False).stdout

    found = {int(line) for line in re.findall(r"^shop\.py:(\d+): error:", output, re.M)}
    assert found == errors_of_the_page(users_code / "shop.py", "mypy", users_environment), output
    [shown] = [block.code for block in blocks(PAGE) if block.language == "console"]
    assert expected_in(dict(commands_of(shown))["mypy shop.py"], output)


@not_with_5_4("without celery-types pyright infers from Celery's own code, which differs there")
def test_pyright_finds_in_a_users_code_what_the_page_says(users_code: Path, users_environment: Path) -> None:
    pytest.importorskip("basedpyright", reason="pyright, with what it runs on")
    command = [sys.executable, "-m", "basedpyright", "--level", "error", "--outputjson"]
    command += ["--pythonpath", str(users_environment / "bin" / "python"), "shop.py"]

    output = subprocess.run(command, cwd=users_code, capture_output=True, text=True, check=False).stdout

    found = {error["range"]["start"]["line"] + 1 for error in json.loads(output)["generalDiagnostics"]}
    assert found == errors_of_the_page(users_code / "shop.py", "pyright", users_environment), output


def test_the_checkers_know_every_option() -> None:
    assert CallOptions.__annotations__.keys() == OPTIONS.keys()
    assert LockTaskOptions.__annotations__.keys() == {f"lock_{option}" for option in OPTIONS}


@pytest.mark.parametrize(("of", "prefix"), [(CallOptions, ""), (LockTaskOptions, "lock_")])
def test_the_checkers_know_every_word_of_an_option(of: type, prefix: str) -> None:
    hints = get_type_hints(of, localns={"Conflict": Conflict})
    for name, valid in words_of_options().items():
        hint = hints[prefix + name]
        literals = (hint, *get_args(hint))
        assert valid == {word for kind in literals for word in get_args(kind) if isinstance(word, str)}, name


def words_of_options() -> dict[str, set[str]]:
    """Return what those options may be that are a choice of words, as a refusal says it."""
    words = {}
    for name, option in OPTIONS.items():
        with contextlib.suppress(ConfigurationError):
            option.check("nonsense", "it")
            continue
        with pytest.raises(ConfigurationError) as refused:
            option.check("nonsense", "it")
        if 'it must be "' in str(refused.value):
            words[name] = set(re.findall(r'"(\w+)"', str(refused.value)))
    assert {"mode", "on_conflict", "scope"} <= words.keys()
    return words


def test_the_checkers_know_every_option_of_celery() -> None:
    configured = {option for option, _ in Task.from_config}
    declared = {
        name for name, value in vars(Task).items() if not name.startswith("_") and not callable(value)
    }
    of_its_own = {"name", "abstract", "app", "backend", "from_config", "request", "request_stack", "children"}
    of_its_own |= {"OperationalError", "Request", "MaxRetriesExceededError", "on_bound", "bind", "annotate"}
    of_its_own |= {"add_around", "AsyncResult", "Strategy", "autoregister"}

    assert configured | (declared - of_its_own) <= TaskOptions.__annotations__.keys()


def test_the_checkers_know_every_name_of_a_task() -> None:
    of_the_class = {"abstract", "bind", "on_bound", "annotate", "add_around", "from_config", "autoregister"}
    chosen_when_declared = {"Request", "Strategy"}
    refused = {"map", "starmap", "chunks"}
    public = {name for name in {*vars(Task), *vars(LockedTask)} if not name.startswith("_")}
    ours = {"plan_for", "release_orphan", "locked_name_of"}

    known = {*vars(Locked), *Locked.__annotations__}
    assert public - of_the_class - chosen_when_declared - refused - ours <= known
