"""LockedTask: Celery's moments of a task translated into the begin and the end of a locked run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from celery import Celery
from celery.exceptions import Retry, TaskRevokedError
from celery.result import AsyncResult, EagerResult
from celery.states import RETRY, REVOKED

from ..config.call import Call, without_name
from ..config.call_options import refuse_options_of_a_task, travelling
from ..config.plan import Plan, Planned, plan_of
from ..config.provider import provider_of
from ..engine import RedisLock
from ..errors import LockBusy
from ..holder import holder_metadata
from ..messages.celery_exceptions import ComesAgain, Skipped
from ..messages.delivery import how_sent, travelling_headers
from ..messages.headers import CALL_HEADER, RETRY_HEADER
from ..publishing import duplicates
from ..publishing.publication import Send
from ..worker import start
from ..worker.request import locked_request
from . import base_class, coroutines, direct_calls, map_calls, run
from .hooks import called_by_celery, only_checks, refuse_unless_surrounded, surround_hooks
from .receivers import install, prepare
from .request_stack import RequestStack
from .resent import is_resent
from .run import current_lock

if TYPE_CHECKING:
    from datetime import datetime

    from typing_extensions import Unpack

    from .typed import CallOptions, LockedSignature, PublishOptions, TaskLock

__all__ = ["LockedTask", "current_lock"]

install()

#: What Celery's own `apply_async` takes by position, after the arguments of the task.
_POSITIONAL = ("task_id", "producer", "link", "link_error", "shadow")


class LockedTask(Planned):
    """A task class: the task holds a Redis lock, named after the task and its arguments, while it runs.

    Use it as ``base=LockedTask``, through `locked_task`, or for all tasks of an app as
    ``Celery(task_cls="celery_redislock:LockedTask")``. Lock options are attributes ``lock_<x>``. They are
    checked when the task is registered.

    It can be combined with another task class, in either order. If it is the only base of a task, it is
    combined with the app's own task class.

    The lock is taken before `before_start` and released after `after_return`. A retry, or ``replace()``, is
    published after the release. Subclasses may override these hooks, with or without a call of ``super()``.
    """

    abstract = True

    if TYPE_CHECKING:

        def s(self, *args: Any, **kwargs: Any) -> LockedSignature[Any]: ...

        def si(self, *args: Any, **kwargs: Any) -> LockedSignature[Any]: ...

        def signature(self, args: Any = None, kwargs: Any = None, **options: Any) -> LockedSignature[Any]: ...

        def retry(
            self,
            args: Any = None,
            kwargs: Any = None,
            exc: BaseException | None = None,
            throw: bool = True,
            eta: datetime | None = None,
            countdown: float | None = None,
            max_retries: int | None = None,
            *,
            lock: CallOptions | None = None,
            **options: Unpack[PublishOptions],
        ) -> Retry: ...

    #: Whether `LockBusy` is among `throws` because we have put it there.
    _busy_is_expected_by_us = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        bases = base_class.bases_of(cls, LockedTask)
        if bases == cls.__bases__:
            super().__init_subclass__(**kwargs)
        else:
            base_class.derive_from(cls, bases)
            # Once more from the first base on: those that now come before LockedTask were not called.
            super(cls, cls).__init_subclass__(**kwargs)

    @classmethod
    def bind(cls, app: Celery) -> Celery:
        """Check the options, and surround the hooks, when Celery registers the task.

        Not in `on_bound`: other classes override it, and may not call ``super()``.

        Raises:
            ConfigurationError: An option or a setting is wrong, or a base hides what is ours.
        """
        bound = super().bind(app)
        base_class.refuse_what_hides_the_lock(cls, LockedTask)
        if plan_of(cls, app).options.mode == "on":
            coroutines.refuse_function(cls, str(cls.name), called_by_celery(cls))
            direct_calls.refuse_class_without_hooks(cls, str(cls.name))
        # The class is finished: it has the hooks of all its bases, and of the setting task_annotations.
        surround_hooks(cls)
        if not isinstance(cls.request_stack, RequestStack):
            cls.request_stack = RequestStack()
        throws = cls.throws if isinstance(cls.throws, tuple) else (cls.throws,)
        cls._busy_is_expected_by_us |= LockBusy not in throws
        if LockBusy not in throws:
            # An expected outcome: logged without a traceback.
            cls.throws = (*throws, LockBusy)
        cls.Request = locked_request(cls.Request)
        start.install(app)
        prepare(app)
        return bound

    @property
    def lock(self) -> TaskLock:
        """The lock of the run in whose body this is called, see `current_lock`."""
        return run.lock_of(self)

    def lock_name(self, *args: Any, **kwargs: Any) -> str:
        """Return the Redis key of the lock that a call with these arguments takes.

        Raises:
            TypeError: The arguments do not fit the function.
            LockKeyError: An argument cannot be made part of a name.
            ConfigurationError: The task has several locks: see `lock_names`.
        """
        plan = self.plan_for()
        if plan.options.mode != "off":
            provider_of(self.app)  # refuses wrong settings
        return plan.lock_name(args, kwargs)

    def lock_names(self, *args: Any, **kwargs: Any) -> tuple[str, ...]:
        """Return the Redis keys of all locks that a call with these arguments takes, in the order of taking.

        Raises:
            TypeError, LockKeyError: As in `lock_name`.
        """
        plan = self.plan_for()
        if plan.options.mode != "off":
            provider_of(self.app)
        return tuple(sorted(set(plan.lock_names(args, kwargs))))

    def lock_for(self, *args: Any, **kwargs: Any) -> RedisLock:
        """Return the lock that a call with these arguments takes, for use outside Celery.

        It is renewed while it is held. ``with`` waits for it as long as `lock_wait` says. Of a task whose
        `lock_key` is a list it is a `RedisLocks`.

        Raises:
            TypeError: The arguments do not fit the function.
            LockKeyError: An argument cannot be made part of a name.
            ConfigurationError: A function that is the `lock_limit` gives no limit.
        """
        plan, provider = self.plan_for(), provider_of(self.app)
        call, metadata = Call(self, plan, args, kwargs, None), holder_metadata(self.name)
        if plan.namings:
            # To a type checker a task has one lock: only its options tell, which it does not read.
            return cast("RedisLock", provider.locks_of(call, metadata))
        return provider.lock_of(call, metadata)

    @only_checks
    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Begin a run: of a task that was registered as ours, `surround_hooks` has taken the lock by now.

        Raises:
            ConfigurationError: A class of the user's own has registered it in another way.
        """
        refuse_unless_surrounded(self)
        super().before_start(task_id, args, kwargs)

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        """Begin the request of a direct call; the body that Celery calls keeps the request of its run."""
        begun = run.run_of(self.request)
        if begun is not None and begun.is_called_by_celery():
            begun.copies += 1
            self.request_stack.push(self.request)
        else:
            super().push_request(*args, **kwargs)
            direct_calls.mark(self.request_stack.top)

    def signature_from_request(
        self, request: Any = None, args: Any = None, kwargs: Any = None, queue: Any = None, **options: Any
    ) -> Any:
        """Return the call of a request, as `retry` publishes it: written as it was, with its own headers."""
        refuse_options_of_a_task(self.name, options)
        request = self.request if request is None else request
        signature = super().signature_from_request(request, args, kwargs, queue, **options)
        signature.options.update({**how_sent(request), **options})
        # Those that are given take the place of the request's, which Celery before 5.7 does not clean.
        signature.options["headers"] = travelling_headers(signature.options.get("headers"))
        return signature

    def apply_async(
        self,
        args: Any = None,
        kwargs: Any = None,
        *positional: Any,
        lock: CallOptions | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Publish the task, as Celery's ``apply_async`` does. ``delay()`` calls it.

        Args:
            args: Positional arguments of the task.
            kwargs: Keyword arguments of the task.
            *positional: Celery's further arguments.
            lock: Lock options of this call, ``{"<x>": value}``. They travel with it, and with its retries.
            **options: Celery's options.

        Returns:
            Its result. With `lock_scope` "queue" or "task" it may be the result of an equal call that was
            published before.

        Raises:
            ConfigurationError: A lock option is wrong.
            LockBusy: An equal call waits or runs, `lock_scope` is not "run", and the policy is "fail".
            StoreUnavailable: Redis could not be reached for the publish lock.
        """
        refuse_options_of_a_task(self.name, options)
        plan, options = self._planned(lock, options)
        if self.app.conf.task_always_eager:
            return super().apply_async(args, kwargs, *positional, **options)
        options = {**dict(zip(_POSITIONAL, positional, strict=False)), **options}
        call = Call.to_publish(
            self, plan, args, kwargs, options, is_resent=is_resent(self, args, kwargs, options)
        )
        if plan.options.scope != "run" and plan.options.mode != "off":
            return duplicates.publish(call, options, _handing_over(call, super().apply_async))
        result: AsyncResult[Any] = call.publish(super().apply_async, call.named(options))
        return result

    def apply(
        self,
        args: Any = None,
        kwargs: Any = None,
        *positional: Any,
        lock: CallOptions | None = None,
        **options: Any,
    ) -> EagerResult[Any]:
        """Run the task here and now, with its lock. `lock` is as in `apply_async`.

        Raises:
            LockLost: It is called in the body of a locked task that has lost its own lock meanwhile.
        """
        refuse_options_of_a_task(self.name, options)
        if lock is not None:
            _, options = self._planned(lock, options)
        if RETRY_HEADER in (options.get("headers") or {}):
            # Celery counts every eager retry; a conflict is none of the user's.
            options = {**options, "retries": options.get("retries", 1) - 1}
        result = super().apply(args, kwargs, *positional, **options)
        run.raise_again()
        if isinstance(result.result, Skipped):
            # Celery's own result of an ignored task would give None to whoever asks.
            return EagerResult(result.id, TaskRevokedError(*result.result.args), REVOKED, name=self.name)
        if isinstance(result.result, ComesAgain):
            return EagerResult(result.id, Retry(*result.result.args), RETRY, name=self.name)
        return result

    def map(self, it: Any) -> Any:
        """Refuse what would run unlocked; as Celery's own with `lock_mode` "off" or "shadow".

        Raises:
            ConfigurationError: The task has a lock.
        """
        map_calls.refuse(self, "map")
        return super().map(it)

    def starmap(self, it: Any) -> Any:
        """Refuse what would run unlocked; as Celery's own with `lock_mode` "off" or "shadow".

        Raises:
            ConfigurationError: The task has a lock.
        """
        map_calls.refuse(self, "starmap")
        return super().starmap(it)

    def chunks(self, it: Any, n: int) -> Any:
        """Refuse what would run unlocked; as Celery's own with `lock_mode` "off" or "shadow".

        Raises:
            ConfigurationError: The task has a lock.
        """
        map_calls.refuse(self, "chunks")
        return super().chunks(it, n)

    def _planned(self, lock: Any, options: dict[str, Any]) -> tuple[Plan, dict[str, Any]]:
        """Return the plan of a call, and Celery's options of it, with its own lock options in a header."""
        headers = options.get("headers")
        if lock is None:
            return self.plan_for(headers.get(CALL_HEADER) if headers else None), options
        plan = self.plan_for(lock)
        # A copied name is not that of a call with other options.
        headers = {**without_name(headers), CALL_HEADER: travelling(self.name, lock)}
        return plan, {**options, "headers": headers}


def _handing_over(call: Call, send: Send) -> Send:
    """Return `send`; for the retry of the run that goes on here one that gives the run's lock back first.

    The retry has its publish lock by then, so no other call comes between the two.
    """
    request = call.task.request
    begun = run.run_of(request)
    if begun is None or not begun.hands_over or call.task_id != request.id:
        return send

    def release_and_send(*args: Any, **options: Any) -> AsyncResult[Any]:
        run.finish(request)
        return send(*args, **options)

    return release_and_send
