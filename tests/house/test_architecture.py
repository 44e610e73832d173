"""The shape of the package: small modules, imports that point one way, an engine without Celery."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import grimp
import pytest

import celery_redislock

from ..support.places import DOCS, ROOT

PACKAGE = ROOT / "celery_redislock"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: Lines of code: without blank ones, comments and docstrings.
LONGEST_MODULE = 400

#: Names that say nothing of a responsibility, so that anything may end up in there.
NAMELESS = {
    "base",
    "common",
    "constants",
    "core",
    "helper",
    "helpers",
    "manager",
    "managers",
    "misc",
    "types",
    "util",
    "utils",
}

CELERY_STACK = {"celery", "kombu", "billiard", "click"}


def relative(module: Path) -> str:
    """Name a module for the test report."""
    return str(module.relative_to(PACKAGE))


def lines_of_code(source: str) -> set[int]:
    """Number the lines that hold code."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    prose: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            prose.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = enumerate(source.splitlines(), 1)
    return {number for number, line in lines if line.strip() and not line.lstrip().startswith("#")} - prose


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_a_module_is_short_enough_to_be_read_at_once(module: Path) -> None:
    assert len(lines_of_code(module.read_text())) <= LONGEST_MODULE


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_a_module_says_its_one_responsibility_in_its_first_line(module: Path) -> None:
    docstring = ast.get_docstring(ast.parse(module.read_text())) or ""

    first_line = docstring.partition("\n")[0]
    assert first_line.endswith("."), f"{module}: the docstring's first line is one sentence"
    assert len(first_line.split()) >= 3


@pytest.mark.parametrize("path", [*MODULES, *(m.parent for m in MODULES)], ids=str)
def test_no_module_hides_behind_a_name_that_fits_anything(path: Path) -> None:
    assert path.stem.strip("_") not in NAMELESS


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_a_module_exports_only_what_it_has(module: Path) -> None:
    parts = module.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts).removesuffix(".__init__")

    imported = importlib.import_module(name)

    exported = getattr(imported, "__all__", [])
    assert len(set(exported)) == len(exported)
    assert [absent for absent in exported if not hasattr(imported, absent)] == []


def test_every_public_name_is_listed_and_can_be_imported() -> None:
    for name in celery_redislock.__all__:
        assert getattr(celery_redislock, name) is not None
    assert set(celery_redislock.__all__) <= set(dir(celery_redislock))


def test_the_package_says_that_it_has_no_such_name() -> None:
    with pytest.raises(AttributeError, match="LockedTasks"):
        celery_redislock.LockedTasks  # noqa: B018 - looking it up is what is tested


def test_the_package_alone_imports_neither_redis_nor_celery() -> None:
    program = f"import celery_redislock, sys; print(*{CELERY_STACK | {'redis'}} & sys.modules.keys())"

    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )

    assert loaded.stdout.split() == []


@pytest.mark.parametrize(
    "statement", ["from celery_redislock import RedisLock", "import celery_redislock.engine"]
)
def test_the_lock_alone_leaves_celery_unloaded(statement: str) -> None:
    """A program that wants only the lock must not pay for Celery, in time or in side effects."""
    program = f"{statement}; import sys; print(*{CELERY_STACK} & sys.modules.keys())"

    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )

    assert loaded.stdout.split() == []


def lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    """Check the import contracts of the package in a directory that has its own setup.cfg."""
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--config", "setup.cfg", "--no-cache", "--no-logo"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Give a copy of the package and its contracts, to be spoilt."""
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_imports_point_one_way(copy: Path) -> None:
    check = lint_imports(copy)

    assert check.returncode == 0, check.stdout + check.stderr


def test_the_import_check_rejects_an_engine_that_knows_celery(copy: Path) -> None:
    with (copy / "celery_redislock" / "engine" / "protocol" / "keys.py").open("a") as module:
        module.write("\nimport kombu\n")

    check = lint_imports(copy)

    assert check.returncode != 0
    assert "celery_redislock.engine.protocol.keys -> kombu" in check.stdout


@pytest.mark.parametrize("module", ["socket", "threading", "time", "asyncio"])
def test_the_import_check_rejects_a_protocol_that_is_not_pure(copy: Path, module: str) -> None:
    with (copy / "celery_redislock" / "engine" / "protocol" / "exclusive.py").open("a") as file:
        file.write(f"\nimport {module}\n")

    check = lint_imports(copy)

    assert check.returncode != 0
    assert f"celery_redislock.engine.protocol.exclusive -> {module}" in check.stdout


