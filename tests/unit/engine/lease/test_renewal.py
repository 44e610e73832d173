"""The schedule of renewals, step by step on a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import pytest
import redis

from celery_redislock import events
from celery_redislock.engine import threads
from celery_redislock.engine.lease import renewal
from celery_redislock.engine.lease.lease import Lease
from celery_redislock.engine.lease.loss import Loss
from celery_redislock.engine.lease.per_client import renewal_of
from celery_redislock.engine.lease.renewal import Renewal, pace_of
from celery_redislock.engine.lease.watch import Way
from celery_redislock.engine.protocol.exclusive import RENEW
from celery_redislock.engine.threads import Bell
from celery_redislock.engine.transport.store import ATTEMPT_S
from celery_redislock.events import Renewed, StoreFailed


class Clock:
    """The local clock, standing still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class FakeConnection:
    """A connection that notes what is sent and answers as it was told."""

    def __init__(self) -> None:
        self.sent: list[list[tuple[str, int]]] = []
        self.answer: Any = 1
        self.within: list[float] = []
        self.opening: Callable[[float], None] | None = None

    def open(self, commands: Sequence[Sequence[Any]], within: float) -> None:
        """Take the time that it takes."""
        if self.opening is not None:
            self.opening(within)

    def exchange(self, commands: Sequence[Sequence[Any]], within: float, acks: int) -> list[Any]:
        """Answer each renewal."""
        self.sent.append([(command[-2], command[-1]) for command in commands])
        self.within.append(within)
        if isinstance(self.answer, redis.ConnectionError | redis.TimeoutError):
            raise self.answer
        return [self.answer] * len(commands)

    def close(self) -> None:
        """Do nothing."""


class FakeStore:
    """The Redis that hears of renewals."""

    def __init__(self) -> None:
        self.hears = FakeConnection()

    def connection(self, _timeout_s: float) -> FakeConnection:
        """Return the connection."""
        return self.hears


class Holding:
    """A lock that notes what it is told."""

    def __init__(self, token: str, ttl_ms: int, at: float, max_hold_ms: int | None = None) -> None:
        self.lease: Lease | None = Lease.granted(token, 1, ttl_ms, at, max_hold_ms)
        self.lost: list[str] = []
        self.reasons: list[str] = []
        self.failures: list[str] = []

    def renewed(self, token: str, sent_at: float, ttl_ms: int) -> None:
        """Take note."""
        assert self.lease is not None
        assert token == self.lease.token
        self.lease = self.lease.renewed(sent_at, ttl_ms)

    def renewal_failed(self, _token: str, failure: str) -> None:
        """Take note."""
        self.failures.append(failure)

    def report_lost(self, _token: str, loss: Loss) -> None:
        """Take note."""
        self.lost.append(loss.text)
        self.reasons.append(loss.reason)
        self.lease = None


class Stepper:
    """The thread that renews, without the thread: each step serves what is due by then."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = FakeStore()
        self.hears = self.store.hears
        self.renewal = Renewal(self.store)  # type: ignore[arg-type]

    def hold(self, token: str = "a", ttl_ms: int = 30_000, **options: Any) -> Holding:
        """Return a holding under watch."""
        renew = options.pop("renew", True)
        holding = Holding(token, ttl_ms, self.clock.now, **options)
        assert holding.lease is not None
        way = Way(ttl_ms, RENEW if renew else None, max_hold_ms=options.get("max_hold_ms"))
        assert self.renewal.watch(holding, token, (b"k",), way, self.clock.now)
        return holding

    def next_due(self) -> float:
        """Return how many seconds from now the next lease is looked at."""
        return min(watch.due for watch in self.renewal._living()) - self.clock.now

    def step_to_next(self) -> float:
        """Let time pass until the next lease is due, serve it, and say how long that was."""
        passed = max(self.next_due(), 0)
        self.clock.now += passed
        self.renewal._serve(self.renewal._next_batch())
        return passed


@pytest.fixture
def stepper() -> Any:
    """Give a stepper whose clock is the package's."""
    stepper = Stepper()
    with (
        mock.patch.object(renewal, "now", stepper.clock),
        mock.patch.object(threads.threading, "Thread"),
    ):
        yield stepper


