"""Commands: ``celery -A APP locks ...`` for operators; parses, asks, prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import click
from celery.bin.base import CeleryCommand, handle_preload_options

from ..config.provider import LockProvider, provider_of
from ..engine import Inspection, RedisLock, inspect, inspect_all, store_of
from ..engine.group_lease import members_out
from ..errors import ConfigurationError, RedislockError
from ..pending.publish import publish_what_is_wanted
from ..plugin import install
from ..publish_lock.record import PublishLock

__all__ = ["locks"]

# Celery imports this module for each of its commands: so every worker that one starts knows us.
install()

# What may be long stands last, or it would push the other columns out of their places.
_COLUMNS = "{:<25} {:>10} {:>16} {:>7} {:>7} {:<36} {:<20} {:<28} {}"
_HEADINGS = ("since", "lease left", "fencing token", "waiters", "pid", "id", "host", "task", "lock")

#: Exit status of ``locks show``: nobody holds the lock; Redis could not be asked.
_FREE, _NOT_ASKED = 1, 2


def _say_what_is_wrong(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """End the command line on a wrong option or setting with its sentence alone, on all else as before."""
    if isinstance(error, ConfigurationError):
        click.echo(f"Error: {error}", err=True)
    else:
        _usual_excepthook(kind, error, traceback)


# Celery loads this module when its command line starts. The sentence names task and option; the frames
# between them and the user's mistake are Celery's and ours.
_usual_excepthook, sys.excepthook = sys.excepthook, _say_what_is_wrong


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")


@click.group()
@click.pass_context
@handle_preload_options
def locks(context: click.Context) -> None:
    """See who holds the locks of tasks, and take them away."""


@locks.command("list", cls=CeleryCommand)
@as_json
@click.pass_context
def list_(context: click.Context, as_json: bool) -> None:
    """List all held locks, as they are found."""
    with _errors_for_people():
        provider = _provider(context)
        if not as_json:
            click.echo(_COLUMNS.format(*_HEADINGS).rstrip())
        for seen in inspect_all(provider.client, provider.prefix):
            click.echo(json.dumps(_facts(seen)) if as_json else _row(seen))


@locks.command(cls=CeleryCommand)
@click.argument("name")
@as_json
@click.pass_context
def show(context: click.Context, name: str, as_json: bool) -> None:
    """Show who holds the lock NAME, with or without its prefix, and for how long yet.

    Exit status: 0 it is held, 1 it is free, 2 Redis could not be asked.
    """
    with _errors_for_people():
        provider = _provider(context)
        key = _key(provider, name)
        seen = inspect(store_of(provider.client), key)
        out = members_out(provider.client, key)
        waiting = PublishLock(provider.client, key).waiting()
        if as_json:
            facts = _facts(seen) if seen else {"name": key, "held": False}
            members = {"members": out} if seen and out else {}
            queued = {"queued": waiting.metadata["id"]} if waiting else {}
            click.echo(json.dumps({**facts, **members, **queued}))
        else:
            click.echo("\n".join([_text(seen), *map(_member, out)]) if seen else f"{key}: free")
            if waiting:
                click.echo(f"{key}: published and not begun: {waiting}")
    if not seen:
        context.exit(_FREE)


@locks.command(cls=CeleryCommand)
@click.argument("name")
@click.option(
    "--force",
    is_flag=True,
    help="Also from a holder that may be alive; its run is told.",
)
@click.pass_context
def release(context: click.Context, name: str, force: bool) -> None:
    """Free the lock NAME. A holder whose lease goes on keeps it, unless --force.

    --force frees the publish lock of NAME too: of a message that was purged, say.
    """
    with _errors_for_people():
        provider = _provider(context)
        key = _key(provider, name)
        is_freed = force and PublishLock(provider.client, key).force_free()
        if is_freed:
            click.echo(f"{key}: publish lock freed")
        seen = inspect(store_of(provider.client), key)
        if seen is None:
            if not is_freed:
                click.echo(f"{key}: free already, nothing done")
            return
        if not seen.is_kept and not force:
            raise click.ClickException(
                f"{_text(seen)}\nThe holder may be alive: nothing done. --force takes the lock from it."
            )
        RedisLock(provider.client, key).force_release()
        publish_what_is_wanted(context.obj.app, key)
        what = "kept for its min_hold; released" if seen.is_kept else "taken from its holder"
        whose = ", the next waiter has it" if seen.waiters else ""
        click.echo(f"{_text(seen)}\n{key}: {what}{whose}")


class _NotAsked(click.ClickException):
    """The question could not be put: no app, a wrong setting, no Redis."""

    exit_code = _NOT_ASKED


@contextmanager
def _errors_for_people() -> Iterator[None]:
    try:
        yield
    except RedislockError as error:
        raise _NotAsked(str(error)) from error


def _provider(context: click.Context) -> LockProvider:
    app = context.obj.app
    try:
        return provider_of(app)
    except ConfigurationError as error:
        # So Celery calls the app that it makes where none is given.
        if app.main != "default":
            raise
        raise _NotAsked(f"no app is given: write `celery -A APP locks ...` ({error})") from error


def _key(provider: LockProvider, name: str) -> str:
    return name if name.startswith(provider.prefix) else provider.lock_name(name)


def _facts(seen: Inspection) -> dict[str, Any]:
    return {
        "name": seen.name,
        "held": True,
        "kept": seen.is_kept,
        "waiters": seen.waiters,
        **seen.holder.as_dict(),
    }


def _row(seen: Inspection) -> str:
    facts = {**dict.fromkeys(_HEADINGS, "-"), **seen.holder.metadata, **_shown(seen), "lock": seen.name}
    return _COLUMNS.format(*(facts[heading] for heading in _HEADINGS))


def _text(seen: Inspection) -> str:
    facts = {**seen.holder.metadata, **_shown(seen)}
    return "\n".join([f"{seen.name}: held", *(f"  {fact:<14} {value}" for fact, value in facts.items())])


def _member(said: dict[str, str]) -> str:
    """Say of one member of a batch whether it waits, or where it runs."""
    where = f" on {said['host']}, pid {said['pid']}" if said["state"] == "runs" else ""
    return f"  still out      {said['task']}[{said.get('id', '-')}] {said['state']}{where}"


def _shown(seen: Inspection) -> dict[str, str]:
    holder = seen.holder
    return {
        "since": holder.since.isoformat(timespec="seconds") if holder.since else "-",
        "lease left": "for ever" if holder.lease_left is None else f"{holder.lease_left:.1f} s",
        "fencing token": str(holder.fencing_token or "-"),
        "waiters": str(seen.waiters),
    }
