"""Runs: triggers, releasers and messages in any order, some dead half-way; each trigger ends once.

Some messages end before their run begins: revoked, or expired. Then a trigger that stood back runs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
import redis

from celery_redislock.pending import runs as records
from celery_redislock.pending.runs import Claimed, PendingIndex, PendingRun, PendingRuns, Recorded

TASK = "a task"
SEEDS = range(80)


@dataclass
class Message:
    """A message in the broker: of a trigger (no token), or of a pending run."""

    id: str
    token: str = ""
    triggered_us: int = 0


@dataclass
class World:
    """One lock, its broker, and whoever releases, claims and publishes; all in one thread."""

    client: redis.Redis
    runs: PendingRuns
    keep: str
    chance: random.Random
    queue: list[Message] = field(default_factory=list)
    claimed: list[tuple[PendingRun, str]] = field(default_factory=list)
    published: list[tuple[PendingRun, str]] = field(default_factory=list)
    met: list[str] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    superseded: dict[str, str] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    all_live: bool = False
    revokes: bool = False

    def trigger(self) -> None:
        """Somebody publishes the task."""
        self.queue.append(Message(f"{len(self.met) + len(self.queue)} {uuid4().hex}"))

    def deliver(self) -> None:
        """A worker gets one of the messages, whichever."""
        if self.queue:
            message = self.queue.pop(self.chance.randrange(len(self.queue)))
            (self.discard if message.id in self.revoked else self.arrive)(message)

    def revoke(self) -> None:
        """Somebody revokes one of the tasks that have not begun; its messages are discarded from now on."""
        waiting = sorted({*self.met, *(message.id for message in self.queue)} - set(self.begun))
        if waiting:
            self.revoked.add(self.chance.choice(waiting))

    def discard(self, message: Message) -> None:
        """A worker does not run what was revoked."""
        self.gone.add(message.id)
        if message.token and self.runs.withdraw(TASK, message.id, message.token):
            self.claim()

    def arrive(self, message: Message) -> None:
        """A worker tries to take the lock for a message."""
        if not message.token:
            self.met.append(message.id)
        if self.client.set(self.runs.lock_name, message.id, nx=True):
            self.begin(message)
        else:
            self.want(message)

    def begin(self, message: Message) -> None:
        """The lock is ours."""
        seconds, micros = self.client.time()
        triggered_us = message.triggered_us or seconds * 1_000_000 + micros
        recorded = self.runs.begin(
            TASK, message.id, keep=self.keep, triggered_us=triggered_us, token=message.token
        )
        if recorded.is_copy:
            self.client.delete(self.runs.lock_name)
            return
        self.end(recorded, message.id)
        self.begun.append(message.id)

    def want(self, message: Message) -> None:
        """Somebody else has it."""
        run = PendingRun(TASK, message.id, b"message of " + message.id.encode(), message.triggered_us)
        recorded = self.runs.record(
            run, keep=self.keep, question=uuid4().hex, is_listed=True, token=message.token
        )
        assert not recorded.is_free
        if recorded.successor:
            self.superseded[message.id] = recorded.successor
        if not recorded.is_copy:
            self.end(recorded, recorded.behind or message.id)

    def end(self, recorded: Recorded, successor: str) -> None:
        """Store the ends of the superseded, or die before that."""
        for run in recorded.superseded:
            if self.all_live or self.chance.random() < 0.8:
                self.superseded[run.id] = successor
                self.runs.ended(run)

    def release(self) -> None:
        """The body has ended; the releaser may die before it claims."""
        self.client.delete(self.runs.lock_name)

    def claim(self) -> None:
        """A releaser, or a worker's step, takes what is to be done."""
        claimed = self.runs.claim(TASK)
        self.claimed += [(run, claimed.token) for run in claimed.to_publish]
        for successor, run in claimed.superseded:
            self.superseded[run.id] = successor
            self.runs.ended(run)

    def publish(self) -> None:
        """One who has claimed gets on, however late."""
        if self.claimed:
            run, token = self.claimed.pop(self.chance.randrange(len(self.claimed)))
            assert run.message == b"message of " + run.id.encode()
            self.queue.append(Message(run.id, token, run.triggered_us))
            self.published.append((run, token))

    def confirm(self) -> None:
        """One who has published says so, however late."""
        if self.published:
            self.runs.confirm(*self.published.pop(self.chance.randrange(len(self.published))))

    def die(self) -> None:
        """One who has claimed or published does nothing more."""
        for waiting in (self.claimed, self.published):
            if waiting:
                waiting.pop(self.chance.randrange(len(waiting)))

    def live(self, steps: int) -> None:
        """Let things happen, while no claim lasts; then let them come to rest."""
        acts: list[Callable[[], None]] = [self.trigger, self.deliver, self.release, self.claim]
        acts += [self.publish, self.confirm, self.deliver, self.die]
        acts += [self.revoke] if self.revokes else []
        for _ in range(steps):
            with mock.patch.object(records, "CLAIM_MS", 0):
                self.chance.choice(acts)()
        self.all_live = True
        for _ in range(100):
            for act in (self.release, self.claim, self.publish, self.confirm, self.deliver):
                act()
            if not (self.queue or self.claimed or self.published):
                return
        raise AssertionError("it never comes to rest")