@pytest.fixture
def told() -> Iterator[list[Any]]:
    """Listen to what is told of renewals."""
    told: list[Any] = []
    for kind in (Renewed, StoreFailed):
        events.listen(kind, told.append)
    yield told
    for kind in (Renewed, StoreFailed):
        events.unlisten(kind, told.append)


def test_a_lease_is_renewed_every_third_of_its_length(stepper: Stepper) -> None:
    holding = stepper.hold(ttl_ms=30_000)

    assert [stepper.step_to_next() for _ in range(3)] == pytest.approx([10, 10, 10])

    assert stepper.hears.sent == [[("a", 30_000)]] * 3
    assert holding.lease is not None
    assert holding.lease.remaining(stepper.clock.now) > 29


def test_leases_taken_at_different_times_soon_share_their_round_trips(stepper: Stepper) -> None:
    first = stepper.hold("a")
    stepper.clock.now += 4
    second = stepper.hold("b")

    for _ in range(4):
        stepper.step_to_next()

    assert stepper.hears.sent[-1] == [("a", 30_000), ("b", 30_000)]
    assert not first.lost + second.lost


def test_many_renewals_go_out_in_pieces(stepper: Stepper) -> None:
    holdings = [stepper.hold(str(n)) for n in range(1201)]

    stepper.step_to_next()

    assert [len(piece) for piece in stepper.hears.sent] == [500, 500, 201]
    assert not any(holding.lost for holding in holdings)


@pytest.mark.parametrize("ttl_ms", [30, 100, 1000, 3000, 10_000, 11_999, 12_000, 3_600_000])
def test_an_attempt_takes_a_good_part_of_the_interval_and_ends_before_the_next_is_due(ttl_ms: int) -> None:
    interval_s = ttl_ms / 3000

    assert min(interval_s / 4, ATTEMPT_S) <= pace_of(ttl_ms) <= min(interval_s / 2, ATTEMPT_S)


def test_an_attempt_takes_no_longer_than_its_pace_nor_than_the_lease(stepper: Stepper) -> None:
    holding = stepper.hold(ttl_ms=60_000)
    assert holding.lease is not None
    stepper.step_to_next()
    stepper.clock.now = holding.lease.valid_until - 0.5
    stepper.step_to_next()

    assert stepper.hears.within == pytest.approx([ATTEMPT_S, 0.5])


def test_what_it_takes_to_open_the_connection_counts_neither_for_the_lease_nor_for_the_answer(
    stepper: Stepper,
) -> None:
    def open_slowly(within: float) -> None:
        assert within > 4
        stepper.clock.now += 4

    holding = stepper.hold(ttl_ms=30_000)
    stepper.hears.opening = open_slowly

    stepper.step_to_next()

    assert stepper.hears.within == [ATTEMPT_S]
    assert holding.lease is not None
    assert holding.lease.remaining(stepper.clock.now) > 29


def test_the_connection_is_opened_before_it_is_needed(stepper: Stepper) -> None:
    holding = stepper.hold(ttl_ms=30_000)
    opened: list[float] = []
    stepper.hears.opening = lambda _: opened.append(stepper.clock.now)
    due = stepper.clock.now + 10

    def moves_on(_: Bell, seconds: float) -> None:
        stepper.clock.now += seconds

    with mock.patch.object(Bell, "wait", moves_on):
        stepper.renewal._next_batch()

    assert opened == [due - 2 * ATTEMPT_S]
    assert stepper.clock.now == due
    assert not holding.lost


@pytest.mark.parametrize(("ttl_ms", "rings"), [(30_000, False), (3_000, True)])
def test_a_lease_that_is_due_before_the_thread_looks_again_rings(
    stepper: Stepper, ttl_ms: int, rings: bool
) -> None:
    """Every third of its length: after 10 seconds, or after one; the thread looks after 5."""
    stepper.renewal._wakes_at = stepper.clock.now + 5

    stepper.hold(ttl_ms=ttl_ms)

    assert stepper.renewal._bell.wait(0) == rings


