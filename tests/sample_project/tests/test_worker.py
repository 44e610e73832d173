"""With a worker in a thread, by ``celery.contrib.testing``."""

import time

import pytest
from celery import states
from celery.contrib.testing.worker import start_worker
from shop import tasks
from shop.app import app

from celery_redislock.testing import assert_ran_once, assert_skipped


@pytest.fixture(scope="module")
def worker():
    """Run what is published, in this process, for all tests: each of them has its own locks."""
    with start_worker(app, perform_ping_check=False):
        yield


def test_the_worker_runs_one_and_skips_the_other(redislock, worker):
    with assert_ran_once(tasks.import_csv, "trains.csv"), redislock.busy(tasks.import_csv, "flights.csv"):
        skipped, runs = tasks.import_csv.delay("flights.csv"), tasks.import_csv.delay("trains.csv")
        assert_skipped(skipped, by="worker2")
        assert runs.get(timeout=10) == "trains.csv"


def test_calls_that_come_while_stock_is_counted_are_one_more_run(redislock, worker):
    with assert_ran_once(tasks.count_stock, "tea"):
        with redislock.busy(tasks.count_stock, "tea"):
            first, last = [tasks.count_stock.delay("tea", reason=why) for why in ("sale", "return")]
            wait_until(lambda: len(redislock.conflicts) >= 2)
        last.get(timeout=10)

    assert tasks.done == [("count_stock", "tea", "return")]
    wait_until(lambda: first.state == states.REVOKED)


def wait_until(condition):
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
