"""Machine: random sequences of everything that can happen to a lock, in Redis and in the reference alike."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import redis
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from celery_redislock.engine.lease.verbs import LockVerbs
from celery_redislock.engine.protocol import exclusive
from celery_redislock.engine.protocol.exclusive import Granted
from celery_redislock.engine.protocol.keys import keys_of
from celery_redislock.engine.protocol.wire import Command
from celery_redislock.engine.transport.clients import store_of
from celery_redislock.engine.transport.store import Store

from .reference import FOREIGN, Reference

#: Nothing runs out by itself while an example lasts: what ends is taken away by a rule. Milliseconds.
TTL_MS = MIN_HOLD_MS = 60_000
PATIENCE_MS = 4_000
#: After this something may have ended by itself: the example says nothing any more. Seconds. Far beyond
#: what an example takes: Hypothesis calls it flaky if one sequence is once too long and once not.
LONGEST_S = 50.0

ACTORS = 4
#: Steps between two accidents.
CALM = 5

_RARELY = st.sampled_from([False, False, False, True])


def _arguments(command: Command) -> Command:
    """Return the arguments of a script."""
    keys = command[2]
    assert isinstance(keys, int)
    return command[3 + keys :]


def _text(word: object) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)


class Wire:
    """The store behind a lock, with what was sent to it and is known to be done.

    Args:
        store: The real one.
        done: Told of each command that was done, with the reply.
    """

    def __init__(self, store: Store, done: Callable[[Command, Any], None]) -> None:
        self._store, self._done = store, done
        #: What may come once more; and everything.
        self.sent: list[Command] = []
        self.all: list[Command] = []
        self.has_run: set[str] = set()

    run = Store.run

    def call(self, command: Command, *_: Any) -> Any:
        """Send a command."""
        reply = self._store.call(command)
        if command[0] == "EVALSHA":
            self.sent.append(command)
            self.all.append(command)
            self._done(command, reply)
        return reply

    def again(self, command: Command) -> None:
        """Deliver a copy of what was sent before."""
        self._done(command, self._store.call(command))


class Actor:
    """Somebody who uses the lock, with a new token for each attempt.

    Attributes:
        believes: It was told that it has the lock, and nothing that lets it doubt.
        held: It was told so, believes it or not.
        again: Sends its last request once more, as after a lost reply.
    """

    def __init__(self) -> None:
        self.begin_afresh()

    def begin_afresh(self) -> None:
        """Forget the last attempt."""
        self.token = uuid4().hex
        self.believes = False
        self.held = False
        self.again: Callable[[], object] | None = None


def _someone(such: Callable[[Any], list[Actor]]) -> st.SearchStrategy[Actor]:
    return st.runner().flatmap(lambda machine: st.sampled_from(such(machine)))


class LockMachine(RuleBasedStateMachine):
    """One lock in Redis, its reference, and those who use it.

    Each request is also made of the reference, and has to be answered alike; after each step both
    have to look alike.
    """

    def __init__(self, client: redis.Redis) -> None:
        super().__init__()
        self.client = client
        self.name = f"model:{uuid4().hex}"
        self.keys = keys_of(self.name)
        self.wire = Wire(store_of(client), self._compare)
        self.verbs = LockVerbs(self.wire, self.name)  # type: ignore[arg-type]
        self.reference = Reference()
        self.actors = [Actor() for _ in range(ACTORS)]
        self.began = time.monotonic()
        self.calm = 0
        #: What was given back, or left.
        self.finished: set[str] = set()
        # So that no copy of a script is sent in full.
        for script in (
            exclusive.ACQUIRE,
            exclusive.RELEASE,
            exclusive.LEAVE,
            exclusive.FORCE_RELEASE,
            exclusive.RENEW,
        ):
            client.script_load(script.source)

    def teardown(self) -> None:
        """Leave no key behind."""
        self.client.delete(*self._all_companions(), self.keys.lock)

    def _companions(self) -> list[bytes]:
        """Return the companions, as far as those who act now may have any."""
        return self._companions_of({actor.token for actor in self.actors})

    def _all_companions(self) -> list[bytes]:
        return self._companions_of({_text(_arguments(command)[0]) for command in self.wire.all})

    def _companions_of(self, tokens: set[str]) -> list[bytes]:
        k = self.keys
        of_tokens = [key for token in tokens for key in (k.mailbox(token), k.questions_of(token))]
        return [k.holder, k.done, k.waiters, k.seen, *of_tokens]

    # -- what actors do

    def without_lock(self) -> list[Actor]:
        """Who may ask for the lock."""
        return [actor for actor in self.actors if not actor.held]

    def holders(self) -> list[Actor]:
        """Who was told to have it, and may not have it any more."""
        return [actor for actor in self.actors if actor.held]

    def senders(self) -> list[Actor]:
        """Who has sent something."""
        return [actor for actor in self.actors if actor.again is not None]

    def askers(self) -> list[Actor]:
        """Who has asked, and was not told to have the lock."""
        return [actor for actor in self.senders() if not actor.held]

    def waiters(self) -> list[Actor]:
        """Who stands in the queue."""
        return [actor for actor in self.actors if actor.token in self.reference.queue]

    @precondition(lambda self: self.without_lock())
    @rule(actor=_someone(without_lock), waits=st.booleans(), reply_is_lost=_RARELY)
    def ask(self, actor: Actor, waits: bool, reply_is_lost: bool) -> None:
        """Try once, or stand in line; the answer may get lost."""
        actor.again = lambda: self._ask(actor, waits=waits, is_heard=True)
        self._ask(actor, waits=waits, is_heard=not reply_is_lost)

    @precondition(lambda self: self.holders())
    @rule(actor=_someone(holders), keeps=_RARELY, reply_is_lost=_RARELY)
    def release(self, actor: Actor, keeps: bool, reply_is_lost: bool) -> None:
        """Give back what one has or had, early for its `min_hold` or not."""
        actor.believes = False
        actor.again = lambda: self._release(actor, keeps=keeps)
        self._release(actor, keeps=keeps)
        self.finished.add(actor.token)
        if not reply_is_lost:
            actor.begin_afresh()

    @precondition(lambda self: self.holders())
    @rule(actor=_someone(holders))
    def renew(self, actor: Actor) -> None:
        """Prolong what one has or had."""
        actor.again = lambda: self._renew(actor)
        self._renew(actor)

    @precondition(lambda self: self.askers())
    @rule(actor=_someone(askers))
    def leave(self, actor: Actor) -> None:
        """Stop waiting; the lock may have been granted unseen."""
        for _ in range(2):
            self.verbs.leave(actor.token, within=1)
        self.finished.add(actor.token)
        actor.begin_afresh()

    @precondition(lambda self: self.askers())
    @rule(actor=_someone(askers))
    def stand_down(self, actor: Actor) -> None:
        """Give up what may have been granted unseen, and ask again later."""
        self.verbs.leave(actor.token, within=1)

    @precondition(lambda self: self.senders())
    @rule(actor=_someone(senders))
    def send_again(self, actor: Actor) -> None:
        """The reply to the last request was lost, and a client sends it again; others came in between."""
        assert actor.again is not None
        actor.again()

    @precondition(lambda self: self.wire.sent)
    @rule(which=st.integers(0, 255))
    def late_copy(self, which: int) -> None:
        """A copy of something that was sent and answered long since arrives now."""
        self.wire.again(self.wire.sent[which % len(self.wire.sent)])

    def _compare(self, command: Command, reply: Any) -> None:
        """Do to the reference what was done to Redis; both must answer alike."""
        reference, arguments = self.reference, [_text(word) for word in _arguments(command)]
        token, last = arguments[0], arguments[-1]
        if command[1] == exclusive.ACQUIRE.sha:
            granted = reference.ask(token, float(last), waits=int(arguments[2]) > 0)
            assert {1: True, 0: False, -1: None}[reply[0]] == granted, f"{reply} when {reference}"
            assert granted is None or self.client.exists(self.keys.lock), "somebody asked, and it is free"
            if granted:
                self._take_note(token, int(reply[1]))
        elif command[1] == exclusive.LEAVE.sha:
            reference.leave(token, float(last))
        elif command[1] == exclusive.RELEASE.sha:
            assert (reply > 0) == reference.release(token, keep=arguments[1] != "0")
            self._knows_of_force(token, reply)
        elif command[1] == exclusive.RENEW.sha:
            assert (reply > 0) == reference.renew(token)
            self._knows_of_force(token, reply)
        else:
            assert bool(reply) == (reference.holder == token and reference.force_release())

    def _knows_of_force(self, token: str, reply: int) -> None:
        assert reply > 0 or (reply == -1) == (token in self.reference.ousted), "it is not told of force"

    def _ask(self, actor: Actor, *, waits: bool, is_heard: bool) -> None:
        patience_ms = PATIENCE_MS if waits else 0
        answer = self.verbs.acquire(actor.token, TTL_MS, patience_ms, json.dumps({"id": "x"}))
        if isinstance(answer, Granted):
            actor.believes = actor.held = is_heard
        elif not waits and is_heard:
            actor.begin_afresh()

    def _take_note(self, token: str, number: int) -> None:
        if self.reference.is_new(token):
            assert number > self.reference.largest, "a fencing token did not grow"
            self.reference.granted(number)
        assert number == self.reference.number, "the same grant has two fencing tokens"

    def _release(self, actor: Actor, *, keeps: bool) -> None:
        self.verbs.release(actor.token, MIN_HOLD_MS if keeps else 0, done="")

    def _renew(self, actor: Actor) -> None:
        refusal = self.verbs.renew(actor.token, TTL_MS)
        actor.believes = actor.believes and refusal is None

    # -- what happens to the lock

    @precondition(lambda self: self.reference.holder is not None)
    @rule()
    def ends(self) -> None:
        """A lease, a claim or a `min_hold` runs out; who believed does so no more, by its clock."""
        self.client.delete(self.keys.lock)
        self._doubt()
        self.reference.free()

    @precondition(lambda self: self.waiters())
    @rule(actor=_someone(waiters))
    def dies(self, actor: Actor) -> None:
        """A waiter does not ask for too long."""
        self.client.hset(self.keys.seen, actor.token, 0)
        self.reference.dead.add(actor.token)

    @precondition(lambda self: self.calm > CALM)
    @rule(kind=st.sampled_from(["force_release", "stranger_sets", "stranger_deletes", "all_is_lost"]))
    def accident(self, kind: str) -> None:
        """What comes from outside; not often, or there is nothing left for it to befall."""
        self.calm = 0
        getattr(self, f"_{kind}")()

    def _force_release(self) -> None:
        """An operator takes the lock away; its holder learns of it later."""
        was_held = self.reference.holder is not None
        assert self.verbs.force_release() == was_held
        self._doubt()

    def _stranger_sets(self) -> None:
        """Another program tries to take the lock, past the queue."""
        is_set = self.client.set(self.keys.lock, FOREIGN, nx=True, px=TTL_MS)
        assert bool(is_set) == self.reference.set_by_a_stranger()

    def _stranger_deletes(self) -> None:
        """Another program deletes the key, its own or not."""
        self.client.delete(self.keys.lock)
        self._doubt()
        self.reference.free()

    def _all_is_lost(self) -> None:
        """The server comes back empty."""
        self.client.delete(self.keys.lock, *self._all_companions())
        self._doubt()
        self.reference.lose_all()
        # What is over is forgotten, too.
        self.wire.sent.clear()
        self.finished.clear()

    def _doubt(self) -> None:
        for actor in self.actors:
            actor.believes = False

    # -- what must hold after each step

    @invariant()
    def redis_is_as_the_reference(self) -> None:
        """Look at Redis once and compare."""
        k = self.keys
        pipeline = self.client.pipeline(transaction=True)
        pipeline.get(k.lock).zrange(k.waiters, 0, -1).hkeys(k.seen)
        for key in (k.lock, *self._companions()):
            pipeline.pttl(key)
        holder, queue, seen, *ttls = pipeline.execute()
        self.calm += 1
        assume(time.monotonic() < self.began + LONGEST_S)
        reference = self.reference
        assert (holder.decode() if holder else None) == reference.holder
        assert [token.decode() for token in queue] == reference.queue
        fields = {field.decode() for field in seen} - {"watcher", "watch_until"}
        assert fields == {field for token in reference.queue for field in (token, f"{token}:who")}
        assert -1 not in ttls, "a key would stay for ever"

    @invariant()
    def nobody_shares_or_waits_for_itself(self) -> None:
        """At most one believes, rightly; the holder is not in the queue; whose turn it is, is awake."""
        believers = [actor.token for actor in self.actors if actor.believes]
        assert believers in ([], [self.reference.holder])
        assert self.reference.holder not in self.reference.queue
        assert self.reference.holder not in self.finished, "it is taken for nobody"
        assert not self.finished & set(self.reference.queue), "nobody stands in line"
        if self.reference.is_claim:
            assert self.reference.holder is not None
            assert self.client.llen(self.keys.mailbox(self.reference.holder)), "nobody woke the next"