def played(
    seed: int,
    client: redis.Redis,
    runs: type[PendingRuns] = PendingRuns,
    keep: str = "latest",
    revokes: bool = False,
) -> World:
    """Play a world and look whether every trigger came to one end."""
    chance = random.Random(seed)
    world = World(client, runs(client, f"lock {seed}"), keep, chance, revokes=revokes)
    world.live(60)
    assert len(world.begun) == len(set(world.begun)), "a run began twice"
    assert not world.superseded.keys() & set(world.begun), "a run began that another stood for"
    lost = set(world.met) - set(world.begun) - world.superseded.keys() - world.gone
    assert not lost, "a trigger came to no end"
    for successor in world.superseded.values():
        while successor not in world.begun:
            assert successor in world.superseded, "a successor came to no end"
            successor = world.superseded[successor]
    stays = [each for each in world.met if each not in world.gone]
    if keep == "latest" and stays:
        assert world.begun[-1] == stays[-1], "the last run is not that of the last trigger"
    rest = client.hgetall(f"redislock.pending:{{lock {seed}}}").items()
    assert all(field.startswith(b"sent ") and entry.startswith(b"-") for field, entry in rest), (
        "something is pending still"
    )
    return world


@pytest.mark.parametrize("keep", ["latest", "first"])
def test_every_trigger_runs_once_or_is_superseded_whoever_dies_or_is_late(
    keep: str, client: redis.Redis
) -> None:
    worlds = [played(seed, client, keep=keep) for seed in SEEDS]

    assert sum(len(world.superseded) for world in worlds) > 100, "too little was superseded to see anything"


@pytest.mark.parametrize("keep", ["latest", "first"])
def test_one_that_stood_back_runs_where_the_one_before_it_is_revoked(keep: str, client: redis.Redis) -> None:
    """So nobody is told of a successor that never ran."""
    worlds = [played(seed, client, keep=keep, revokes=True) for seed in SEEDS]

    assert sum(len(world.gone) for world in worlds) > 100, "too little was revoked to see anything"
    assert sum(len(world.superseded) for world in worlds) > 20, "too little was superseded to see anything"


def test_the_scripts_do_the_same_on_fakeredis(fake_client: redis.Redis) -> None:
    for seed in range(5):
        played(seed, fake_client, revokes=True)


# ---- what the play must see


class ClaimsNothing(PendingRuns):
    """Whoever looks publishes what is pending, and it is forgotten when it was published."""

    def claim(self, task: str) -> Claimed:
        """Read what is wanted, and leave it."""
        entry = self._call("HGET", self._keys.pending, b"next " + records._word(task))
        free = not self._call("EXISTS", self._keys.lock)
        return Claimed(uuid4().hex, None, (PendingRun.of_entry(entry),) if entry and free else (), ())

    def confirm(self, run: PendingRun, token: str) -> bool:
        """Forget it."""
        self._call("HDEL", self._keys.pending, b"next " + records._word(run.task))
        return False


class DropsWhatItClaims(PendingRuns):
    """A release that takes what is pending out of Redis before it is published."""

    def claim(self, task: str) -> Claimed:
        """Take, and keep no record."""
        claimed = super().claim(task)
        for run in claimed.to_publish:
            self._delete(b"sent", run.task, run.id)
        return claimed


class LetsEveryMessageCount(PendingRuns):
    """The claim has no token that travels with the message."""

    def begin(self, task: str, task_id: str, **facts: Any) -> Recorded:
        """Begin whatever comes."""
        return super().begin(task, task_id, **{**facts, "token": ""})


class KeepsWhatIsOlder(PendingRuns):
    """A run that got a free lock does not stand for those that are on their way."""

    def begin(self, task: str, task_id: str, **facts: Any) -> Recorded:
        """Supersede nobody."""
        return super().begin(task, task_id, **{**facts, "keep": "first"})


