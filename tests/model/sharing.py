"""Sharing: random sequences of readers, writers, limits and deaths on one lock, and what must hold then."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import redis
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from celery_redislock.engine import Limits
from celery_redislock.engine.lease.lease import now
from celery_redislock.engine.lease.shared_verbs import SharedVerbs
from celery_redislock.engine.lease.verbs import LockVerbs
from celery_redislock.engine.protocol.exclusive import Granted, Released
from celery_redislock.engine.protocol.keys import GROUP_MARK, PAUSED, group_keys_of, keys_of
from celery_redislock.engine.protocol.shared import Words
from celery_redislock.engine.transport.clients import store_of

#: Nothing runs out by itself while an example lasts; milliseconds, and seconds.
TTL_MS, PATIENCE_MS, LONGEST_S = 120_000, 100_000, 50.0

#: A writer; readers; and those that at most so many are.
WRITER, ANY = 0, -1
KINDS = (WRITER, WRITER, ANY, ANY, 1, 2, 3)
ACTORS = 6
#: What an operator sets in place of a number.
PAUSE = 0


@dataclass
class Actor:
    """One attempt at the lock.

    Attributes:
        kind: `WRITER`, `ANY` or a limit.
        believes: It was told that it has the lock, and has not given it back, nor died.
        again: Sends its last request once more.
        slot: The place that it has been given, where it has a limit.
    """

    kind: int = WRITER
    token: str = field(default_factory=lambda: uuid4().hex)
    believes: bool = False
    has_asked: bool = False
    again: Callable[[], object] | None = None
    slot: int | None = None


def _someone(such: Callable[[Any], list[Actor]]) -> st.SearchStrategy[Actor]:
    return st.runner().flatmap(lambda machine: st.sampled_from(such(machine)))


class SharingMachine(RuleBasedStateMachine):
    """One lock in Redis, and those who want it for themselves or to share."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__()
        self.client, self.name = client, f"sharing:{uuid4().hex}"
        self.keys = keys_of(self.name)
        self.group = group_keys_of(self.keys)
        self.actors = [Actor() for _ in range(ACTORS)]
        self.largest = 0
        #: Waiters that have died; and whether the last step was one that looks at the line.
        self.dead: set[str] = set()
        self.has_looked = False
        #: Who was granted a place while somebody had its turn, by the token of that one.
        self.came_behind: dict[str, set[str]] = {}
        #: What an operator has set: `PAUSE`, a number, or nothing; and who had its turn when that came.
        self.limit: int | None = None
        self.largest_limit = 0
        self.in_turn: set[str] = set()
        self.began = time.monotonic()

    def teardown(self) -> None:
        """Leave no key behind."""
        keys = list(self.client.scan_iter(f"*{self.name}*"))
        if keys:
            self.client.delete(*keys)

    def verbs_of(self, actor: Actor) -> LockVerbs:
        """Return how somebody of this kind asks."""
        store = store_of(self.client)
        if actor.kind == WRITER:
            return LockVerbs(store, self.name)
        return SharedVerbs(store, self.name, 0, Words(None if actor.kind == ANY else actor.kind))

    # -- who

    def idle(self) -> list[Actor]:
        """Who has not asked yet."""
        return [actor for actor in self.actors if not actor.has_asked]

    def asking(self) -> list[Actor]:
        """Who has asked and was not told to have it."""
        return [actor for actor in self.actors if actor.has_asked and not actor.believes]

    def believers(self) -> list[Actor]:
        """Who was told to have it."""
        return [actor for actor in self.actors if actor.believes]

    def busy(self) -> list[Actor]:
        """Who has sent something."""
        return [actor for actor in self.actors if actor.again is not None]

    # -- what they do

    @precondition(lambda self: self.idle())
    @rule(actor=_someone(idle), kind=st.sampled_from(KINDS), waits=st.booleans())
    def ask(self, actor: Actor, kind: int, waits: bool) -> None:
        """Come, and stand in line or not."""
        actor.kind = kind
        actor.again = lambda: self._ask(actor, waits=waits)
        self._ask(actor, waits=waits)

    @precondition(lambda self: self.asking())
    @rule(actor=_someone(asking))
    def ask_again(self, actor: Actor) -> None:
        """Be woken, or wake up."""
        self._ask(actor, waits=True)

    @precondition(lambda self: self.believers())
    @rule(actor=_someone(believers))
    def release(self, actor: Actor) -> None:
        """Give it back, twice: the reply was lost."""
        for _ in range(2):
            answer = self.verbs_of(actor).release(actor.token, 0, "")
            assert isinstance(answer, Released), "who has it could not give it back"
        self._has_left(actor, looked=actor.kind != WRITER)

    @precondition(lambda self: self.believers())
    @rule(actor=_someone(believers))
    def renew(self, actor: Actor) -> None:
        """Prolong it."""
        assert self.verbs_of(actor).renew(actor.token, TTL_MS) is None, "who has it lost it"

    @precondition(lambda self: self.asking())
    @rule(actor=_someone(asking))
    def leave(self, actor: Actor) -> None:
        """Wait no more."""
        self.verbs_of(actor).leave(actor.token, within=5)
        self._has_left(actor, looked=actor.kind != WRITER)

    @precondition(lambda self: self.busy())
    @rule(actor=_someone(busy))
    def send_again(self, actor: Actor) -> None:
        """The reply was lost."""
        assert actor.again is not None
        actor.again()

    # -- what befalls them

    @precondition(lambda self: self.believers())
    @rule(actor=_someone(believers))
    def holder_dies(self, actor: Actor) -> None:
        """Its lease ends."""
        if actor.kind == WRITER:
            self.client.delete(self.keys.lock)
        else:
            self.client.zadd(self.group.sharers, {actor.token: 1}, xx=True)
            if len(self.believers()) == 1 and not self._turns():
                self.client.delete(self.keys.lock)
        self._has_left(actor, looked=False)

    @precondition(lambda self: self.asking())
    @rule(actor=_someone(asking))
    def waiter_dies(self, actor: Actor) -> None:
        """It asks no more; if it had its turn, that ends."""
        if self.client.zscore(self.keys.waiters, actor.token) is not None:
            self.client.hset(self.keys.seen, actor.token, 0)
            self.dead.add(actor.token)
        elif self.client.get(self.keys.lock) == actor.token.encode():
            self.client.delete(self.keys.lock)
        elif self.client.zscore(self.group.sharers, actor.token) is not None:
            self.client.zadd(self.group.sharers, {actor.token: 1}, xx=True)
            if not self.believers() and not self._turns():
                self.client.delete(self.keys.lock)
        self._has_left(actor, looked=False)

    @precondition(lambda self: self.believers())
    @rule(how=st.sampled_from(["force", "stranger"]))
    def all_lose_it(self, how: str) -> None:
        """An operator ousts all, or a stranger deletes the key."""
        losers = self.believers()
        if how == "force":
            assert LockVerbs(store_of(self.client), self.name).force_release()
        else:
            self.client.delete(self.keys.lock)
        for loser in losers:
            refusal = self.verbs_of(loser).renew(loser.token, TTL_MS)
            assert refusal is not None, "who lost it could renew it"
            assert refusal.is_forced == (how == "force"), "it is not told of force"
            self._has_left(loser, looked=False)

    # -- what must hold

    def _ask(self, actor: Actor, *, waits: bool) -> None:
        before, others = self._ahead_of(actor), [one for one in self.believers() if one is not actor]
        # Past the verbs: they ask once more where an answer is late, and an example must not depend on that.
        verbs, patience_ms = self.verbs_of(actor), PATIENCE_MS if waits else 0
        question = verbs.words.acquire(
            self.keys, actor.token, TTL_MS, patience_ms, json.dumps({"id": "x"}), now()
        )
        answer = verbs.words.acquired(verbs.store.run(*question), now())
        assert answer is not None, "its question is over"
        actor.has_asked = True
        # Who has it already is told so, and lets nobody in.
        self.has_looked = actor.kind != WRITER and not actor.believes
        if not isinstance(answer, Granted):
            assert not actor.believes, "who has it was refused"
            if not waits:
                self._has_left(actor, looked=self.has_looked)
            return
        if not actor.believes:
            for turn in self._turns():
                self.came_behind.setdefault(turn.decode(), set()).add(actor.token)
            self._came_in(actor, answer, before, others)
        actor.believes, actor.again = True, lambda: self._ask(actor, waits=waits)

    def _came_in(self, actor: Actor, granted: Granted, ahead: list[str], others: list[Actor]) -> None:
        assert granted.fencing_token > self.largest, "a fencing token did not grow"
        self.largest = granted.fencing_token
        assert self.limit != PAUSE or actor.token in self.in_turn, "somebody came in while it was paused"
        if actor.kind == WRITER:
            assert not others, "a writer came in beside others"
        else:
            assert all(other.kind != WRITER for other in others), "a reader came in beside a writer"
        limit = self.limit or actor.kind
        if actor.kind != WRITER and limit > 0 and actor.token not in self.in_turn:
            # Whoever came in behind it, while it had its turn, has a larger limit.
            earlier = [one for one in others if one.token not in self.came_behind.get(actor.token, ())]
            assert len(earlier) < limit, "more than the limit hold it"
        if actor.kind > 0:
            assert granted.slot is not None
            assert granted.slot < max(actor.kind, self.largest_limit), "it has a slot beyond the limit"
            assert granted.slot not in [one.slot for one in others], "two have one slot"
            actor.slot = granted.slot
        # Those who were ahead have come in, too, or are dead.
        assert not set(self._line()) & set(ahead) - self.dead, "somebody was overtaken"

    def _ahead_of(self, actor: Actor) -> list[str]:
        line = self._line()
        if actor.token in line:
            return line[: line.index(actor.token)]
        has_its_turn = self.client.get(self.keys.lock) == actor.token.encode() or (
            self.client.zscore(self.group.sharers, actor.token) is not None
        )
        return [] if has_its_turn else line

    def _line(self) -> list[str]:
        """Who waits, first come first; not the pause before them."""
        line = self.client.zrange(self.keys.waiters, 0, -1)
        return [token.decode() for token in line if not token.startswith(PAUSED)]

    def _all_turns(self) -> set[str]:
        """Who has its turn, alone or beside others."""
        turns = {token.decode() for token in [*self._turns(), self.client.get(self.keys.lock) or b""]}
        return turns & {actor.token for actor in self.asking()}

    def _turns(self) -> list[bytes]:
        """Who has its turn beside those that share the lock."""
        inside = self.client.zrangebyscore(self.group.sharers, 2, "+inf")
        return [token for token in inside if not self.client.hexists(self.group.places, token)]

    def _has_left(self, actor: Actor, *, looked: bool) -> None:
        self.has_looked = looked
        self.actors[self.actors.index(actor)] = Actor()

    @invariant()
    def those_inside_are_those_in_the_set(self) -> None:
        """And the mark is there for as long as they are; no key stays for ever."""
        assume(time.monotonic() < self.began + LONGEST_S)
        owner = self.client.get(self.keys.lock)
        readers = {actor.token for actor in self.believers() if actor.kind != WRITER}
        writers = {actor.token for actor in self.believers() if actor.kind == WRITER}
        assert not (readers and writers), "a writer is beside a reader"
        assert len(writers) <= 1
        if readers:
            assert owner == GROUP_MARK, "the mark of those who have it is gone"
            assert readers <= {token.decode() for token in self.client.zrange(self.group.sharers, 0, -1)}
            assert int(self.client.pttl(self.keys.lock)) > TTL_MS / 4, "the mark ends before a lease"
        if writers:
            assert owner in {token.encode() for token in writers}
        keys = {self.keys.lock, *self.group, self.keys.waiters}
        if self.limit is not None:
            keys.remove(self.group.limit)
        if self.limit == PAUSE:
            keys -= {self.keys.lock, self.keys.waiters}
        assert all(self.client.ttl(key) != -1 for key in keys), "something stays for ever"

    @invariant()
    def nobody_who_fits_is_left_in_line(self) -> None:
        """Whoever asks or leaves lets in all that fit."""
        owner = self.client.get(self.keys.lock)
        line = self._line()
        if not self.has_looked or not line or owner != GROUP_MARK or line[0] in self.dead:
            return
        limit = self.client.hget(self.group.ways, line[0])
        if self.limit == PAUSE or limit is None:
            return
        limit = b"%d" % self.limit if self.limit else limit
        inside = self.client.zcount(self.group.sharers, 2, "+inf")
        assert limit != b"-", "somebody who fits was not let in"
        assert inside >= int(limit), "somebody who fits was not let in"


class LimitedMachine(SharingMachine):
    """The same, and an operator who changes the limit meanwhile."""

    @rule(limit=st.sampled_from([PAUSE, None, None, 1, 2, 4]))
    def change_the_limit(self, limit: int | None) -> None:
        """An operator lets in fewer, more, nobody, or as many as the askers say."""
        inside, line = self.believers(), self._line()
        self.in_turn = self._all_turns()
        limits = Limits(self.client, self.name)
        if limit is None:
            limits.reset("ann")
        elif limit == PAUSE:
            limits.pause(None, "ann", "")
        else:
            limits.set(limit, None, "ann", "")
        self.limit, self.largest_limit, self.has_looked = limit, max(limit or 0, self.largest_limit), True
        for actor in inside:
            assert self.verbs_of(actor).is_held_with(actor.token), "a change put somebody out"
        came = set(line) - set(self._line()) - self.dead
        assert not (came and limit == PAUSE), "a pause let somebody in"
        assert all(self.client.exists(self.keys.mailbox(token)) for token in came), (
            "who came in was not woken"
        )
        is_free = not self.client.exists(self.keys.lock)
        assert not is_free or not set(self._line()) - self.dead, "somebody who fits was not let in"
