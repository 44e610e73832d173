"""Commands: ``celery -A APP locks ...`` for operators: parse, ask Redis, print."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType

import click
from celery.bin.base import CeleryCommand, handle_preload_options

from .. import limits
from ..config.all_off import is_off
from ..config.provider import LockProvider, provider_of
from ..doctor.configuration import Configuration
from ..doctor.examination import Report, examine, examine_configuration
from ..doctor.finding import ERROR, LEVELS
from ..doctor.ignoring import ignored_by, refuse_unknown
from ..engine import RedisLock, inspect, inspect_all, server_time, store_of
from ..engine.group_lease import members_in_flight
from ..errors import ConfigurationError, RedislockError
from ..events import Forced, tell
from ..observing import receivers as observing
from ..pending.publish import publish_pending
from ..plugin import install
from ..publish_lock.record import PublishLock
from . import diagnosis
from . import exporter as exporting
from .formats import printable
from .periods import period_s
from .rendering import LockView, table_of
from .usual import Usual

__all__ = ["locks"]

# Celery imports this module for each of its commands: so every worker that one starts knows us.
install()

#: Exit status of ``locks show``: nobody holds the lock; Redis could not be asked.
_FREE, _NOT_ASKED = 1, 2


def _say_what_is_wrong(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Print a wrong option or setting as one sentence, and every other error with its traceback."""
    if isinstance(error, ConfigurationError):
        click.echo(f"Error: {error}", err=True)
    else:
        _usual_excepthook(kind, error, traceback)


# Celery loads this module when its command line starts. The sentence names the task and the option; a
# traceback would only show frames of Celery and of this package.
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
    """List all held locks: what may be in trouble first, then the longest held.

    The table fits the terminal. With --json the locks come as they are found.
    """
    with _errors_for_people():
        provider = _provider(context)
        found = inspect_all(provider.client, provider.prefix)
        if as_json:
            usual = _usual(context)
            for seen in found:
                click.echo(json.dumps(LockView.of(seen, usual).as_dict()))
            return
        now = server_time(store_of(provider.client), provider.prefix + "*")
        usual = _usual(context)
        views = (LockView.of(seen, usual, now) for seen in found)
        for line in table_of(views, provider.prefix, _width()):
            _say(context, line)


@locks.command(cls=CeleryCommand)
@click.argument("name")
@as_json
@click.pass_context
def show(context: click.Context, name: str, as_json: bool) -> None:
    """Show who holds the lock NAME (with or without its prefix), and how long its lease lasts.

    Exit status: 0 it is held, 1 nobody holds it, 2 Redis could not be asked.
    """
    with _errors_for_people():
        provider = _provider(context)
        key, store = _key(provider, name), store_of(provider.client)
        seen, now = inspect(store, key), server_time(store, key)
        usual = _usual(context)
        if seen is None:
            view = LockView.of_free(limits.get(context.obj.app, key))
        else:
            view = LockView.of(seen, usual, now)
        view = replace(
            view,
            members=members_in_flight(provider.client, key),
            waiting=PublishLock(provider.client, key).waiting(),
            conflicts=usual.conflicts_at(key),
        )
        _say(context, json.dumps(view.as_dict()) if as_json else view.text())
    if view.seen is None or view.seen.is_paused:
        context.exit(_FREE)


@locks.command(cls=CeleryCommand)
@click.argument("name")
@click.argument("number", metavar="[N]", required=False, type=click.IntRange(min=1))
@click.option("--pause", "is_pause", is_flag=True, help="Let nobody take the lock, alone or shared.")
@click.option("--reset", "is_reset", is_flag=True, help="Let the limit of each task count again.")
@click.option("--for", "for_s", callback=period_s, help="For how long: 30s, 5m, 2h, 1d.")
@click.option("--note", help="Why, for those who meet the limit.")
@as_json
@click.pass_context
def limit(
    context: click.Context,
    name: str,
    number: int | None,
    is_pause: bool,
    is_reset: bool,
    for_s: float | None,
    note: str | None,
    as_json: bool,
) -> None:
    """Let at most N share the lock NAME, or nobody take it; without N print what is set.

    It counts in place of the limits of the tasks, until it ends or is reset. Who holds the lock keeps it.

    Exit status: 0 done, or a limit is set; 1 none is set; 2 Redis could not be asked.
    """
    is_set = number is not None or is_pause
    if (number is not None) + is_pause + is_reset > 1:
        raise click.UsageError("give one of N, --pause and --reset")
    if not is_set and (for_s is not None or note is not None):
        raise click.UsageError("--for and --note go with N or --pause")
    app = context.obj.app
    with _errors_for_people():
        key = _key(_provider(context), name)
        if is_pause:
            found = limits.pause(app, key, for_s, note or "")
        elif number is not None:
            found = limits.set(app, key, number, for_s, note or "")
        else:
            found = limits.reset(app, key) if is_reset else limits.get(app, key)
    text = json.dumps({"name": key, **found.as_dict()}) if as_json else f"{key}: {found}"
    _say(context, printable(text))
    if not is_reset and not found.is_set:
        context.exit(_FREE)


