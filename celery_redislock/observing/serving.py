"""Serving: the port from which Prometheus takes the metrics of a worker with all its children, or of a beat.

With the pool "prefork" the parent serves what all its children have counted. If each child did, the first
would have the port, and the others would be seen by nobody.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from celery import Celery

from . import prometheus, zeros
from .metric_settings import PROMETHEUS, hold_buckets_of, is_wanted, package_of, port_of

logger = logging.getLogger(__name__)

#: Those that run in this process.
_servers: list[Any] = []


def serve_worker(app: Celery) -> None:
    """Serve the metrics of a worker, from its parent process, if the settings ask for it.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    if is_wanted(app, PROMETHEUS):
        _serve(app, zeros.of_worker)


def serve_beat(sender: Any = None, **_: Any) -> None:
    """At ``beat_init``: serve the metrics of this beat; a beat beside a worker leaves it to the worker.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    if is_wanted(sender.app, PROMETHEUS):
        _serve(sender.app, zeros.of_beat)


def end(**_: Any) -> None:
    """At ``worker_shutdown``: serve nothing any more in this process."""
    while _servers:
        server = _servers.pop()
        server.shutdown()
        server.server_close()


def _serve(app: Celery, expected: zeros.Expected) -> None:
    package, port = package_of(app, PROMETHEUS), port_of(app)
    if port is None:
        return
    registry = package.CollectorRegistry()
    registry.register(zeros.WithZeros(prometheus.source(package), app, expected, hold_buckets_of(app)))
    try:
        server, _ = package.start_http_server(port, registry=registry)
    except OSError as error:
        logger.warning("locks: no metrics are served: port %d cannot be had (%s)", port, error)
        return
    _servers.append(server)
    logger.info("locks: metrics at http://%s:%d/metrics", *server.server_address[:2])


def _close_what_was_inherited() -> None:
    """In the child of a fork: a socket of its parent would keep the port when the parent has ended."""
    for server in _servers:
        server.socket.close()
    _servers.clear()


os.register_at_fork(after_in_child=_close_what_was_inherited)
