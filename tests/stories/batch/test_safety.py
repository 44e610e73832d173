"""Safety: two batches under one lock never interleave, and that the checks would notice."""

from __future__ import annotations

import time

import pytest

from ...mutants.batches import WAYS, WRONG
from ...support.stores import STORE
from ...support.workers import running_worker
from .batch_app import INCIDENTS
from .batch_checks import two_chords_never_interleave
from .conftest import QUEUE, BatchStage

# Celery's own, with redis-py 8, where a result is stored.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


@pytest.mark.parametrize("incident", INCIDENTS)
def test_members_of_two_chords_never_interleave(stage: BatchStage, incident: str) -> None:
    two_chords_never_interleave(stage, incident)


def test_members_of_two_chords_that_outlive_ttl_and_idle_never_interleave(stage: BatchStage) -> None:
    two_chords_never_interleave(stage, seconds=1, lock_ttl=0.6, lock_idle=0.6)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_fifty_times_two_chords_never_interleave(stage: BatchStage) -> None:
    incidents = [*INCIDENTS]
    began = time.monotonic()
    for number in range(50):
        two_chords_never_interleave(stage, incidents[number % len(incidents)])
    print(f"50 pairs of chords of 12, none interleaved, in {time.monotonic() - began:.0f} s")


@pytest.mark.parametrize("way", WAYS)
def test_the_check_catches_a_wrong_batch(batch_store: str, way: str) -> None:
    queue = f"{QUEUE}-wrong"
    env = {STORE: batch_store, WRONG: way}
    with running_worker(
        "tests.stories.batch.batch_app", env=env, concurrency=3, args=("-Q", queue)
    ) as worker:
        stage = BatchStage(batch_store, worker, queue)
        with pytest.raises(AssertionError, match="interleaved"):
            two_chords_never_interleave(stage, seconds=1, lock_ttl=0.6, lock_idle=0.6)