@locks.command(cls=CeleryCommand)
@click.argument("name")
@click.option(
    "--force",
    is_flag=True,
    help="Also from a holder that may be alive: its run is told that it has lost the lock.",
)
@click.pass_context
def release(context: click.Context, name: str, force: bool) -> None:
    """Free the lock NAME. While its lease lasts the holder keeps it, unless --force is given.

    --force frees the publish lock of NAME too, for example that of a message that was purged.
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
                click.echo(f"{key}: already free, nothing done")
            return
        text = LockView.of(seen).text()
        if seen.is_paused:
            raise click.ClickException(
                f"{text}\nNobody holds it, so nothing was done. To end the pause, use "
                f"`celery -A APP locks limit {key} --reset`."
            )
        if not seen.is_kept and not force:
            raise click.ClickException(
                f"{text}\nThe holder may be alive, so nothing was done. Use --force to take the lock from it."
            )
        if RedisLock(provider.client, key).force_release() and not seen.is_kept:
            tell(Forced(context.obj.app, key, seen.holder))
        publish_pending(context.obj.app, key)
        observing.close()
        what = "kept for its min_hold; released" if seen.is_kept else "taken from its holder"
        whose = ", the next waiter has it" if seen.waiters else ""
        if seen.limit is not None and seen.limit.paused:
            whose = ", and it stays paused"
        click.echo(f"{text}\n{key}: {what}{whose}")


@locks.command(cls=CeleryCommand)
@click.option("--config-only", is_flag=True, help="Look at the configuration alone: no network is used.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--fail-level",
    type=click.Choice(LEVELS),
    default=ERROR,
    show_default=True,
    help="Exit with 1 if there is a finding of this level, or a worse one.",
)
@click.option(
    "--ignore", "ignored", multiple=True, metavar="ID", help="Silence a rule. May be given several times."
)
@click.option(
    "--since",
    "since_s",
    callback=period_s,
    default="7d",
    show_default=True,
    help="How much of the history to look at: 12h, 7d.",
)
@click.pass_context
def doctor(
    context: click.Context,
    config_only: bool,
    as_json: bool,
    fail_level: str,
    ignored: tuple[str, ...],
    since_s: float,
) -> None:
    """Say what is wrong with the locks of the app, and what to do about it.

    Exit status: 0 there is no finding of the --fail-level, 1 there is one, 2 the app or Redis could not be
    reached.
    """
    with _errors_for_people():
        refuse_unknown(ignored, "--ignore")
        reasons = {**dict.fromkeys(ignored, "--ignore is given"), **ignored_by(context.obj.app)}
        configured = _configuration(context)
        if config_only:
            report = examine_configuration(configured, reasons)
        else:
            report = examine(configured, reasons, since_s)
    click.echo(diagnosis.as_json(report) if as_json else diagnosis.as_text(report))
    context.exit(_status(report, fail_level))


@locks.command(cls=CeleryCommand)
@click.option("--port", type=click.IntRange(0, 65535), default=9815, show_default=True, help="0: a free one.")
@click.option("--bind", default="0.0.0.0", show_default=True, help="The address at which it listens.")  # noqa: S104
@click.option(
    "--opentelemetry",
    "by_opentelemetry",
    is_flag=True,
    help="Serve nothing: have OpenTelemetry export them, as the app has set it up.",
)
@click.pass_context
def exporter(context: click.Context, port: int, bind: str, by_opentelemetry: bool) -> None:
    """Tell Prometheus or OpenTelemetry of the locks of all workers, from what Redis knows.

    No worker needs to run. While Redis is away redislock_up is 0.
    """
    app = context.obj.app
    with _errors_for_people():
        if by_opentelemetry:
            exporting.observe(app, _provider(context))
        else:
            exporting.serve(app, _provider(context), bind, port)


def _configuration(context: click.Context) -> Configuration:
    """Return what the app declares, if locks can be taken with its settings."""
    app = context.obj.app
    try:
        configured = Configuration.of(app)
    except RedislockError:
        raise
    except Exception as error:  # a module of the user's may raise anything
        text = f"{type(error).__name__}: {error}"
        raise _NotAsked(f"a module of the app cannot be imported: {text}") from error
    if not is_off(app):
        _provider(context)
    return configured


def _status(report: Report, fail_level: str) -> int:
    if not report.is_redis_reached:
        return _NOT_ASKED
    return int(any(each.is_at_least(fail_level) for each in report.findings))


class _NotAsked(click.ClickException):
    """Redis was not asked: there is no app, a setting is wrong, or Redis is away."""

    exit_code = _NOT_ASKED


@contextmanager
def _errors_for_people() -> Iterator[None]:
    """End the command with the sentence of an error of ours, without a traceback."""
    try:
        yield
    except RedislockError as error:
        raise _NotAsked(str(error)) from error


def _provider(context: click.Context) -> LockProvider:
    app = context.obj.app
    try:
        return provider_of(app)
    except ConfigurationError as error:
        # Celery makes an app of this name when none is given.
        if app.main != "default":
            raise
        raise _NotAsked(f"no app is given: write `celery -A APP locks ...` ({error})") from error


def _usual(context: click.Context) -> Usual:
    """Return what the statistics know; what keeps them from being read is said, and fails nothing."""
    usual = Usual.read(context.obj.app)
    if usual.unread:
        click.echo(f"the statistics of the locks could not be read: {usual.unread}", err=True)
    return usual


def _width() -> int | None:
    """Return how wide the terminal is, or what the variable COLUMNS says; None: neither is there."""
    return shutil.get_terminal_size((0, 0)).columns or None


def _say(context: click.Context, line: str) -> None:
    """Print a line; its colours only on a terminal, and not where they are unwanted (https://no-color.org)."""
    is_plain = getattr(context.obj, "no_color", False) or bool(os.environ.get("NO_COLOR"))
    click.echo(line, color=False if is_plain else None)


def _key(provider: LockProvider, name: str) -> str:
    return name if name.startswith(provider.prefix) else provider.lock_name(name)