def test_the_protocol_takes_errors_and_slots_from_redis_py_but_no_connection() -> None:
    """An asyncio twin has another client and the same protocol."""
    sources = [module.read_text() for module in (PACKAGE / "engine" / "protocol").glob("*.py")]
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }

    assert {name for name in imported if name and name.startswith("redis")} == {
        "redis.crc",
        "redis.exceptions",
    }


@pytest.mark.parametrize(
    ("record", "statement", "complaint"),
    [
        ("pending/runs.py", "import kombu", "celery_redislock.pending.runs -> kombu"),
        (
            "publish_lock/record.py",
            "from ..engine.transport import store",
            "celery_redislock.engine.transport",
        ),
        ("beat/ledger.py", "from ..engine.protocol import keys", "celery_redislock.engine.protocol"),
    ],
)
def test_the_import_check_rejects_a_record_past_its_companion(
    copy: Path, record: str, statement: str, complaint: str
) -> None:
    with (copy / "celery_redislock" / record).open("a") as module:
        module.write(f"\n{statement}\n")

    check = lint_imports(copy)

    assert check.returncode != 0
    assert complaint in check.stdout.partition("Broken contracts")[2]


def test_the_import_check_rejects_an_import_that_points_upwards(copy: Path) -> None:
    with (copy / "celery_redislock" / "holder.py").open("a") as module:
        module.write("\nfrom .engine import lock\n")

    check = lint_imports(copy)

    assert check.returncode != 0
    assert "celery_redislock.holder -> celery_redislock.engine" in check.stdout


@pytest.mark.parametrize("folder", [".", "engine"])
def test_the_import_check_rejects_a_module_without_a_place(copy: Path, folder: str) -> None:
    (copy / "celery_redislock" / folder / "newcomer.py").write_text('"""A newcomer."""\n')

    check = lint_imports(copy)

    assert check.returncode != 0
    assert "newcomer" in check.stdout


#: Rooms in a row from the package's own file down: each imports the next.
LONGEST_CHAIN = 12
#: Rows of the contract of the package's folders.
MOST_LAYERS = 11


def rooms_imported() -> dict[str, set[str]]:
    """Return which rooms each room imports: a room is a file or a folder directly in the package."""
    graph = grimp.build_graph("celery_redislock", cache_dir=None)
    imported: dict[str, set[str]] = {}
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            here, there = (".".join(name.split(".")[:2]) for name in (module, other))
            if here != there:
                imported.setdefault(here, set()).add(there)
    return imported


def longest_chain(imported: dict[str, set[str]], room: str, above: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the longest way down from a room; a way that comes back to a room above it is a circle."""
    assert room not in above, f"a circle: {(*above, room)}"
    ways = (longest_chain(imported, below, (*above, room)) for below in imported.get(room, ()))
    return (room, *max(ways, key=len, default=()))


def test_the_way_down_from_the_package_is_short() -> None:
    chain = longest_chain(rooms_imported(), "celery_redislock")

    print("the longest chain of imports:", " > ".join(chain))
    assert len(chain) <= LONGEST_CHAIN, chain


def test_the_contract_of_the_folders_has_few_rows() -> None:
    contracts = ConfigParser()
    contracts.read(ROOT / "setup.cfg")

    layers = contracts["importlinter:contract:layers"]
    rows = [row for row in layers["layers"].splitlines() if row.strip() and not row.lstrip().startswith("#")]
    assert len(rows) <= MOST_LAYERS
    assert "ignore_imports" not in layers


FOLDERS = sorted({module.parent for module in MODULES})


@pytest.mark.parametrize("folder", FOLDERS, ids=relative)
def test_the_face_of_a_folder_tells_its_story_and_lists_its_rooms(folder: Path) -> None:
    face = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    folders = {path.name for path in folder.iterdir() if path in FOLDERS or path.name == "scripts"}

    listed = set(re.findall(r"^(?:\* )?``(\w+)(?:\.py|/)``", face, re.MULTILINE))

    assert listed == files | folders
    assert len(face.split("\n\n")) >= 3, "a sentence, a paragraph, the list"


def test_the_drawn_layers_are_those_of_the_contract() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for contract, picture in (("layers", "layers"), ("engine", "layers_of_the_engine")):
        rows = setup[f"importlinter:contract:{contract}"]["layers"].strip().splitlines()
        drawn = re.findall(r"\w+", (DOCS / f"{picture}.mmd").read_text())

        # Within a row the picture may have another order.
        rows_of_places = [sorted(map(drawn.index, re.findall(r"\w+", row))) for row in rows]
        places = [place for row in rows_of_places for place in row]
        assert places == sorted(places), dict(zip(rows, rows_of_places, strict=True))
