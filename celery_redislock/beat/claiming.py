"""Ticks: any scheduler of Celery, made to claim each due time in Redis before it sends.

The class that does it is derived from the scheduler's own at run time, and does not stand in front of it.
What decides that an entry is sent, `Scheduler.tick`, calls its own `is_due` and `apply_async`: only a
subclass comes between. Celery's and `django_celery_beat`'s ask `is_due` first, so that is where a due
time is claimed, before anything of the entry is changed; RedBeat goes straight to `apply_async`.
"""

from __future__ import annotations

import heapq
import logging
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from celery.beat import Scheduler, event_t
from celery.schedules import schedstate

from ..engine import RedisLock
from ..errors import StoreUnavailable
from ..messages.headers import BEAT_HEADER
from .due import ServerClock, due_time, from_ms, in_utc, to_ms
from .ledger import Ledger, Sent, Verdict

logger = logging.getLogger(__name__)

#: When a claim is tried again that was not granted for another reason than the time, seconds.
AGAIN_S = 1.0
#: Between the clocks of two records of one sending there may be this much, seconds.
SAME_S = 0.1
#: An entry's own record may be this far in the future, seconds; further, the clock was stepped back.
FUTURE_S = 1.0


class Tenure:
    """The time in which one beat leads: what was sent, and the right to claim what comes next.

    Args:
        lock: Held by this beat.
        ledger: Of the same group of beats.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """

    def __init__(self, lock: RedisLock, ledger: Ledger) -> None:
        self._lock = lock
        self._ledger = ledger
        self._unanswered: dict[str, tuple[int, str]] = {}
        self._is_away = False
        self.sent, now_ms = ledger.read()
        self.clock = ServerClock(now_ms)

    def leads(self) -> bool:
        """Whether the lease can be believed."""
        return self._lock.remaining > 0

    def now(self) -> datetime:
        """Return the server's time."""
        return from_ms(self.clock.now_ms)

    def note_seen(self, entry: str, at: datetime) -> None:
        """Remember since when an entry waits to be sent for the first time, for the next leader too."""
        self.sent[entry] = Sent(0, to_ms(at))
        if self._is_away:
            return
        try:
            self._ledger.note_seen(entry, to_ms(at))
        except StoreUnavailable as error:
            self._say_away(error)

    def claim(self, entry: str, due: datetime) -> float | None:
        """Claim a due time; return None when it is ours to send, else when to ask again, seconds."""
        token, due_ms = self._lock.token, to_ms(due)
        if token is None:
            return AGAIN_S
        mark = self._mark(entry, due_ms)
        try:
            answer = self._ledger.claim(token, entry, due_ms, mark)
        except StoreUnavailable as error:
            self._say_away(error)
            return AGAIN_S
        if answer.verdict is not Verdict.NOT_YET:
            # Else a copy that comes late may still claim it, and not for another than who asks again.
            del self._unanswered[entry]
        self._is_away = False
        self.clock.told(answer.now_ms)
        if answer.sent is not None:
            self.sent[entry] = answer.sent
        if answer.verdict is Verdict.CLAIMED:
            return None
        return self._refused(entry, due_ms, answer.verdict)

    def _mark(self, entry: str, due_ms: int) -> str:
        """Return the mark of a claim: that of the last one, if it went unanswered and was the same."""
        known = self._unanswered.get(entry)
        if known is None or known[0] != due_ms:
            known = self._unanswered[entry] = (due_ms, uuid4().hex)
        return known[1]

    def _refused(self, entry: str, due_ms: int, verdict: Verdict) -> float:
        if verdict is Verdict.NOT_YET:
            return max((due_ms - self.clock.now_ms) / 1000, 0.001)
        if verdict is Verdict.NOT_LEADING:
            logger.warning("beat: %s is not sent: another beat leads", entry)
            self._find_out_that_the_lock_is_lost()
        return AGAIN_S

    def _find_out_that_the_lock_is_lost(self) -> None:
        try:
            self._lock.renew()
        except StoreUnavailable as error:
            self._say_away(error)

    def _say_away(self, error: StoreUnavailable) -> None:
        if not self._is_away:
            logger.warning("beat: nothing is sent: %s", error)
        self._is_away = True