def test_a_lease_that_is_given_back_before_the_thread_looks_is_unknown_to_it(stepper: Stepper) -> None:
    stepper.hold("a")
    stepper.renewal.forget("a")

    assert stepper.renewal._living() == []
    assert not stepper.renewal._known


def test_a_lease_is_known_from_the_first_look_to_the_last(stepper: Stepper) -> None:
    holding = stepper.hold("a")
    (watch,) = stepper.renewal._living()

    assert stepper.renewal._living() == [watch]
    assert watch.lease() is holding.lease


def test_leases_of_another_length_have_a_renewal_of_their_own() -> None:
    store: Any = FakeStore()

    assert renewal_of(store, pace_of(30_000)) is renewal_of(store, pace_of(60_000))
    assert renewal_of(store, pace_of(30_000)) is not renewal_of(store, pace_of(100))


def test_a_renewal_that_is_refused_is_a_loss(stepper: Stepper) -> None:
    holding = stepper.hold()
    stepper.hears.answer = 0

    stepper.step_to_next()

    assert holding.reasons == ["taken"]
    assert not stepper.renewal._watches


def test_a_renewal_of_what_was_taken_by_force_says_so(stepper: Stepper) -> None:
    holding = stepper.hold()
    stepper.hears.answer = -1

    stepper.step_to_next()

    assert (holding.reasons, holding.lost) == (["forced"], ["it was taken by force"])


def test_each_renewal_is_told_with_its_lateness(stepper: Stepper, told: list[Any]) -> None:
    holding = stepper.hold(ttl_ms=30_000)
    stepper.step_to_next()
    stepper.clock.now += 12

    stepper.step_to_next()

    assert not holding.lost
    assert told == [Renewed("renewed", 0.0), Renewed("renewed", pytest.approx(2))]


def test_a_renewal_that_goes_out_early_with_others_is_not_late(stepper: Stepper, told: list[Any]) -> None:
    holdings = [stepper.hold("a")]
    stepper.clock.now += 4
    holdings.append(stepper.hold("b"))

    stepper.step_to_next()

    assert told == [Renewed("renewed", 0.0)] * len(holdings)


def test_a_lease_that_ends_before_the_thread_comes_to_renew_it_is_told_as_lost_and_late(
    stepper: Stepper, told: list[Any]
) -> None:
    holding = stepper.hold(ttl_ms=30_000)
    stepper.clock.now += 40

    stepper.step_to_next()

    assert holding.reasons == ["expired"]
    assert told == [Renewed("lost", pytest.approx(30))]


def test_a_refused_renewal_is_told_as_lost_once(stepper: Stepper, told: list[Any]) -> None:
    holding = stepper.hold()
    stepper.hears.answer = 0

    stepper.step_to_next()

    assert holding.lost
    assert told == [Renewed("lost", 0.0)]


@pytest.mark.parametrize("options", [{"renew": False}, {"max_hold_ms": 20_000}])
def test_a_lease_that_is_not_to_be_renewed_any_more_ends_without_a_renewal(
    options: dict[str, Any], stepper: Stepper, told: list[Any]
) -> None:
    holding = stepper.hold(**options)
    while not holding.lost:
        stepper.step_to_next()

    assert [event for event in told if event.result != "renewed"] == []


@pytest.mark.parametrize(
    "failure", [redis.ConnectionError("away"), redis.TimeoutError("slow"), redis.ResponseError("NO")]
)
def test_a_failure_is_told_once_for_all_leases_whose_renewals_it_has_met(
    failure: redis.RedisError, stepper: Stepper, told: list[Any]
) -> None:
    holdings = [stepper.hold("a"), stepper.hold("b")]
    stepper.hears.answer = failure

    stepper.step_to_next()

    assert not any(holding.lost for holding in holdings)
    assert sorted(told, key=repr) == [
        *[Renewed("failed", 0.0)] * 2,
        StoreFailed("renew", type(failure).__name__),
    ]


