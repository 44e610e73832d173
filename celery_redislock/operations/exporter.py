"""Exporter: ``celery -A APP locks exporter`` serves what Redis knows of the locks of all workers."""

from __future__ import annotations

from contextlib import suppress

import click
from celery import Celery

from ..config.provider import LockProvider
from ..errors import ConfigurationError
from ..observing.fleet import Fleet
from ..observing.zeros import locked_tasks


def export(app: Celery, provider: LockProvider, bind: str, port: int) -> None:
    """Serve until the process is told to end.

    Args:
        app: Whose locked tasks are there in any case.
        provider: Of the app.
        bind: The address at which it listens.
        port: The port; 0: one that is free.

    Raises:
        ConfigurationError: `prometheus_client` is not installed.
        ClickException: The port cannot be had.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError as error:
        raise ConfigurationError(
            "locks exporter needs prometheus_client: pip install celery-redislock[prometheus]"
        ) from error
    # Tasks that no module has declared yet are not among the app's.
    app.loader.import_default_modules()
    registry = CollectorRegistry()
    registry.register(Fleet(provider, lambda: locked_tasks(app)))
    try:
        server, thread = start_http_server(port, bind, registry=registry)
    except OSError as error:
        raise click.ClickException(f"locks exporter cannot listen at {bind}, port {port}: {error}") from error
    click.echo(f"metrics at http://{bind}:{server.server_address[1]}/metrics")
    with suppress(KeyboardInterrupt):
        thread.join()
    server.shutdown()
    server.server_close()
