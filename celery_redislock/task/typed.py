"""Typed: what a type checker is told of a locked task, of its options and of those of a call.

Nothing here does anything, and nothing here loads Celery. The dicts are closed: a word that is not in
them is a mistake to the checker, as most words are to ``options.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Protocol, TypeAlias, TypedDict, TypeVar

from ..config.lock_key import LockKey
from ..engine import RedisLock
from .unlocked import Unlocked

if TYPE_CHECKING:
    from celery import Celery, Signature
    from celery.app.task import Context
    from celery.exceptions import Retry
    from celery.result import AsyncResult, EagerResult
    from typing_extensions import Unpack

    from ..conflicts.conflict import Conflict

P = ParamSpec("P")
R = TypeVar("R", covariant=True)

#: The type of ``self.lock`` and of ``current_lock()``.
TaskLock: TypeAlias = RedisLock | Unlocked

Duration: TypeAlias = float | timedelta
OnConflict: TypeAlias = Literal["skip", "retry", "fail", "coalesce", "replace"]
WhichCalls: TypeAlias = list[str] | tuple[str, ...]


class CallOptions(TypedDict, total=False):
    """The type of ``lock={...}`` in ``apply_async``: each lock option without its ``lock_``."""

    args: WhichCalls | None
    key: str | Sequence[str] | None
    ttl: Duration
    wait: Duration
    on_conflict: OnConflict
    retry_delay: Sequence[Duration]
    retry_for: Duration | None
    min_hold: Duration
    max_hold: Duration | None
    mode: Literal["on", "shadow", "off"]
    on_lost: Literal["abort", "continue"]
    on_error: Literal["retry", "fail", "run"]
    min_replicas: int
    scope: Literal["run", "queue", "task"]
    queue_ttl: Duration
    keep: Literal["latest", "first"]
    replace_after: Duration
    shared: bool
    limit: int | None


class LockTaskOptions(TypedDict, total=False):
    """The same as options of a task."""

    lock_args: WhichCalls | None
    lock_key: str | Callable[..., str] | Sequence[str | Callable[..., str] | LockKey] | LockKey | None
    lock_ttl: Duration
    lock_wait: Duration
    lock_on_conflict: OnConflict | Callable[[Any, Conflict], Any]
    lock_retry_delay: Sequence[Duration]
    lock_retry_for: Duration | None
    lock_min_hold: Duration
    lock_max_hold: Duration | None
    lock_mode: Literal["on", "shadow", "off"]
    lock_on_lost: Literal["abort", "continue"]
    lock_on_error: Literal["retry", "fail", "run"]
    lock_min_replicas: int
    lock_scope: Literal["run", "queue", "task"]
    lock_queue_ttl: Duration
    lock_keep: Literal["latest", "first"]
    lock_replace_after: Duration
    lock_shared: bool
    lock_limit: int | Callable[..., int] | None


class TaskOptions(LockTaskOptions, total=False):
    """Options of ``locked_task``: ours, and those of Celery, with the hooks that may be given as such."""

    name: str
    shared: bool
    lazy: bool
    filter: Callable[[Any], Any]
    typing: bool
    pydantic: bool
    pydantic_strict: bool
    pydantic_context: dict[str, Any] | None
    pydantic_dump_kwargs: dict[str, Any] | None
    autoretry_for: Sequence[type[BaseException]]
    dont_autoretry_for: Sequence[type[BaseException]]
    retry_kwargs: Mapping[str, Any]
    retry_backoff: bool | float
    retry_backoff_max: float
    retry_jitter: bool
    max_retries: int | None
    default_retry_delay: float
    rate_limit: str | float | None
    time_limit: float | None
    soft_time_limit: float | None
    expires: float | datetime | None
    priority: int | None
    queue: str
    exchange: str
    exchange_type: str
    routing_key: str
    delivery_mode: int | str
    serializer: str | None
    compression: str
    ignore_result: bool | None
    store_errors_even_if_ignored: bool | None
    store_eager_result: bool | None
    track_started: bool | None
    trail: bool
    send_events: bool
    resultrepr_maxsize: int
    acks_late: bool | None
    acks_on_failure: bool | None
    acks_on_timeout: bool | None
    acks_on_failure_or_timeout: bool | None
    reject_on_worker_lost: bool | None
    retry_on_worker_lost: bool | None
    throws: type[BaseException] | tuple[type[BaseException], ...]
    backend: Any
    Request: Any
    Strategy: str
    before_start: Callable[..., Any]
    on_success: Callable[..., Any]
    on_failure: Callable[..., Any]
    on_retry: Callable[..., Any]
    on_replace: Callable[..., Any]
    after_return: Callable[..., Any]
    shadow_name: Callable[..., Any]


class PublishOptions(TypedDict, total=False):
    """Celery's options of one call, wherever it is published."""

    task_id: str | None
    producer: Any
    publisher: Any
    connection: Any
    router: Any
    link: Any
    link_error: Any
    shadow: str | None
    expires: float | datetime | None
    retry: bool
    retry_policy: Mapping[str, Any]
    queue: Any
    exchange: Any
    routing_key: str
    priority: int
    serializer: str
    compression: str
    delivery_mode: int | str
    headers: Mapping[str, Any]
    add_to_parent: bool
    ignore_result: bool
    time_limit: float
    soft_time_limit: float
    reply_to: str
    root_id: str | None
    parent_id: str | None
    group_id: str | None
    group_index: int | None
    chain: Any
    chord: Any
    stamped_headers: Sequence[str]


