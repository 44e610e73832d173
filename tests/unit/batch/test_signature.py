"""Batch signature: it has an answer for each word of the table of policies."""

from __future__ import annotations

from celery_redislock.batch.signature import REFUSED
from celery_redislock.batch.start_later import LATER
from celery_redislock.config.options import OF_BATCH


def test_every_policy_of_a_batch_is_known_and_no_other() -> None:
    assert {*REFUSED, *LATER} == set(OF_BATCH)
    assert not set(REFUSED) & set(LATER)
