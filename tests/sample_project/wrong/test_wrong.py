"""Ten tasks with a mistake each. Every test here must fail, and its message must say what is wrong.

Above each test stands, behind ``says:``, what the message must have.
"""

import pytest
from celery import Celery

from celery_redislock import locked_task
from celery_redislock.testing import (
    assert_lock_required,
    assert_locked,
    assert_other_lock,
    assert_ran_once,
    assert_same_lock,
    assert_skipped,
)

app = Celery("wrong", broker="memory://", backend="cache+memory://")
app.conf.task_always_eager = True


@app.task
def import_by_hand(path):
    """The lock was forgotten."""


# says: task test_wrong.import_by_hand is not a locked task: declare it with @locked_task
def test_1_forgotten_lock(redislock):
    with redislock.busy("redislock:by-hand"):
        assert_same_lock(import_by_hand.s("a.csv"), import_by_hand.s("a.csv"))


@locked_task(app=app)
def import_in_chunks(path, chunk_size=10_000):
    """Every argument counts, also the size of the chunks."""


# says: argument 'chunk_size' differs and makes the difference
def test_2_argument_that_should_not_count():
    assert_same_lock(import_in_chunks.s("a.csv"), import_in_chunks.s("a.csv", chunk_size=1))


@locked_task(app=app, lock_args=())
def import_one_at_a_time(path):
    """No argument counts, not even the path."""


# says: argument 'path' differs, but makes no difference
def test_3_argument_that_should_count():
    assert_other_lock(import_one_at_a_time.s("a.csv"), import_one_at_a_time.s("b.csv"))


@locked_task(app=app, lock_key="account:{id}")
def pay(id):  # noqa: A002
    """One word for the lock of an account."""


@locked_task(app=app, lock_key="acct:{id}")
def refund(id):  # noqa: A002
    """Another one."""


# says: test_wrong.pay takes 'redislock:account:1'
# says: test_wrong.refund takes 'redislock:acct:1'
# says: the tasks differ
def test_4_two_words_for_one_lock():
    assert_same_lock(pay.s(1), refund.s(1))


@locked_task(app=app, lock_on_conflict="fail")
def sync(shop):
    """It fails, and should be skipped."""


# says: the call was not skipped: its state is FAILURE: LockBusy: lock 'redislock:test_wrong.sync:
def test_5_fails_in_place_of_a_skip(redislock):
    with redislock.busy(sync, "one"):
        assert_skipped(sync.delay("one"), by="worker2")


@locked_task(app=app, lock_mode="shadow")
def report(month):
    """It runs all the same."""


# says: the call was not skipped: its state is SUCCESS: its body ran
def test_6_runs_all_the_same(redislock):
    with redislock.busy(report, 7):
        assert_skipped(report.delay(7))


@locked_task(app=app, lock_args=())
def tick():
    """It keeps its lock no longer than it runs."""


# says: test_wrong.tick ran 2 times under 'redislock:test_wrong.tick', and was to run once
def test_7_runs_twice(redislock):
    with assert_ran_once(tick):
        tick.delay()
        tick.delay()


@locked_task(app=app, lock_key="account:{account}")
def withdraw(account):
    """It does not look whether it has a lock."""


# says: withdraw ran without a lock: call current_lock().ensure_locked() in it
def test_8_runs_without_a_lock():
    assert_lock_required(withdraw, 1)


@locked_task(app=app, lock_mode="off")
def clean_up(folder):
    """Its lock is off."""


# says: task test_wrong.clean_up takes no lock: its lock_mode is "off"
def test_9_lock_that_is_off(redislock):
    with redislock.busy("redislock:test_wrong.clean_up"):
        assert_locked(clean_up, "tmp")


@locked_task(app=app, lock_args=["name"])
def leak(name):
    """It takes a second lock, and never gives it back."""
    lock = leak.lock_for("second")
    assert lock.acquire()
    leaked.append(lock)


leaked = []


# says: wrong/test_wrong.py::test_10_lock_that_is_left has left a lock: 'redislock:test_wrong.leak:
def test_10_lock_that_is_left(redislock):
    leak.delay("first")


@pytest.fixture(autouse=True)
def _nothing_is_held_by_an_object_that_is_gone():
    yield
    leaked.clear()