if TYPE_CHECKING:

    class LockedSignature(Signature[R]):
        """A call of a locked task as a signature."""

        def set(
            self, immutable: bool | None = None, *, lock: CallOptions | None = None, **options: Any
        ) -> LockedSignature[R]: ...

        def clone(
            self, args: Any = None, kwargs: Any = None, *, lock: CallOptions | None = None, **options: Any
        ) -> LockedSignature[R]: ...


class Locked(Protocol[P, R]):
    """A locked task: called and published with the function's own arguments."""

    name: str
    typing: bool
    max_retries: int | None
    default_retry_delay: float
    rate_limit: str | None
    serializer: str
    time_limit: float | None
    soft_time_limit: float | None
    expires: Any
    priority: int | None
    ignore_result: bool
    store_errors_even_if_ignored: bool
    track_started: bool
    trail: bool
    send_events: bool
    resultrepr_maxsize: int
    acks_late: bool
    acks_on_failure: bool
    acks_on_timeout: bool
    acks_on_failure_or_timeout: bool
    reject_on_worker_lost: bool | None
    retry_on_worker_lost: bool | None
    throws: tuple[type[BaseException], ...]
    request_stack: Any
    MaxRetriesExceededError: type[Exception]
    OperationalError: type[Exception]
    before_start: Callable[..., Any]
    on_success: Callable[..., Any]
    on_failure: Callable[..., Any]
    on_retry: Callable[..., Any]
    on_replace: Callable[..., Any]
    after_return: Callable[..., Any]
    shadow_name: Callable[..., Any]
    push_request: Callable[..., None]
    pop_request: Callable[..., None]
    add_trail: Callable[..., Any]
    signature_from_request: Callable[..., Any]
    subtask_from_request: Callable[..., Any]
    start_strategy: Callable[..., Any]

    @property
    def __name__(self) -> str: ...

    @property
    def __wrapped__(self) -> Callable[..., R]: ...

    @property
    def app(self) -> Celery: ...

    @property
    def request(self) -> Context: ...

    @property
    def backend(self) -> Any: ...

    @property
    def lock(self) -> TaskLock: ...

    def lock_name(self, *args: P.args, **kwargs: P.kwargs) -> str: ...

    def lock_names(self, *args: P.args, **kwargs: P.kwargs) -> tuple[str, ...]: ...

    def lock_for(self, *args: P.args, **kwargs: P.kwargs) -> RedisLock: ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]: ...

    def delay_on_commit(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """In a Django project."""

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        lock: CallOptions | None = None,
        countdown: float | None = None,
        eta: datetime | None = None,
        **options: Unpack[PublishOptions],
    ) -> AsyncResult[R]: ...

    def apply_async_on_commit(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        lock: CallOptions | None = None,
        countdown: float | None = None,
        eta: datetime | None = None,
        **options: Unpack[PublishOptions],
    ) -> None:
        """In a Django project."""

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        lock: CallOptions | None = None,
        retries: int = 0,
        throw: bool | None = None,
        **options: Unpack[PublishOptions],
    ) -> EagerResult[R]: ...

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        *,
        lock: CallOptions | None = None,
        **options: Unpack[PublishOptions],
    ) -> Retry: ...

    def s(self, *args: Any, **kwargs: Any) -> LockedSignature[R]: ...

    def si(self, *args: P.args, **kwargs: P.kwargs) -> LockedSignature[R]: ...

    def signature(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> LockedSignature[R]: ...

    def subtask(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> LockedSignature[R]: ...

    def replace(self, sig: Any) -> Any: ...

    def add_to_chord(self, sig: Any, lazy: bool = False) -> Any: ...

    def update_state(
        self, task_id: str | None = None, state: str | None = None, meta: Any = None, **kwargs: Any
    ) -> None: ...

    def send_event(self, type_: str, retry: bool = True, retry_policy: Any = None, **fields: Any) -> Any: ...

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AsyncResult[R]: ...  # noqa: N802 - Celery's name


class LockedOfBase(Locked[P, R], Protocol):
    """One with a `base` of the user's own, whose further attributes nobody knows here."""

    def __getattr__(self, name: str) -> Any: ...
