"""Sample: the sample project is copied, and its tests run as its owner would run them, without Redis."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from .places import ROOT, python_path

__all__ = ["Sample", "plugin_arguments"]

#: A test of a wrong task, with the comment lines above it.
_WRONG = re.compile(r"((?:^# says: .*\n)+)def (test_\w+)", re.M)
#: The heading of what pytest prints of a test that has failed, or left something.
_REPORT = re.compile(r"^_{3,} (?:ERROR at teardown of )?(\w+) _{3,}$", re.M)


def plugin_arguments() -> list[str]:
    """Return what makes pytest load our plugin, where this checkout was installed before it had one."""
    if any(each.name == "redislock" for each in entry_points(group="pytest11")):
        return []
    return ["-p", "celery_redislock.testing.plugin"]


@dataclass(frozen=True)
class Sample:
    """The sample project in a folder of its own.

    Attributes:
        folder: Where it is.
        python: Of its environment.
        env: Of its programs.
        arguments: For each run of pytest.
    """

    folder: Path
    python: str | Path
    env: Mapping[str, str]
    arguments: tuple[str, ...] = ()

    @classmethod
    def copied(cls, folder: Path, python: str | Path, env: Mapping[str, str], *arguments: str) -> Sample:
        """Copy it."""
        unwanted = shutil.ignore_patterns("__pycache__", ".pytest_cache")
        shutil.copytree(ROOT / "tests" / "sample_project", folder, ignore=unwanted)
        return cls(folder, python, env, arguments)

    @classmethod
    def of_this_checkout(cls, folder: Path, python: str) -> Sample:
        """Copy it, to be run with the package that is tested."""
        env = {**os.environ, "PYTHONPATH": python_path()}
        return cls.copied(folder, python, env, *plugin_arguments())

    def check_right(self) -> None:
        """Run the tests of right tasks: by pytest in two processes, by unittest, and by Django.

        Raises:
            AssertionError: One failed.
        """
        unittest = ("-m", "unittest", "discover", "-s", "tests", "-p", "test_unittest.py")
        django = ("-m", "django", "test", "--settings=orders.settings", "orders.tests")
        for done in (
            self._pytest("-n", "2", "--dist", "loadfile"),
            self._run("-W", "error", *unittest),
            self._run("-W", "error", *django),
        ):
            assert done.returncode == 0, done.stdout + done.stderr

    def check_wrong(self) -> None:
        """Run the tests of ten wrong tasks, once.

        Raises:
            AssertionError: One passed, or did not say what is wrong.
        """
        printed = self._pytest("--tb=short", "wrong").stdout
        tests = _WRONG.findall((self.folder / "wrong" / "test_wrong.py").read_text())
        reports = _REPORT.split(printed)
        told = dict(zip(reports[1::2], reports[2::2], strict=True))

        assert len(tests) == 10
        for messages, test in tests:
            for message in messages.splitlines():
                assert message.removeprefix("# says: ") in told.get(test, ""), printed
        # What is left is seen after a test that has passed.
        assert re.search(r"^9 failed, 1 passed, 1 error", printed, re.M), printed

    def _pytest(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run("-m", "pytest", "-q", "-p", "no:cacheprovider", *self.arguments, *arguments)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in self.env.items() if not name.startswith(("CELERY_", "PYTEST_"))}
        return subprocess.run(
            [self.python, *arguments], cwd=self.folder, env=env, capture_output=True, text=True, timeout=120
        )
