"""Signals: the four signals of a locked task. A receiver that raises is logged, and never breaks a run.

Connect to them as to Celery's own; the sender is the task::

    @lock_conflict.connect
    def count(sender, conflict, action, **_): ...

They are sent in the process, and all but `lock_lost` in the thread, that runs the task. Each follows from an
event, see ``events.py``.
"""

from __future__ import annotations

from celery.utils.dispatch import Signal

from . import events

__all__ = ["lock_acquired", "lock_conflict", "lock_lost", "lock_released"]

#: The lock was taken; the body is about to run. Arguments: lock.
lock_acquired = Signal(name="lock_acquired", providing_args=["lock"])

#: The lock was released, or will be free when its min_hold ends. Arguments: lock.
lock_released = Signal(name="lock_released", providing_args=["lock"])

#: A call found its lock busy: when it began or, with lock_scope "queue" or "task", when it was published
#: (then in the publisher). Arguments: conflict, and action: "skip", "retry", "fail", "coalesce",
#: "replace" or "callable". With lock_mode "shadow" (conflict.shadow) the action is what would have been done.
lock_conflict = Signal(name="lock_conflict", providing_args=["conflict", "action"])

#: A held lock was lost while the body ran. Arguments: lock, reason. Sent from a thread of its own.
lock_lost = Signal(name="lock_lost", providing_args=["lock", "reason"])


def install() -> None:
    """Have the signals sent. May be called any number of times."""
    events.listen(events.Acquired, _on_acquired)
    events.listen(events.Released, _on_released)
    events.listen(events.Conflicted, _on_conflicted)
    events.listen(events.Lost, _on_lost)


def _on_acquired(event: events.Acquired) -> None:
    if lock_acquired.receivers:
        lock_acquired.send(sender=event.task, lock=event.lock)


def _on_released(event: events.Released) -> None:
    if event.is_free and lock_released.receivers:
        lock_released.send(sender=event.task, lock=event.lock)


def _on_conflicted(event: events.Conflicted) -> None:
    if event.conflict is not None:
        lock_conflict.send(sender=event.task, conflict=event.conflict, action=event.action)


def _on_lost(event: events.Lost) -> None:
    # A run that is replaced keeps its lock until it has stopped.
    if event.reason != "replaced":
        lock_lost.send(sender=event.task, lock=event.lock, reason=event.text)
