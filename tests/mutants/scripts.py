"""Wrong scripts: a Lua script with one of its lines gone wrong, whoever sends it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from celery_redislock.engine.protocol.script import Script


def go_wrong(script: Script, right: str, wrong: str) -> None:
    """Have a script say something wrong in place of something right, from now on in this process."""
    assert script.source.count(right) == 1, f"the script says {right!r} no more"
    _say(script, script.source.replace(right, wrong))


@contextmanager
def gone_wrong(script: Script, right: str, wrong: str) -> Iterator[None]:
    """Have it do so for the length of a ``with`` block."""
    before = script.source
    go_wrong(script, right, wrong)
    try:
        yield
    finally:
        _say(script, before)


@contextmanager
def rewritten(script: Script, rewrite: Callable[[str], str]) -> Iterator[None]:
    """Have a script say what `rewrite` makes of it, for the length of a ``with`` block."""
    before = script.source
    _say(script, rewrite(before))
    try:
        yield
    finally:
        _say(script, before)


def _say(script: Script, source: str) -> None:
    # The one object that all who send it know; it is frozen for them.
    object.__setattr__(script, "source", source)
    digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    object.__setattr__(script, "sha", digest)