class ClaimingScheduler(Scheduler):
    """What `claiming` puts over a scheduler's class. A tenure is given to it before its first tick."""

    def begin(self, tenure: Tenure) -> None:
        """Go on from what was sent last, under the lease of this tenure."""
        # RedBeat would hold a lock of its own.
        self.lock_key = None
        self._tenure = tenure
        self._claimed: dict[str, datetime] = {}
        self._put_off_s: list[float] = []
        for entry in self.schedule.values():
            self._follow(entry)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due, as the scheduler does, and return for how long to sleep, seconds."""
        self._put_off_s.clear()
        self.producer  # noqa: B018 - connects: a broker that is away holds up no due time once claimed
        if self._tenure.clock.was_wall_clock_stepped():
            logger.warning(
                "beat: this machine's clock was stepped, it is %.1f s ahead of Redis's",
                self._tenure.clock.ahead_s,
            )
            self._heap = None
        interval: float = super().tick(*args, **kwargs)
        return min([interval, *self._put_off_s])

    def populate_heap(self, *args: Any, **kwargs: Any) -> None:
        """Put the entries in order, each going on from what was sent last."""
        for entry in self.schedule.values():
            self._follow(entry)
        super().populate_heap(*args, **kwargs)

    def is_due(self, entry: Any) -> Any:
        """Say whether an entry is due, and if so, claim it."""
        self._follow(entry)
        answer = super().is_due(entry)
        delay_s = self._claim(entry) if answer[0] else answer[1]
        return answer if delay_s is None else schedstate(False, self._put_off(entry, delay_s))

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        """Send an entry, if its due time is claimed and the lease goes on; else return None."""
        if entry.name not in self._claimed:
            answer = self.is_due(entry)
            if not answer[0]:
                self._put_off_s.append(answer[1])
                return None
        due = self._claimed.pop(entry.name)
        if not self._tenure.leads():
            logger.warning("beat: %s, due %s, is not sent: the lease is over", entry.name, due.isoformat())
            return None
        if advance:
            entry = self.reserve(entry)
        options = entry.options
        entry.options = _marked(entry, due)
        try:
            return super().apply_async(entry, producer=producer, advance=False, **kwargs)
        finally:
            entry.options = options

    def _claim(self, entry: Any) -> float | None:
        """Claim what is due; return None, or when to ask again, seconds."""
        now = self._tenure.now()
        due = due_time(entry.schedule, self._last_sent(entry), now)
        if due > now:
            return (due - now).total_seconds()
        delay_s = self._tenure.claim(entry.name, due)
        if delay_s is None:
            self._claimed[entry.name] = due
        return delay_s

    def _last_sent(self, entry: Any) -> datetime | None:
        """Return when the entry was sent last, by Redis's record or its own: the later; None: never."""
        record = self._tenure.sent.get(entry.name)
        own = self._own_record(entry)
        if record is None or (own is not None and _is_later(own, record, entry)):
            return own
        return from_ms(record.at_ms)

    def _own_record(self, entry: Any) -> datetime | None:
        """Return the entry's own last run on the server's clock; None where there is none to believe."""
        if entry.last_run_at is None:
            return None
        ago = in_utc(entry.default_now()) - in_utc(entry.last_run_at)
        return self._tenure.now() - ago if ago.total_seconds() > -FUTURE_S else None

    def _follow(self, entry: Any) -> None:
        """Have the entry go on from what Redis knows of it, if that is later than what it knows."""
        own, record = self._own_record(entry), self._tenure.sent.get(entry.name)
        if record is None:
            if own is not None:
                self._tenure.note_seen(entry.name, own)
            return
        last = self._last_sent(entry)
        if last is None or (own is not None and abs((last - own).total_seconds()) <= SAME_S):
            return
        _set_last_run(entry, self._tenure.now() - last, was_sent=record.due_ms > 0)

    def _put_off(self, entry: Any, delay_s: float) -> float:
        """Let the entries behind this one have their turn; return when to look again, seconds.

        Celery before 5.7 leaves an entry at the head of the line that is not due after all.
        """
        heap: list[Any] | None = self._heap
        if not heap or heap[0].entry is not entry:
            return delay_s
        at = self._when(entry, delay_s)  # type: ignore[attr-defined] # its stubs know less than it has
        later = event_t(at, heap[0].priority, entry)
        heapq.heapreplace(heap, later)
        return delay_s if heap[0] is later else 0


def claiming(scheduler: type[Scheduler]) -> type[ClaimingScheduler]:
    """Return a scheduler like this one, that claims what it sends."""
    return type(f"Claiming{scheduler.__name__}", (ClaimingScheduler, scheduler), {})


def _is_later(own: datetime, record: Sent, entry: Any) -> bool:
    """Whether the entry's own record says more than Redis's.

    That of an entry which was never sent only says when this process saw it first.
    """
    later_s = (own - from_ms(record.at_ms)).total_seconds()
    return bool(entry.total_run_count) and later_s > SAME_S


def _set_last_run(entry: Any, ago: timedelta, *, was_sent: bool) -> None:
    now = entry.default_now()
    at = in_utc(now) - ago
    # django_celery_beat makes the next entry of the model.
    for holder in (entry, getattr(entry, "model", None)):
        if holder is not None:
            holder.last_run_at = at.astimezone(now.tzinfo) if now.tzinfo else at.replace(tzinfo=None)
            # One that is sent only once has been.
            holder.total_run_count = max(holder.total_run_count, int(was_sent))


def _marked(entry: Any, due: datetime) -> dict[str, Any]:
    """Return the entry's options with a header that names it and its due time."""
    header = {"entry": entry.name, "due": due.isoformat(timespec="milliseconds")}
    return {**entry.options, "headers": {**(entry.options.get("headers") or {}), BEAT_HEADER: header}}
