"""Reports: in a worker, what the signals of the locks said goes into the journal."""

from __future__ import annotations

from typing import Any

from celery_redislock.signals import lock_acquired, lock_conflict, lock_lost, lock_released

from .steps import journal


@lock_acquired.connect
def _acquired(sender: Any, lock: Any, **_: Any) -> None:
    journal().write("acquired", task=sender.name, lock=lock.name, id=sender.request.id)


@lock_released.connect
def _released(sender: Any, lock: Any, **_: Any) -> None:
    journal().write("released", task=sender.name, lock=lock.name, id=sender.request.id)


@lock_conflict.connect
def _conflict(sender: Any, conflict: Any, action: str, **_: Any) -> None:
    journal().write(
        "conflict",
        task=sender.name,
        action=action,
        shadow=conflict.shadow,
        lock=conflict.lock_name,
        id=conflict.task_id,
        args_hash=conflict.args_hash,
        holder=conflict.holder.metadata.get("id"),
        lease_left=conflict.lease_left,
    )


@lock_lost.connect
def _lost(sender: Any, lock: Any, reason: str, **_: Any) -> None:
    journal().write("lost", task=sender.name, lock=lock.name, reason=reason)


def _break(sender: Any, **_: Any) -> None:
    if sender.name == "with_broken_receivers":
        raise RuntimeError("a broken receiver")


for _signal in (lock_acquired, lock_released, lock_conflict, lock_lost):
    _signal.connect(_break, weak=False)