def test_a_renewal_that_fails_is_tried_again_and_succeeds(stepper: Stepper) -> None:
    holding = stepper.hold()
    stepper.hears.answer = redis.ConnectionError("away")
    stepper.step_to_next()
    stepper.hears.answer = 1

    assert stepper.step_to_next() < 5

    assert not holding.lost
    assert stepper.next_due() == pytest.approx(10)


@pytest.mark.parametrize(
    "failure", [redis.ConnectionError("away"), redis.TimeoutError("slow"), redis.ResponseError("NO")]
)
def test_a_renewal_that_keeps_failing_is_a_loss_when_the_lease_ends_not_earlier(
    stepper: Stepper, failure: redis.RedisError
) -> None:
    holding, began_at = stepper.hold(ttl_ms=30_000), stepper.clock.now
    stepper.hears.answer = failure

    while not holding.lost:
        stepper.step_to_next()

    assert 29 < stepper.clock.now - began_at <= 30
    assert str(failure) in holding.lost[0]
    assert holding.reasons == ["cut_off"]
    assert holding.failures == holding.lost * len(stepper.hears.sent)
    assert 4 < len(stepper.hears.sent) < 20


def test_a_lease_that_is_not_renewed_is_only_watched_to_its_end(stepper: Stepper) -> None:
    holding = stepper.hold(renew=False)

    assert 29 < stepper.step_to_next() <= 30

    assert holding.reasons == ["expired"]
    assert not stepper.hears.sent


def test_a_lease_is_not_renewed_beyond_max_hold(stepper: Stepper) -> None:
    holding, began_at = stepper.hold(max_hold_ms=45_000), stepper.clock.now

    while not holding.lost:
        stepper.step_to_next()

    assert 44 < stepper.clock.now - began_at <= 45
    assert holding.reasons == ["max_hold"]
    assert all(ttl_ms <= 30_000 for [(_, ttl_ms)] in stepper.hears.sent)


def test_a_forgotten_lease_is_neither_renewed_nor_lost(stepper: Stepper) -> None:
    forgotten, kept = stepper.hold("a"), stepper.hold("b")
    stepper.renewal.forget("a")

    stepper.step_to_next()

    assert stepper.hears.sent == [[("b", 30_000)]]
    assert not forgotten.lost + kept.lost


def test_a_refusal_that_comes_after_the_release_is_no_loss(stepper: Stepper) -> None:
    holding = stepper.hold()
    exchange = stepper.hears.exchange

    def release_meanwhile(commands: Sequence[Sequence[Any]], within: float, acks: int) -> list[Any]:
        stepper.renewal.forget("a")
        return exchange(commands, within, acks)

    stepper.hears.answer = 0
    with mock.patch.object(stepper.hears, "exchange", release_meanwhile):
        stepper.step_to_next()

    assert not holding.lost


def test_all_leases_released_in_the_midst_of_a_renewal_are_no_error(
    stepper: Stepper, caplog: pytest.LogCaptureFixture
) -> None:
    holding = stepper.hold()
    connection = stepper.store.connection

    def release_meanwhile(timeout_s: float) -> FakeConnection:
        stepper.renewal.forget("a")
        return connection(timeout_s)

    with mock.patch.object(stepper.store, "connection", release_meanwhile):
        stepper.step_to_next()

    assert not holding.lost
    assert not caplog.records


def test_a_lock_that_was_dropped_is_not_renewed(stepper: Stepper) -> None:
    dropped, kept = stepper.hold("a"), stepper.hold("b")
    del dropped

    stepper.step_to_next()

    assert stepper.hears.sent == [[("b", 30_000)]]
    assert not kept.lost


def test_the_child_of_a_fork_begins_with_nothing_to_renew(stepper: Stepper) -> None:
    parent = stepper.hold()
    assert stepper.renewal._watches

    stepper.renewal.begin_afresh()

    assert not stepper.renewal._watches
    assert not parent.lost
    child = stepper.hold("c")
    stepper.step_to_next()
    assert stepper.hears.sent == [[("c", 30_000)]]
    assert not child.lost
