"""One test for each policy."""

from celery import states
from shop import tasks

from celery_redislock import LockBusy
from celery_redislock.testing import assert_ran_once, assert_skipped


def test_a_second_import_of_one_file_is_skipped(redislock):
    with redislock.busy(tasks.import_csv, "flights.csv", by="worker2"):
        skipped = tasks.import_csv.delay("flights.csv", chunk_size=1)
        other = tasks.import_csv.delay("trains.csv")

    assert_skipped(skipped, by="worker2")
    assert other.get() == "trains.csv"
    assert tasks.done == [("import_csv", "trains.csv")]


def test_a_report_is_tried_again_until_its_lock_is_free(redislock):
    redislock.busy(tasks.send_report, 7, for_=0.2)

    with assert_ran_once(tasks.send_report, 7):
        assert tasks.send_report.delay(7).state == states.SUCCESS

    assert redislock.conflicts[0].action == "retry"


def test_a_second_payment_fails(redislock):
    with redislock.busy(tasks.pay, 1, 10):
        refused = tasks.pay.delay(1, 20)

    assert isinstance(refused.result, LockBusy)
    assert not tasks.done


def test_calls_that_come_while_stock_is_counted_are_one_more_run(redislock):
    with assert_ran_once(tasks.count_stock, "tea"), redislock.busy(tasks.count_stock, "tea"):
        waits = [tasks.count_stock.delay("tea", reason=reason).state for reason in ("sale", "return")]

    assert waits == [states.RETRY, states.RETRY]
    assert tasks.done == [("count_stock", "tea", "return")]


def test_the_newest_chart_replaces_the_one_that_is_drawn(redislock):
    with assert_ran_once(tasks.draw_chart, "sales"), redislock.busy(tasks.draw_chart, "sales"):
        assert tasks.draw_chart.delay("sales").state == states.RETRY
        assert not tasks.done

    assert [each.action for each in redislock.conflicts] == ["replace"]


def test_a_function_decides(redislock):
    with redislock.busy(tasks.send_mail, "a@example.com", by="worker2"):
        assert_skipped(tasks.send_mail.delay("a@example.com"), by="worker2")
    redislock.busy(tasks.send_mail, "a@example.com", for_=0.2)

    with assert_ran_once(tasks.send_mail, "a@example.com"):
        tasks.send_mail.delay("a@example.com", urgent=True)


def test_a_call_waits_for_its_lock(redislock):
    redislock.busy(tasks.pack, 1, for_=0.2)

    with assert_ran_once(tasks.pack, 1):
        tasks.pack.delay(1)

    assert not redislock.conflicts


def test_a_tick_runs_once_a_minute(redislock):
    with assert_ran_once(tasks.tick):
        tasks.tick.delay()
        assert_skipped(tasks.tick.delay())
    redislock.advance(61)

    with assert_ran_once(tasks.tick):
        tasks.tick.delay()


def test_no_more_call_the_api_at_once_than_it_takes(redislock):
    with redislock.busy(tasks.fetch, "/1"):
        tasks.fetch.delay("/2")
        with redislock.busy(tasks.fetch, "/3"):
            assert_skipped(tasks.fetch.delay("/4"))

    assert tasks.done == [("fetch", "/2")]
