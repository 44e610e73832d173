"""Exporter: ``celery -A APP locks exporter`` tells monitors what Redis knows of the locks of all workers."""

from __future__ import annotations

import threading
from contextlib import suppress

import click
from celery import Celery

from ..config.provider import LockProvider
from ..errors import ConfigurationError
from ..observing.fleet import Fleet
from ..observing.fleet_gauges import FleetGauges, has_provider
from ..observing.zeros import locked_tasks


def serve(app: Celery, provider: LockProvider, bind: str, port: int) -> None:
    """Serve Prometheus until the process is told to end.

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
    registry = CollectorRegistry()
    registry.register(_fleet(app, provider))
    try:
        server, thread = start_http_server(port, bind, registry=registry)
    except OSError as error:
        raise click.ClickException(f"locks exporter cannot listen at {bind}, port {port}: {error}") from error
    click.echo(f"metrics at http://{bind}:{server.server_address[1]}/metrics")
    with suppress(KeyboardInterrupt):
        thread.join()
    server.shutdown()
    server.server_close()


def observe(app: Celery, provider: LockProvider) -> None:
    """Have OpenTelemetry observe the locks until the process is told to end.

    What exports is set up by the module of the app, or by ``opentelemetry-instrument``.

    Args:
        app, provider: As of `serve`.

    Raises:
        ConfigurationError: OpenTelemetry is not installed, or nothing is set up that exports.
    """
    try:
        from opentelemetry import metrics
    except ImportError as error:
        raise ConfigurationError(
            "locks exporter --opentelemetry needs OpenTelemetry: pip install celery-redislock[opentelemetry]"
        ) from error
    fleet = _fleet(app, provider)
    if not has_provider(metrics):
        raise ConfigurationError(
            "locks exporter --opentelemetry has nothing that exports metrics: have the module that -A names "
            "set a MeterProvider, or start the command with opentelemetry-instrument"
        )
    FleetGauges(metrics, fleet)  # OpenTelemetry keeps it
    click.echo("metrics of all locks are exported by OpenTelemetry")
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


def _fleet(app: Celery, provider: LockProvider) -> Fleet:
    # Tasks that no module has declared yet are not among the app's.
    app.loader.import_default_modules()
    return Fleet(provider, lambda: locked_tasks(app))
