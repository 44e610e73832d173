"""Marked messages: runs whose messages carry a header that some feature must see, whatever their tasks are.

Such a run is looked at before its body, and heard of when it has ended. Celery calls every receiver of
`task_postrun` after every run, which costs a task that does nothing a tenth of its time. So a process listens
from its first marked run on: until then no run costs anything.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from celery import Task, signals

#: Attribute of a ``before_start`` that looks.
_LOOKS = "_looks_for_marks"

#: The headers.
MARKS: set[str] = set()
#: What is called with the task before the body of a run whose message has such a header.
_at_begin: dict[str, Callable[[Task[..., Any]], object]] = {}
#: The receivers of ``task_postrun``, in their order.
_at_end: list[Callable[..., Any]] = []

_listens = False


def hear(
    *headers: str,
    begin: Callable[[Task[..., Any]], object] | None = None,
    end: tuple[Callable[..., Any], ...] = (),
) -> None:
    """See the runs whose messages have one of these headers. May be called any number of times.

    Args:
        headers: Their names.
        begin: Called with the task before its body.
        end: Receivers of ``task_postrun``; they hear of other runs too.
    """
    if begin is not None:
        _at_begin.update(dict.fromkeys(headers, begin))
    MARKS.update(headers)
    _at_end.extend(receiver for receiver in end if receiver not in _at_end)
    if _listens:
        _listen()


def look(task: Task[..., Any], headers: Any) -> None:
    """See the run that begins here; its message has one of the `MARKS`.

    Args:
        task: Its task.
        headers: Of its message.
    """
    if not _listens:
        _listen()
    for header, begin in _at_begin.items():
        if header in headers:
            begin(task)


def looks(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``before_start``, noted as one that looks by itself."""
    setattr(hook, _LOOKS, True)
    return hook


def does_nothing(hook: Callable[..., Any]) -> bool:
    """Whether a hook is Celery's own, which is empty; a tool may have put a function of its own there."""
    return hook is vars(Task).get(getattr(hook, "__name__", "")) and hook.__module__ == Task.__module__


def watch(task_class: Any) -> bool:
    """Have the ``before_start`` of a class look; return whether it did not do so before."""
    hook = task_class.before_start
    if hasattr(hook, _LOOKS):
        return False
    is_empty = does_nothing(hook)

    @wraps(hook)
    def before_start(self: Any, task_id: str, args: Any, kwargs: Any) -> Any:
        headers = self.request.headers
        if headers and not MARKS.isdisjoint(headers):
            look(self, headers)
        return None if is_empty else hook(self, task_id, args, kwargs)

    task_class.before_start = looks(before_start)
    return True


def _listen() -> None:
    global _listens
    for receiver in _at_end:
        signals.task_postrun.connect(receiver, weak=False)
    _listens = True
