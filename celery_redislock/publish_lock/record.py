"""PublishLock: under a lock's name at most one message waits, from its publication until its task begins.

Redis keeps it in the companion key ``redislock.reservation...`` of the lock: the token of the publication
that has it, and the id of the task that waits. It is not renewed. It ends when the task begins
(`acquire.lua` frees it in the step that grants the lock), when it is freed, or when its time is over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

from ..engine import names_beside
from ..engine.companion import (
    CALL_S,
    Client,
    Companion,
    Record,
    load_scripts,
    now,
    number_of_work,
    question_number,
    read_holder,
)
from ..holder import Holder

TAKE, KEEP, FREE = load_scripts(__package__, "take", "keep", "free")

#: Publish locks that are asked for at once: Redis serves nobody else meanwhile, for a millisecond or two.
_AT_ONCE = 200
#: The number of no question: larger than any.
_ALL = str(2**53)


class PublishLock:
    """The publish lock of one name.

    Every method raises `StoreUnavailable` when Redis cannot be reached in time, and may be called again
    after that: the scripts answer a second send as they answered the first.

    Args:
        redis_client: As for a `RedisLock`.
        lock_name: The Redis key of the lock.
    """

    def __init__(self, redis_client: Client, lock_name: str) -> None:
        self.name = lock_name
        self._companion = Companion(redis_client, lock_name)
        self._keys = self._companion.keys

    def take(
        self,
        token: str,
        work: str,
        ttl_ms: int,
        *,
        again: bool = False,
        runs: bool = True,
        exempt: str = "",
        within: float = CALL_S,
    ) -> Holder | None:
        """Take the publish lock, unless an equal work is there already.

        Args:
            token: 32 hexadecimal characters, new for each publication.
            work: What is to wait: the id of a task.
            ttl_ms: How long it may wait, milliseconds.
            again: The work is published once more: it takes over what it has itself.
            runs: A holder of the lock counts as an equal work too, unless it comes again.
            exempt: A work that does not count: it publishes this one, or is done.
            within: Seconds that Redis has for the answer.

        Returns:
            None when it is the caller's now; else who waits or runs, its work as ``id`` in the metadata.
        """
        k = self._keys
        # As the holder's record has it.
        mark = f'"id":{json.dumps(exempt)}'
        number, questions = question_number(), k.questions_of(token)
        options = (int(again), int(runs and not again), exempt, mark)
        arguments = (token, work, ttl_ms, *options, number, number_of_work(work))
        keys = (k.lock, k.holder, k.reservation, k.done, questions)
        undone = FREE, (k.reservation, questions), (token, number)
        reply = self._companion.run(TAKE, keys, *arguments, within=within, undo=lambda: undone)
        if reply[0] == 1:
            return None
        _, left_ms, waiting, description = reply
        return _waits(waiting, left_ms) if waiting else read_holder(description, left_ms)

    def waiting(self) -> Holder | None:
        """Ask which work waits; None when none does."""
        until = now() + CALL_S
        record = self._companion.call("GET", self._keys.reservation)
        if not record:
            return None
        left_ms = self._companion.call("PTTL", self._keys.reservation, within=until - now())
        return _waits(record[33:], left_ms)

    def force_free(self) -> bool:
        """Take it from whichever work waits, which will run all the same; False when none does."""
        record = self._companion.call("GET", self._keys.reservation)
        return bool(record) and self.free(record[:32].decode())

    def keep(self, token: str, ttl_ms: int, within: float = CALL_S) -> bool:
        """Let it last so long from now; False when it is not this token's any more."""
        return bool(self._companion.run(KEEP, (self._keys.reservation,), token, ttl_ms, within=within))

    def free(self, token: str, within: float = CALL_S) -> bool:
        """Give it back; False when it is not this token's (any more)."""
        keys = (self._keys.reservation, self._keys.questions_of(token))
        return bool(self._companion.run(FREE, keys, token, _ALL, within=within))


def all_waiting(client: Client, prefix: str) -> Iterator[tuple[str, Holder]]:
    """Go over the publish locks of all names that begin with a prefix: the name, and which work waits.

    One may come twice, as with any scan.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    names = names_beside(client, prefix, "reservation")
    with Record(client, prefix + "*").in_bulk() as ask:
        while some := list(islice(names, _AT_ONCE)):
            keys = [Companion(client, name).keys.reservation for name in some]
            replies = ask([(verb, key) for verb in ("GET", "PTTL") for key in keys])
            for name, record, left_ms in zip(some, replies, replies[len(some) :], strict=False):
                if record:
                    yield name, _waits(record[33:], left_ms)


def _waits(work: bytes, left_ms: int) -> Holder:
    return Holder({"id": work.decode(), "state": "waiting"}, lease_left=max(left_ms, 0) / 1000)