class ForgetsWhoStoodBack(PendingRuns):
    """Nobody hears of a run that ends before it begins."""

    def withdraw(self, task: str, task_id: str, token: str) -> bool:
        """Do nothing."""
        return False


WRONG = [ClaimsNothing, DropsWhatItClaims, LetsEveryMessageCount, KeepsWhatIsOlder, ForgetsWhoStoodBack]


@pytest.mark.parametrize("wrong", WRONG)
def test_the_play_sees_when_it(wrong: type[PendingRuns], client: redis.Redis) -> None:
    def play_all() -> None:
        for seed in SEEDS:
            played(seed, client, wrong, revokes=wrong is ForgetsWhoStoodBack)

    with pytest.raises(AssertionError):
        play_all()


# ---- answers of the single verbs


@pytest.fixture
def runs(client: redis.Redis) -> PendingRuns:
    client.set("lock", "held")
    return PendingRuns(client, "lock")


def want(runs: PendingRuns, task_id: str, question: str = "", **facts: Any) -> Recorded:
    run = PendingRun(TASK, task_id, b"message")
    return runs.record(
        run, **{"keep": "latest", "question": question or uuid4().hex, "is_listed": True, **facts}
    )


def test_a_wish_whose_answer_was_lost_is_not_recorded_twice(runs: PendingRuns, client: redis.Redis) -> None:
    """Between the two sends the run was published, began and ended."""
    question = uuid4().hex
    assert want(runs, "1", question) == Recorded()
    client.delete("lock")
    claimed = runs.claim(TASK)
    assert not runs.begin(TASK, "1", keep="latest", triggered_us=1, token=claimed.token).is_copy

    assert want(runs, "1", question) == Recorded()

    assert not runs.tasks()


def test_a_free_lock_is_said_to_be_free(runs: PendingRuns, client: redis.Redis) -> None:
    client.delete("lock")

    assert want(runs, "1").is_free
    assert not runs.tasks()


def test_the_first_wish_has_to_be_listed_first(runs: PendingRuns) -> None:
    assert want(runs, "1", is_listed=False).must_be_listed_first
    assert not runs.tasks()
    want(runs, "1")
    assert not want(runs, "2", is_listed=False).must_be_listed_first


def test_a_wish_does_not_supersede_itself(runs: PendingRuns) -> None:
    want(runs, "1")

    assert want(runs, "1") == Recorded()
    assert want(runs, "1", keep="first") == Recorded()


def claimed(runs: PendingRuns, client: redis.Redis) -> tuple[str, list[str]]:
    """Claim what is pending of the free lock; return the token and the ids."""
    client.delete("lock")
    claim = runs.claim(TASK)
    return claim.token, [run.id for run in claim.to_publish]


@pytest.mark.parametrize(("keep", "first", "then"), [("latest", "3", "2"), ("first", "1", "2")])
def test_the_next_in_line_is_pending_where_a_run_ends_before_it_begins(
    runs: PendingRuns, client: redis.Redis, keep: str, first: str, then: str
) -> None:
    for task_id in "123":
        assert want(runs, task_id, keep=keep).superseded == (), "nothing has run in its place yet"
    token, ids = claimed(runs, client)
    assert ids == [first]

    assert [runs.withdraw(TASK, first, token) for _ in range(2)] == [True, True]

    token, ids = claimed(runs, client)
    assert ids == [then]
    begun = runs.begin(TASK, then, keep=keep, triggered_us=time.time_ns(), token=token)
    assert [run.id for run in begun.superseded] == [{"latest": "1", "first": "3"}[keep]]


def test_a_run_that_has_begun_cannot_be_withdrawn(runs: PendingRuns, client: redis.Redis) -> None:
    want(runs, "1")
    want(runs, "2")
    token, _ = claimed(runs, client)
    begun = runs.begin(TASK, "2", keep="latest", triggered_us=time.time_ns(), token=token)
    assert [run.id for run in begun.superseded] == ["1"]

    assert not runs.withdraw(TASK, "2", token)


def test_a_message_that_does_not_count_withdraws_nothing(runs: PendingRuns, client: redis.Redis) -> None:
    want(runs, "1")
    want(runs, "2")
    claimed(runs, client)

    assert not runs.withdraw(TASK, "2", "another token")


