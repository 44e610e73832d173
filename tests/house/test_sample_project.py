"""Sample project: somebody's tests of locked tasks need no Redis, and find each of ten mistakes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ..support.sample import Sample


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """Give the project, with the package of this checkout."""
    return Sample.of_this_checkout(tmp_path / "project", sys.executable)


def test_its_tests_pass_without_redis(sample: Sample) -> None:
    sample.check_right()


def test_each_of_ten_wrong_tasks_fails_and_its_message_says_what_is_wrong(sample: Sample) -> None:
    sample.check_wrong()
