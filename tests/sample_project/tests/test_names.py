"""Which calls take the same lock. No store is needed for that."""

from shop import tasks

from celery_redislock.testing import assert_other_lock, assert_same_lock


def test_imports_of_one_file_take_one_lock():
    assert_same_lock(tasks.import_csv.s("flights.csv"), tasks.import_csv.s("flights.csv", chunk_size=1))


def test_imports_of_two_files_do_not_wait_for_each_other():
    assert_other_lock(tasks.import_csv.s("flights.csv"), tasks.import_csv.s("trains.csv"))
