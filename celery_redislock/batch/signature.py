"""Batch signature: a canvas and the terms of its lock, as a signature that can be published."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from uuid import uuid4

from celery import Celery, Signature
from celery.canvas import maybe_signature
from celery.exceptions import TaskRevokedError
from celery.result import EagerResult, GroupResult
from celery.states import REVOKED

from ..config.call_options import options_of_a_task
from ..conflicts.conflict import announce
from ..conflicts.retrying import Attempts
from ..engine import RedisLock
from ..errors import ConfigurationError
from ..holder import Holder
from ..pending.publish import publish_pending_apart
from .canvas import app_of, plain, revived
from .launch import BatchTerms, Launch
from .start_later import LATER

#: What says, in a signature that was serialized, that it is one of a batch.
SUBTASK_TYPE = "locked_batch"

#: Policies of a batch that is never published when it meets a busy lock: its results end as ``REVOKED``, or
#: its caller gets the error.
REFUSED = ("skip", "fail")


class LockedBatch(Signature):
    """A canvas and the terms of its lock: what `locked_batch` returns.

    Args:
        canvas: A signature, or one that was serialized.
        terms: As `BatchTerms` has them.
        app: The app.
        **options: Celery's options.
    """

    def __init__(
        self, canvas: Any, terms: Mapping[str, Any], app: Celery | None = None, **options: Any
    ) -> None:
        super().__init__(
            "celery_redislock.batch",
            (),
            {"canvas": maybe_signature(canvas, app=app), "terms": dict(terms)},
            options,
            subtask_type=SUBTASK_TYPE,
            app=app,
        )

    @classmethod
    def from_dict(cls, d: Any, app: Celery | None = None) -> LockedBatch:
        """Return the batch that was serialized."""
        return cls(d["kwargs"]["canvas"], d["kwargs"]["terms"], app=app, **d["options"])

    @property
    def app(self) -> Celery:
        """The application of the canvas."""
        return app_of(self.kwargs["canvas"])

    def apply_async(  # type: ignore[override]
        self, args: Any = None, kwargs: Any = None, **options: Any
    ) -> Any:
        """Take the lock and publish the canvas, or do what the policy says; return the canvas's result.

        Args:
            args: Positional arguments for the first tasks.
            kwargs: Keyword arguments for them.
            **options: Celery's options.

        Raises:
            LockBusy: The lock is busy, and the policy is "fail".
            StoreUnavailable: Redis could not be reached; nothing was published.
        """
        if self.app.conf.task_always_eager:
            return self.apply(args, kwargs, **options)
        launch = self._launch(args, kwargs, options)
        if not launch.start(partial(self._settle, launch)):
            return launch.result
        return _awaited(launch.result, launch.published)

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Run the whole canvas here and now, under its lock.

        With a policy that publishes a batch later it waits for the lock.

        Args:
            args: As in `apply_async`.
            kwargs: As in `apply_async`.
            **options: As in `apply_async`.

        Raises:
            LockBusy, StoreUnavailable: As in `apply_async`.
        """
        launch = self._launch(args, kwargs, options)
        lock = RedisLock(
            launch.lock.redis_client,
            launch.lock.name,
            launch.terms.ttl_ms / 1000,
            renew=True,
            metadata=launch.metadata,
        )
        attempts = Attempts()
        try:
            while (holder := lock.attempt()) is not None:
                if launch.terms.policy in REFUSED:
                    self._refuse(launch, holder)
                    return _revoked(launch.result, launch.conflict(holder).reason)
                delay_s = attempts.delay_s(launch.options, holder.lease_left)
                time.sleep(delay_s)
                attempts = attempts.after(delay_s)
            return launch.canvas.apply(args or (), kwargs or {}, **launch.call["options"])
        finally:
            lock.release()
            if lock.has_pending:
                publish_pending_apart(launch.app, lock.name)

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> LockedBatch:
        """Stamp every task of the canvas, in a copy: the canvas that the batch was made of stays as it is.

        Args:
            visitor: Of Celery's stamping API.
            append_stamps: Whether a stamp that is there already is kept beside the new one.
            **headers: Stamps.
        """
        self.kwargs["canvas"] = canvas = revived(plain(self.kwargs["canvas"]), self.app)
        canvas.stamp(visitor, append_stamps, **headers)
        return self

    def freeze(self, *_args: Any, **_kwargs: Any) -> Any:
        """Refuse: a batch begins and ends by itself.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(
            "a locked batch cannot be part of another canvas: lock the whole canvas, "
            "or publish the batch from a task"
        )

    def _launch(self, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Launch:
        given = {name: value for name, value in {**self.options, **options}.items() if value is not None}
        for name in options_of_a_task(given):
            raise ConfigurationError(
                f"{name} would be ignored in a call of a locked batch: give it to locked_batch"
            )
        # An id of the call: two batches may be given one id for their results.
        call = {"id": uuid4().hex, "args": list(args or ()), "kwargs": dict(kwargs or {}), "options": given}
        return Launch(self.app, plain(self.kwargs["canvas"]), BatchTerms(**self.kwargs["terms"]), call)

    def _settle(self, launch: Launch, holder: Holder) -> None:
        """Do what the policy says of a busy lock."""
        if launch.terms.policy in REFUSED:
            self._refuse(launch, holder)
            launch.revoke(launch.conflict(holder).reason)
        else:
            LATER[launch.terms.policy](launch, holder)

    def _refuse(self, launch: Launch, holder: Holder) -> None:
        conflict = launch.conflict(holder)
        announce(conflict, launch.terms.policy, is_published=False)
        if launch.terms.policy == "fail":
            raise conflict.busy()


def _awaited(result: Any, published: Any) -> Any:
    """Return a result that was made before the publication, and learns when a part of it is there.

    Celery before 5.7 tells only one object of each id, and none once another object of that id is gone. Each
    message that is published leaves such an object behind, and so would what the publication returned: that
    is kept with the result, and the members are registered again.
    """
    result.redislock_published = published
    for each in _group_members(result):
        each.backend.remove_pending_result(each)
        each.backend.add_pending_result(each)
    return result


def _group_members(result: Any) -> Iterator[Any]:
    if isinstance(result, GroupResult):
        for child in result.results or ():
            yield from _group_members(child) if isinstance(child, GroupResult) else [child]


def _revoked(result: Any, reason: str) -> Any:
    """Return the eager result of a batch that was skipped."""
    if isinstance(result, GroupResult):
        return GroupResult(
            result.id, [_revoked(child, reason) for child in result.results or ()], app=result.app
        )
    return EagerResult(result.id, TaskRevokedError(reason), REVOKED)
