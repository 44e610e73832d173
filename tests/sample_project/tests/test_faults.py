"""What happens when something goes wrong."""

import pytest
from celery import states
from shop import tasks

from celery_redislock import LockLost, RedisLock, StoreUnavailable
from celery_redislock.testing import assert_lock_required, assert_locked, assert_skipped


def test_an_import_whose_lock_is_lost_stops(redislock):
    result = long_import(lambda: 1, lambda: redislock.lose("forced"), lambda: 2)

    assert result.state == states.FAILURE
    assert isinstance(result.result, LockLost)
    assert ("long_import", 2) not in tasks.done


def long_import(*steps):
    # Functions cannot be part of a lock's name.
    return tasks.long_import.apply((steps,), lock={"key": "import"})


def test_the_lock_of_a_killed_worker_is_free_when_its_lease_ends(redislock):
    redislock.busy(tasks.import_csv, "flights.csv", by="worker2")
    redislock.kill_holder()
    assert_skipped(tasks.import_csv.delay("flights.csv"), by="worker2")

    redislock.advance(31)

    assert tasks.import_csv.delay("flights.csv").get() == "flights.csv"


def test_no_money_is_paid_while_redis_is_away(redislock):
    with redislock.down():
        refused = tasks.pay.delay(1, 10)

    assert isinstance(refused.result, StoreUnavailable)
    assert not tasks.done
    assert tasks.pay.delay(1, 10).state == states.SUCCESS


def test_a_payment_refuses_to_run_without_its_lock():
    assert_lock_required(tasks.pay, 1, 10)
    assert not tasks.done


def test_two_at_once_may_use_the_api(redislock):
    first, second, third = (RedisLock(redislock.client, "api", limit=2) for _ in range(3))

    with first, second:
        assert not third.acquire()
    with third:
        assert third.slot == 0


def test_a_script_holds_the_lock(redislock):
    with tasks.import_csv.lock_for("flights.csv"):
        assert_locked(tasks.import_csv, "flights.csv")
    with pytest.raises(AssertionError, match="nobody holds"):
        assert_locked(tasks.import_csv, "flights.csv")
    assert not redislock.left()
