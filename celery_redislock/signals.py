"""Signals: the four signals of a locked task. A receiver that raises is logged, and never breaks a run.

Connect to them as to Celery's own; the sender is the task::

    @lock_conflict.connect
    def count(sender, conflict, action, **_): ...

They are sent in the process, and all but `lock_lost` in the thread, that runs the task. Each follows from an
event, see ``events.py``.

Celery's `Signal.send` catches and logs what a receiver raises, and returns it. A soft time limit that strikes
in a receiver is caught as well, and the run would go on without its limit: so what is returned is looked at.
Celery's own signals are sent by Celery: a limit that strikes in one of their receivers is lost.
"""

from __future__ import annotations

from typing import Any

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


def _send(signal: Signal, sender: Any, **facts: Any) -> None:
    """Send a signal, and raise the interruption of the run that has come meanwhile, if one has."""
    for _, response in signal.send(sender=sender, **facts):
        if isinstance(response, Exception) and events.is_interruption(response):
            raise response


def _on_acquired(event: events.Acquired) -> None:
    if lock_acquired.receivers:
        _send(lock_acquired, event.task, lock=event.lock)


def _on_released(event: events.Released) -> None:
    if event.is_free and lock_released.receivers:
        _send(lock_released, event.task, lock=event.lock)


def _on_conflicted(event: events.Conflicted) -> None:
    if event.conflict is not None:
        _send(lock_conflict, event.task, conflict=event.conflict, action=event.action)


def _on_lost(event: events.Lost) -> None:
    # A run that is replaced keeps its lock until it has stopped.
    if event.reason != "replaced":
        _send(lock_lost, event.task, lock=event.lock, reason=event.text)