def test_a_newcomer_that_got_the_free_lock_does_not_stand_for_those_behind_the_first(
    runs: PendingRuns,
) -> None:
    want(runs, "1", keep="first")
    assert want(runs, "2", keep="first").behind == "1"

    assert runs.begin(TASK, "newcomer", keep="first", triggered_us=time.time_ns()).superseded == ()


@pytest.mark.parametrize("keep", ["latest", "first"])
def test_the_line_is_bounded_and_keeps_one_that_never_expires(runs: PendingRuns, keep: str) -> None:
    """All others may expire before they can run."""
    count, told = 40, []
    lasting = 0 if keep == "latest" else count - 1
    for number in range(count):
        run = PendingRun(TASK, f"{number}", b"message", expires=number != lasting)
        recorded = runs.record(run, keep=keep, question=uuid4().hex, is_listed=True)
        told += [each.id for each in recorded.superseded] + ([run.id] if recorded.successor else [])

    assert len(told) == count - (1 + 16 + 1), "one is pending, 16 and the one that lasts stand back"
    assert f"{lasting}" not in told


def test_what_was_purged_gives_way_to_the_next_in_line(runs: PendingRuns, client: redis.Redis) -> None:
    """Nobody hears of a message that was thrown away, or that a broker has lost."""
    want(runs, "1")
    want(runs, "2")
    token, _ = claimed(runs, client)
    assert runs.confirm(PendingRun(TASK, "2", b""), token) is False
    claim = runs.claim(TASK)
    assert claim.to_publish == ()
    assert claim.look_again_ms == 15_000

    client.hset("redislock.pending:{lock}", "late " + records._word(TASK).decode(), 1)

    assert claimed(runs, client)[1] == ["1"]


def test_tasks_that_share_a_lock_have_a_pending_run_each(runs: PendingRuns, client: redis.Redis) -> None:
    want(runs, "1")
    other = PendingRun("another task", "2", b"message")

    assert runs.record(other, keep="latest", question=uuid4().hex, is_listed=True) == Recorded()

    assert runs.tasks() == {TASK, "another task"}
    client.delete("lock")
    assert [run.id for run in runs.claim("another task").to_publish] == ["2"]


def test_nobody_publishes_while_the_lock_is_busy_or_another_has_claimed(
    runs: PendingRuns, client: redis.Redis
) -> None:
    want(runs, "1")
    assert runs.claim(TASK).to_publish == ()
    client.delete("lock")
    assert len(runs.claim(TASK).to_publish) == 1

    later = runs.claim(TASK)

    assert later.to_publish == ()
    assert later.look_again_ms is not None
    assert 0 < later.look_again_ms <= records.CLAIM_MS


def test_what_is_kept_survives_any_name_and_content() -> None:
    run = PendingRun("a task: ü {x}\n", "an id with\0 and %", bytes(range(256)), 7)

    assert PendingRun.of_entry(run.entry()) == run


def test_the_holder_is_asked_to_stop_and_expelled_when_its_time_is_over(
    runs: PendingRuns, client: redis.Redis
) -> None:
    token = "t" * 32
    client.set("lock", token)
    client.set("redislock.holder:{lock}", f'{token} 1 1000 {{"id":"old"}}')
    want(runs, "new", stop_after_ms=0)

    assert runs.successor(token) == "new"
    assert runs.successor("u" * 32) == ""
    left_ms, holder = runs.expel(30_000)
    assert left_ms == 30_000
    assert holder is not None
    assert holder.metadata["id"] == "old"
    assert runs.expel(30_000)[1] is None, "two would end it at once"

    client.set("lock", "u" * 32)
    assert runs.expel(30_000) == (None, None)
    assert runs.successor(token) == ""


# ---- the index


def test_the_index_tells_what_is_due_and_when_the_next_is(client: redis.Redis) -> None:
    index = PendingIndex(client, "p:")
    assert index.due() == (None, [])
    index.schedule("p:now", 0)
    index.schedule("p:later", 60_000)

    next_ms, ((name, _),) = index.due()

    assert name == "p:now"
    assert next_ms is not None
    assert 59_000 < next_ms <= 60_000


def test_a_lock_that_was_noted_again_meanwhile_is_not_forgotten(client: redis.Redis) -> None:
    index = PendingIndex(client, "p:")
    index.schedule("p:lock", 0)
    _, ((_, due_at),) = index.due()
    index.schedule("p:lock", 0)

    index.schedule("p:lock", None, due_at)

    _, ((_, due_at),) = index.due()
    index.schedule("p:lock", None, due_at)
    assert index.due() == (None, [])
