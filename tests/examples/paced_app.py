"""The example project's application, in which the slow part of every task is a meeting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from celery.signals import task_prerun

from celery_redislock.signals import lock_conflict
from example_project import csv_import, pace
from example_project.app import app

from .meeting import Meeting

__all__ = ["app"]


def _meet(seconds: float) -> None:
    Meeting.from_environment().come_in()


def _meet_after_the_first_chunk_is_read(
    chunks: Callable[[Path], Iterator[pd.DataFrame]],
) -> Callable[[Path], Iterator[pd.DataFrame]]:
    def read(path: Path) -> Iterator[pd.DataFrame]:
        reader = chunks(path)
        first = next(reader)
        Meeting.from_environment().come_in()
        yield first
        yield from reader

    return read


@task_prerun.connect
def _started(**_: Any) -> None:
    Meeting.from_environment().start()


@lock_conflict.connect
def _turned_away(**_: Any) -> None:
    Meeting.from_environment().turn_away()


pace.slow_part = _meet
csv_import.chunks = _meet_after_the_first_chunk_is_read(csv_import.chunks)
