"""Exclusive: the scripts of a lock that one holder has."""

from __future__ import annotations

from .script import LOCK_SCRIPTS, Script

ACQUIRE = Script.load(LOCK_SCRIPTS, "acquire")
RELEASE = Script.load(LOCK_SCRIPTS, "release")
LEAVE = Script.load(LOCK_SCRIPTS, "leave")
FORCE_RELEASE = Script.load(LOCK_SCRIPTS, "force_release")
INSPECT = Script.load(LOCK_SCRIPTS, "inspect")
RENEW = Script.load(LOCK_SCRIPTS, "renew")
RING = Script.load(LOCK_SCRIPTS, "ring")
