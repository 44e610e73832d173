"""Sharing: many readers or one writer, never more than the limit, in the order of their coming."""

from __future__ import annotations

import time
from typing import Any

import pytest

from celery_redislock.engine.lease.waiting import PATIENCE_S

from ..support.deadlines import eventually
from ..support.proxy import Proxy
from .kinds import Can
from .test_lost_replies import FAULTS
from .trial import LONG, NAME, SLACK, Trial, pass_seconds

pytestmark = pytest.mark.needs(Can.SHARE)

#: Both ways to share a lock.
READERS = ({"shared": True}, {"limit": 5})


def slot_of(lock: Any) -> int | None:
    """Return the place of a lock, or of the one of several that the tests know."""
    if not hasattr(lock, "slots"):
        return lock.slot
    return lock.slots.get(next(name for name in lock.names if name.startswith(NAME)))


@pytest.mark.parametrize("options", READERS, ids=str)
def test_readers_hold_it_together_and_keep_a_writer_out(trial: Trial, options: dict[str, Any]) -> None:
    readers = [trial.held(**options) for _ in range(3)]
    writer = trial.lock()

    assert not writer.acquire(), "a writer came in beside readers"
    assert readers[0].release()
    assert readers[1].release()
    assert not writer.acquire(), "a writer came in beside a reader"
    assert all(not reader.owned() for reader in readers[:2])
    assert readers[2].owned()
    assert readers[2].release()

    assert writer.acquire()
    assert not trial.lock(**options).acquire(), "a reader came in beside a writer"
    assert writer.release()
    assert trial.is_free()


@pytest.mark.parametrize("options", READERS, ids=str)
def test_a_program_that_knows_only_set_nx_is_kept_out_and_keeps_out(
    trial: Trial, options: dict[str, Any]
) -> None:
    reader = trial.held(**options)
    assert not trial.client.set(trial.name, "a stranger's", nx=True, px=10_000), "a stranger came in"
    assert reader.release()

    assert trial.client.set(trial.name, "a stranger's", nx=True, px=10_000)

    assert not trial.lock(**options).acquire(), "a reader came in beside a stranger"


def test_no_more_than_the_limit_hold_it_and_each_has_the_lowest_free_slot(trial: Trial) -> None:
    locks = [trial.held(limit=3) for _ in range(3)]
    more = trial.lock(limit=3)

    assert not more.acquire(), "more than the limit hold it"
    assert [slot_of(lock) for lock in locks] == [0, 1, 2]
    assert locks[1].release()
    assert slot_of(locks[1]) is None
    assert more.acquire()
    assert slot_of(more) == 1
    assert locks[0].release()
    assert locks[2].release()
    assert slot_of(more) == 1

    other = trial.held(limit=3)
    assert slot_of(other) == 0


def test_who_has_no_limit_has_no_slot(trial: Trial) -> None:
    assert slot_of(trial.held(shared=True)) is None


@pytest.mark.parametrize("options", READERS, ids=str)
def test_the_lease_of_each_is_its_own(trial: Trial, options: dict[str, Any]) -> None:
    """The mark ends with the longest of them, and is shortened when that holder leaves."""
    short, long = trial.held(expire=20, **options), trial.held(expire=LONG, **options)
    assert trial.lease_left() > 30

    assert long.release()
    assert trial.lease_left() <= 20, "a lease that was given back keeps the lock busy"
    assert short.renew()
    assert short.owned()


def test_the_place_of_a_dead_holder_is_free_when_its_lease_ends(trial: Trial) -> None:
    staying, dead = trial.held(limit=2), trial.held(limit=2, expire=0.4)
    more = trial.lock(limit=2)
    assert not more.acquire()

    eventually(more.acquire, 0.4 + SLACK, "the place of a dead holder is gone for ever")

    assert not dead.release()
    assert staying.owned()
    assert more.owned()
    assert slot_of(more) == 1


@pytest.mark.parametrize("options", READERS, ids=str)
def test_a_mark_that_is_deleted_is_a_loss_for_all(trial: Trial, options: dict[str, Any]) -> None:
    first, second = trial.held(**options), trial.held(**options)

    trial.take_away()
    third = trial.held(**options)

    assert not first.renew(), "it came back from the dead"
    assert first.lost
    assert not second.release()
    assert second.lost
    assert third.owned(), "it was lost with others"
    assert third.renew()


@pytest.mark.parametrize("options", READERS, ids=str)
def test_a_lost_reply_takes_no_second_place(trial: Trial, options: dict[str, Any]) -> None:
    faults: list[Any] = list(FAULTS)
    for fault in faults:
        proxy: Proxy = trial.proxy
        lock = trial.lock(client=trial.victim, **options)
        fault(proxy)
        assert lock.acquire(), "it waited for itself"
        fault(proxy)

        assert lock.release(), "a release that happened was reported as a failure"

        assert trial.is_free(), "it has a place still"


@pytest.mark.needs(Can.NUMBER)
def test_numbers_grow_over_both_kinds(trial: Trial) -> None:
    numbers = []
    for options in ({}, {"shared": True}, {"limit": 2}) * 20:
        lock = trial.held(**options)
        numbers.append(lock.fencing_token)
        assert lock.release()

    assert numbers == sorted(set(numbers)), "a fencing token came again"


