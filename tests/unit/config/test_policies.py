"""The table of policies: each word does something in every place where it is valid, and nowhere else."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from celery_redislock.batch import start_later as start
from celery_redislock.config.options import OF_BATCH, OPTIONS, POLICIES, WHEN_PUBLISHING, WHEN_RUNNING
from celery_redislock.conflicts import conflict
from celery_redislock.publishing import duplicates


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        (conflict.POLICIES, WHEN_RUNNING),
        (duplicates.DUPLICATES, WHEN_PUBLISHING),
        # A batch is published later, or ends where it was to be published.
        ([*start.LATER, "skip", "fail"], OF_BATCH),
    ],
    ids=["a task runs", "a task is published", "a batch is published"],
)
def test_every_word_has_its_function(functions: Collection[str], words: Collection[str]) -> None:
    assert set(functions) == set(words)


def test_what_one_policy_reads_is_an_option() -> None:
    assert {policy.option for policy in POLICIES.values()} - {""} <= set(OPTIONS)
