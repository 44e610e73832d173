"""Scripts: every Lua file of the package, and every script as the package sends it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import celery_redislock
from celery_redislock.engine.protocol.script import Script

PACKAGE = Path(celery_redislock.__file__).parent
FILES = sorted(PACKAGE.rglob("*.lua"))

#: Who sends scripts.
_SENDERS = (
    "engine.protocol.exclusive",
    "engine.protocol.limit",
    "engine.protocol.shared",
    "engine.group_lease",
    "publish_lock.record",
    "pending.runs",
    "beat.ledger",
    "observing.statistics_record",
)


def loaded_scripts() -> list[Script]:
    """List the scripts as the package sends them, with the functions that they share."""
    senders = [import_module(f"celery_redislock.{name}") for name in _SENDERS]
    return [value for sender in senders for value in vars(sender).values() if isinstance(value, Script)]