def test_an_object_has_one_place(trial: Trial) -> None:
    lock = trial.held(limit=5)
    began_at = time.monotonic()

    assert not lock.acquire(), "it has two places"
    assert not lock.acquire(blocking=True, timeout=5), "it has two places"

    assert time.monotonic() - began_at < 3, "it waited for itself"
    assert lock.release()
    assert trial.is_free()


@pytest.mark.needs(Can.STAND_IN_LINE)
def test_a_writer_that_waits_stops_the_readers_behind_it(trial: Trial) -> None:
    reader, writer = trial.held(shared=True), trial.wait()
    trial.until_in_line(1)

    late = trial.lock(shared=True)
    assert not late.acquire(), "a reader overtook a writer"
    assert reader.release()

    assert writer.answer()
    assert not late.acquire(), "a reader came in beside a writer"


@pytest.mark.needs(Can.STAND_IN_LINE)
def test_all_readers_up_to_the_next_writer_come_in_together(trial: Trial) -> None:
    holder, waiting = trial.held(), []
    for options in ({"shared": True}, {"shared": True}, {"limit": 9}, {}, {"shared": True}):
        waiting.append(trial.wait(lock=trial.lock(**options)))
        trial.until_in_line(len(waiting))

    assert holder.release()

    assert all(waiter.answer() for waiter in waiting[:3]), "readers came in one by one"
    pass_seconds(SLACK)
    assert trial.in_line() == 2
    assert not waiting[3].lock.owned(), "a writer came in beside readers"
    for waiter in waiting[:3]:
        assert waiter.lock.release()
    assert waiting[3].answer()
    assert trial.in_line() == 1
    assert waiting[3].lock.release()
    assert waiting[4].answer()


@pytest.mark.needs(Can.STAND_IN_LINE)
def test_a_place_that_is_given_back_goes_to_the_next_in_line(trial: Trial) -> None:
    holders, waiting = [trial.held(limit=2), trial.held(limit=2)], []
    for _ in range(3):
        waiting.append(trial.wait(lock=trial.lock(limit=2)))
        trial.until_in_line(len(waiting))

    assert holders[0].release()
    released_at = time.monotonic()

    assert waiting[0].answer()
    assert waiting[0].ended_at - released_at < 0.5, "it was not woken"
    assert trial.in_line() == 2, "more were let in than there were places"
    assert not trial.lock(limit=2).acquire(), "somebody overtook those in line"
    assert holders[1].release()
    assert waiting[1].answer()
    assert waiting[0].lock.release()
    assert waiting[2].answer()


@pytest.mark.needs(Can.STAND_IN_LINE)
def test_who_waits_sleeps_until_the_soonest_of_the_leases_ends(trial: Trial) -> None:
    trial.held(limit=2, expire=LONG)
    trial.held(limit=2, expire=0.8)
    began_at = time.monotonic()
    waiting = trial.wait(lock=trial.lock(limit=2))

    assert waiting.answer()

    assert waiting.ended_at - began_at < 0.8 + 2 * SLACK, "it slept for longer"


@pytest.mark.needs(Can.STAND_IN_LINE)
def test_a_writer_that_gives_up_lets_the_readers_behind_it_in(trial: Trial) -> None:
    trial.held(shared=True)
    writer = trial.wait(timeout=1)
    trial.until_in_line(1)
    reader = trial.wait(lock=trial.lock(shared=True))
    trial.until_in_line(2)

    assert not writer.answer()

    assert reader.answer(within=PATIENCE_S)
    assert reader.ended_at - writer.ended_at < 1 + SLACK


def test_at_most_so_many_begin_in_any_window(trial: Trial) -> None:
    """A place counts until its min_hold is over, whatever becomes of its holder."""
    began_at, window = time.monotonic(), 0.8
    for _ in range(3):
        assert trial.held(limit=3, min_hold=window).release()

    more = trial.lock(limit=3, min_hold=window)
    assert not more.acquire(), "more began in a window than the limit"
    assert not trial.lock().acquire(), "a writer came in"

    eventually(more.acquire, window + SLACK)
    assert time.monotonic() - began_at >= window


@pytest.mark.needs(Can.STAND_IN_LINE)
def test_exactly_as_many_are_woken_as_fit(trial: Trial) -> None:
    holders, waiting = [trial.held(limit=2), trial.held(limit=2)], []
    for _ in range(12):
        waiting.append(trial.wait(lock=trial.lock(limit=2)))
        trial.until_in_line(len(waiting))

    before = woken(trial)
    assert holders[0].release()
    assert waiting[0].answer()

    # Besides the next: one that takes over the watch, and those who read the mailboxes of one process.
    assert woken(trial) - before <= 5, "more were woken than there were places"
    assert holders[1].release()
    for place, waiter in enumerate(waiting):
        assert waiter.answer()
        assert waiter.lock.release(), f"waiter {place}"


def woken(trial: Trial) -> int:
    """Return how often a mailbox was written to."""
    return int(trial.client.info("commandstats").get("cmdstat_rpush", {}).get("calls", 0))
