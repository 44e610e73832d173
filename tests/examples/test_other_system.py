"""A task and a program that knows only ``SET NX PX`` keep out of each other's way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from celery import Celery

from example_project import other_program
from example_project.other_system import sell

from ..support.deadlines import eventually
from ..support.places import ROOT
from .conftest import PacedWorker
from .meeting import PARTIES, Meeting

LOCK_KEY = "redislock:stock"


@pytest.fixture
def stock(tmp_path: Path) -> Path:
    """Give a stock of 100 pieces."""
    path = tmp_path / "stock"
    path.write_text("100")
    return path


@contextmanager
def delivery(url: str, stock: Path, pieces: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the other program up to the middle of its work, where it waits for the task."""
    command = [sys.executable, "-m", "tests.examples.other_program_paced"]
    command += [url, LOCK_KEY, str(stock), str(pieces)]
    env = {**os.environ, "REDISLOCK_URL": url, PARTIES: "2"}
    meeting = Meeting(url, parties=2)
    with subprocess.Popen(command, env=env, cwd=ROOT) as program:
        try:
            eventually(lambda: meeting.inside() == 1, 20, "the other program should be at work")
            yield program
        except BaseException:
            program.kill()
            raise


def deliver_30_while_20_are_sold(url: str, stock: Path) -> None:
    """Start the task while the other program is in the middle of its work; wait for both."""
    with delivery(url, stock, pieces=30) as program:
        sell.delay(str(stock), 20).get(timeout=30)
        assert program.wait(timeout=30) == 0


def test_the_lock_is_the_key_that_the_other_program_uses(project: Celery) -> None:
    """Prefix and name, and nothing else."""
    assert sell.lock_name("anywhere", 1) == LOCK_KEY


def test_with_the_lock_the_task_waits_for_the_other_program(
    project: Celery, paced_worker: PacedWorker, redis_url: str, stock: Path
) -> None:
    """100 pieces, 30 more, 20 less."""
    with paced_worker(mode="on"):
        deliver_30_while_20_are_sold(redis_url, stock)

    assert stock.read_text() == "110"


def test_without_the_lock_one_change_of_the_stock_is_lost(
    project: Celery, paced_worker: PacedWorker, redis_url: str, stock: Path
) -> None:
    """The control: both read 100 before either wrote; written at once, their texts may even mix."""
    with paced_worker(mode="off"):
        deliver_30_while_20_are_sold(redis_url, stock)

    assert stock.read_text() in {"80", "130", "800"}


def test_the_other_program_keeps_out_while_the_task_runs(
    project: Celery, paced_worker: PacedWorker, redis_url: str, stock: Path
) -> None:
    """Its plain SET NX finds the task's lock."""
    meeting = Meeting(redis_url, parties=2)

    with paced_worker(mode="on"):
        sale = sell.delay(str(stock), 20)
        eventually(lambda: meeting.inside() == 1, 20, "the task should be at work")
        assert other_program.main(redis_url, LOCK_KEY, str(stock), "30", "0") == other_program.BUSY
        meeting.turn_away()
        assert sale.get(timeout=30) == 80

    assert other_program.main(redis_url, LOCK_KEY, str(stock), "30", "5") == 0
    assert stock.read_text() == "110"


def test_the_other_program_leaves_nothing_behind(client: redis.Redis, redis_url: str, stock: Path) -> None:
    """Also without any task around it takes the lock and gives it back."""
    assert other_program.main(redis_url, LOCK_KEY, str(stock), "30", "0") == 0

    assert stock.read_text() == "130"
    assert client.keys() == []
