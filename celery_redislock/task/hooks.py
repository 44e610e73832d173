"""Hooks: what Celery calls before, in and after a run, with the lock taken and given back around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any

from celery import Task

from ..engine import confirmations
from ..errors import ConfigurationError, LockBusy, LockLost
from ..messages import sentry
from ..pending.replacement import is_replaced
from ..worker import marked_messages
from ..worker.marked_messages import MARKS, does_nothing
from . import coroutines, direct_calls, early_end, map_calls, run

Hook = Callable[..., Any]


def surround_hooks(task_class: Any) -> None:
    """Put a function of ours around each hook of the class that has none yet.

    So a subclass or mixin that overrides a hook and does not call ``super()`` still runs locked.
    """
    for name, around in _AROUND.items():
        hook = _hook_of(task_class, name)
        if not hasattr(hook, _MARK):
            is_inherited = name not in vars(task_class)
            hook = around(hook)
            setattr(hook, _MARK, is_inherited)
        setattr(task_class, name, hook)


def refuse_unless_surrounded(task: Any) -> None:
    """Refuse to begin a run whose task was not registered by `LockedTask.bind`: nothing takes its lock.

    Raises:
        ConfigurationError: It was not.
    """
    task_class = type(task)
    if not hasattr(vars(task_class).get("before_start"), _MARK):
        owner = next(there for there in task_class.__mro__ if "bind" in vars(there))
        raise ConfigurationError(
            f"task {task.name!r} has no lock: {owner.__name__}.bind does not call LockedTask.bind; "
            "let it call super().bind(app)"
        )


#: Attribute of our functions around a hook: whether the hook came from a base.
_MARK = "_keeps_the_lock_of_a_base"


def _hook_of(task_class: Any, name: str) -> Hook:
    """Return the user's hook that comes first: a base that is a task already has ours around its own."""
    hooks: Iterator[Hook] = (getattr(owner, name) for owner in task_class.__mro__ if name in vars(owner))
    return next(hook for hook in hooks if not getattr(hook, _MARK, False))


def only_checks(hook: Hook) -> Hook:
    """Return a hook of ours that is not called where its class is surrounded."""
    setattr(hook, _MARK, True)
    return hook


def called_by_celery(task_class: Any) -> Hook:
    """Return the class's own ``__call__``, without ours around it."""
    return _hook_of(task_class, "__call__")


def _lock_first(hook: Hook) -> Hook:
    is_empty = does_nothing(hook)

    @wraps(hook)
    def before_start(self: Any, task_id: str, args: Any, kwargs: Any) -> Any:
        request = self.request_stack.top or self.request
        headers = request.headers
        if headers and not MARKS.isdisjoint(headers):
            marked_messages.look(self, headers)
        try:
            run.begin(self, request, args, kwargs)
        except Exception as error:  # noqa: BLE001 - `_in_its_body` raises it, which Celery calls next
            return early_end.keep(request, error)
        return None if is_empty else hook(self, task_id, args, kwargs)

    return marked_messages.looks(before_start)


def _in_its_body(hook: Hook) -> Hook:
    # A tool that watches tasks may have put a function of its own there.
    is_celerys = hook is vars(Task)["__call__"] and hook.__module__ == Task.__module__

    @wraps(hook)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        request = self.request_stack.top or self.request
        begun = run.run_of(request)
        try:
            if early_end.ATTRIBUTE in request.__dict__:
                early_end.raise_kept(request)
            if begun is None or begun.has_called:
                return _call_inside(self, begun, hook, args, kwargs)
            # As Celery does: a class without a __call__ of its own needs no second request for its body.
            returned = begun.call(self.run if is_celerys else partial(hook, self), args, kwargs)
        except LockLost as error:
            if begun is None or not is_replaced(error):
                raise
            raise begun.end_replaced() from None
        except LockBusy as error:
            if self._busy_is_expected_by_us:
                sentry.report(error)
            raise
        return (
            coroutines.result_of(self, returned) if isinstance(returned, coroutines.UNSTARTED) else returned
        )

    return call


def _call_inside(task: Any, begun: run.Run | None, hook: Hook, args: Any, kwargs: Any) -> Any:
    """Call a task that has no run, or in the body of its own."""
    map_calls.refuse_inside(task)
    if begun is None:
        direct_calls.refuse_others(task)
        return hook(task, *args, **kwargs)
    return coroutines.result_of(task, begun.call(partial(hook, task), args, kwargs))


def _release_after(hook: Hook) -> Hook:
    is_empty = does_nothing(hook)

    @wraps(hook)
    def after_return(self: Any, status: str, retval: Any, task_id: str, *args: Any) -> Any:
        try:
            return None if is_empty else hook(self, status, retval, task_id, *args)
        finally:
            run.finish(self.request_stack.top or self.request, done=task_id)

    return after_return


def _release_before(hook: Hook) -> Hook:
    @wraps(hook)
    def publish(self: Any, *args: Any, **kwargs: Any) -> Any:
        run.finish(self.request)
        return hook(self, *args, **kwargs)

    return publish


def _release_before_retry(hook: Hook) -> Hook:
    @wraps(hook)
    def retry(self: Any, *args: Any, **kwargs: Any) -> Any:
        request = self.request
        begun = run.run_of(request)
        if begun is not None:
            if begun.is_replaced:
                # Its successor does the work; a retry would only replace that again.
                raise begun.end_replaced()
            options = begun.options
            # Where the retry takes a publish lock, the run keeps its own until then: see LockedTask.
            begun.hands_over = options.scope == "task" and options.mode != "off" and not request.is_eager
            if not begun.hands_over:
                run.finish(request)
        return hook(self, *args, **kwargs)

    return retry


#: The hooks of a task, and what puts ours around each.
_AROUND: dict[str, Callable[[Hook], Hook]] = {
    "__call__": _in_its_body,
    "before_start": _lock_first,
    "after_return": _release_after,
    "retry": _release_before_retry,
    "replace": _release_before,
}


def release_what_is_left(sender: Any = None, **_: Any) -> None:
    """At ``task_postrun``: release what a run has not released, before what follows; see `RequestStack`."""
    if sender is not None:
        run.finish(sender.request)


def confirm_releases(**_: Any) -> None:
    """At ``worker_process_shutdown``: have Redis confirm the releases whose replies were not waited for."""
    # A process of the pool ends without the interpreter's own end.
    confirmations.confirm()
