"""Launch: takes the lock of a batch and publishes its canvas under ids that are fixed before."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any
from uuid import uuid4

from celery import Celery, states
from celery.exceptions import TaskRevokedError

from ..config.provider import provider_of
from ..config.resolution import resolve
from ..config.sharing import ALONE
from ..conflicts.conflict import Conflict
from ..engine import RedisLock
from ..engine.group_lease import members_in_flight
from ..errors import StoreUnavailable
from ..holder import Holder, holder_metadata
from ..messages import replies
from ..messages.celery_exceptions import LockFreed
from ..messages.headers import BATCH_HEADER
from ..messages.stored_state import request_of
from ..pending.publish import publish_pending_apart
from ..pending.record import call_began
from ..task.acquisition import RETURNING_S
from . import counting
from .canvas import plain, results_of, revived, tasks_of, write_header
from .note import BatchNote

#: How long a batch may take from its last result to giving its lock back, seconds: a busy machine may hold up
#: the process of the last member. Whoever read the result and publishes the next batch at once waits so long.
LAST_RETURN_S = 5.0

#: The task that publishes a batch later: for ``task_routes``.
START_BATCH = "celery_redislock.start_batch"


@dataclass(frozen=True)
class BatchTerms:
    """The terms on which a batch has its lock: JSON.

    Attributes:
        lock_key: The lock, without the prefix.
        ttl_ms: Length of the lease while it is published, and while a member runs.
        idle_ms: Length of the lease while members only wait.
        policy: What is done when the lock is busy.
    """

    lock_key: str
    ttl_ms: int
    idle_ms: int
    policy: str

    def as_dict(self) -> dict[str, Any]:
        """Return them as they travel."""
        return asdict(self)


class Launch:
    """One batch that is being published: a frozen canvas, its call, its lock.

    Args:
        app: The app.
        canvas: As `plain` returns it; frozen here, unless it is already.
        terms: Of its lock.
        call: ``args``, ``kwargs`` and ``options`` of ``apply_async``, and an ``id`` of its own.

    Attributes:
        result: What the caller gets: the canvas's own result.
        published: What Celery returned for the canvas; None until it is published.
        options: Lock options: from the terms, else from the settings.
        start_id: Id of the task that publishes it later; it shows whose start it is.
        metadata: What people are shown of the holder.
        lock: The lock.
    """

    def __init__(
        self, app: Celery, canvas: Mapping[str, Any], terms: BatchTerms, call: Mapping[str, Any]
    ) -> None:
        self.app, self.terms, self.call = app, terms, call
        self.canvas = revived(plain(canvas), app)
        self.result = self.canvas.freeze(call["options"].get("task_id"))
        self.published: Any = None
        options: dict[str, Any] = {**ALONE, "on_conflict": terms.policy, "ttl": terms.ttl_ms / 1000}
        if terms.policy == "coalesce":
            options["keep"] = "latest"
        self.options = resolve(app.conf, START_BATCH, {}, options)
        self.start_id = f"start-of-{self.result.id}"
        provider = provider_of(app)
        self._client = provider.client
        self.metadata = {**holder_metadata(str(self.canvas.task), str(self.result.id)), "call": call["id"]}
        self.lock = RedisLock(
            provider.client,
            provider.lock_name(terms.lock_key),
            expire=terms.ttl_ms / 1000,
            metadata=self.metadata,
            min_replicas=self.options.min_replicas,
        )

    def start(
        self,
        settle: Callable[[Holder], object],
        *,
        unless_over: bool = False,
        pending: Mapping[str, Any] | None = None,
    ) -> bool:
        """Take the lock and publish the canvas; have the conflict settled if the lock is busy.

        Args:
            settle: Called with who has the lock. When it raises `LockFreed` the lock is tried again.
            unless_over: Publish nothing if this very batch had the lock last, and has ended.
            pending: The `pending_in` of the message that starts it now.

        Returns:
            False when a conflict was settled.

        Raises:
            Obsolete: Another batch, or another message, stands for this one; nothing was published.
            StoreUnavailable: Redis could not be reached; nothing was published.
        """
        while (holder := self._taken_and_published(unless_over, pending or {})) is not None:
            with suppress(LockFreed):
                settle(holder)
                return False
        return True

    def _taken_and_published(self, unless_over: bool, pending: Mapping[str, Any]) -> Holder | None:
        """Take the lock and publish the canvas; return who has the lock if it is busy."""
        try:
            return self._start(uuid4().hex, unless_over, pending)
        except BaseException:
            # Whatever has failed: a lock that no member keeps is given back.
            with suppress(StoreUnavailable):
                self._abandon()
            raise

    def _start(self, token: str, unless_over: bool, pending: Mapping[str, Any]) -> Holder | None:
        holder = self.lock.attempt(token=token)
        until = time.monotonic() + LAST_RETURN_S
        while holder is not None and self._is_returning(holder) and time.monotonic() < until:
            holder = self.lock.attempt(blocking=True, timeout=RETURNING_S, token=token)
        if holder is None and unless_over and self.lock.was_done(self.call["id"]):
            self._give_back()
        elif holder is None:
            self._tell_that_it_began(pending)
            self._publish(token)
        return holder

    def _tell_that_it_began(self, pending: Mapping[str, Any]) -> None:
        if self.terms.policy != "coalesce":
            return
        try:
            call_began(self.starter, self.start_id, self.lock, self.options, pending)
        except Exception:
            self._give_back()
            raise

    def _abandon(self) -> None:
        if self.lock.token is not None and not members_in_flight(self._client, self.lock.name):
            self._give_back()

    def _give_back(self) -> None:
        self.lock.release(unused=True)
        if self.lock.has_pending:
            publish_pending_apart(self.app, self.lock.name)

    def is_under_way(self, holder: Holder) -> bool:
        """Whether the holder is this very batch, and has messages in flight.

        Without any, the lock was granted to an earlier delivery that did not get the answer.

        Raises:
            StoreUnavailable: Redis could not be reached.
        """
        if holder.metadata.get("call") != self.call["id"]:
            return False
        return bool(members_in_flight(self._client, self.lock.name))

    def revoke(self, reason: str) -> None:
        """End every result of the batch as ``REVOKED``: none of its tasks will run."""
        self._end(TaskRevokedError(reason), states.REVOKED)

    def fail(self, error: Exception) -> None:
        """End every result of the batch with this error."""
        self._end(error, states.FAILURE)

    @property
    def starter(self) -> Any:
        """The task that publishes batches later."""
        return self.app.tasks[START_BATCH]

    def conflict(self, holder: Holder) -> Conflict:
        """Return the conflict of this batch."""
        return Conflict(self.lock.name, holder, str(self.result.id), "", False, self.starter, self.options)

    def _end(self, error: Exception, state: str) -> None:
        for result in results_of(self.result):
            replies.expect_here(self.app, result.id)
            request = request_of({"task_id": result.id, "reply_to": self._reply_to})
            result.backend.store_result(result.id, error, state, request=request)

    @property
    def _reply_to(self) -> str:
        """Where replies to this batch go: Celery wrote it into each task when the canvas was frozen."""
        given = (task["options"].get("reply_to") for task in tasks_of(self.canvas))
        return replies.address_here(self.app, next(filter(None, given), None))

    def _publish(self, token: str) -> None:
        note = BatchNote(
            self.lock.name,
            token,
            str(self.result.id),
            self.call["id"],
            self.terms.ttl_ms,
            self.terms.idle_ms,
            self.terms.policy,
            self.options.min_replicas,
        )
        write_header(self.canvas, BATCH_HEADER, note.as_dict())
        options = {name: value for name, value in self.call["options"].items() if name != "task_id"}
        if options.get("headers"):
            options["headers"] = {**options["headers"], BATCH_HEADER: note.as_dict()}
        with counting.publishing(self.app, note, self.metadata):
            self.published = self.canvas.apply_async(self.call["args"], self.call["kwargs"], **options)

    def _is_returning(self, holder: Holder) -> bool:
        """Whether the holder has stored all its results, and is about to give the lock back."""
        members = members_in_flight(self._client, self.lock.name)
        ids = [metadata["id"] for metadata in members if "id" in metadata] or [holder.metadata.get("id")]
        try:
            return all(
                task_id and self.app.AsyncResult(task_id).state in states.READY_STATES for task_id in ids
            )
        except Exception:  # noqa: BLE001 - a backend that cannot tell: the usual conflict
            return False
