"""The database: SQLite in a file by default, PostgreSQL with ``DATABASE_URL``."""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.pool import NullPool

metadata = MetaData()

#: `last_fencing_token` is the highest fencing token that ever worked on the account.
accounts = Table(
    "accounts",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("balance", BigInteger, nullable=False),
    Column("last_fencing_token", BigInteger, nullable=False, server_default="0"),
)

#: All departures from New York City in 2013, as in the file; missing values are NULL.
flights = Table(
    "flights",
    metadata,
    *(Column(name, Integer) for name in ("year", "month", "day")),
    *(Column(name, Float) for name in ("dep_time", "sched_dep_time", "dep_delay")),
    *(Column(name, Float) for name in ("arr_time", "sched_arr_time", "arr_delay")),
    Column("carrier", String(2)),
    Column("flight", Integer),
    *(Column(name, String(6)) for name in ("tailnum", "origin", "dest")),
    *(Column(name, Float) for name in ("air_time", "distance", "hour", "minute")),
    Column("time_hour", String(20)),
)


def connect(url: str | None = None) -> Engine:
    """Return an engine on `url`, else ``DATABASE_URL``, else ``example.sqlite3`` right here.

    Nothing is pooled: an engine may be made before a worker forks and be used after it.
    """
    address = make_url(url or os.environ.get("DATABASE_URL") or "sqlite:///example.sqlite3")
    if address.drivername == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    if address.get_backend_name() != "sqlite":
        return create_engine(address, poolclass=NullPool)
    # A writer waits for another one, so that concurrent imports mix instead of failing.
    engine = create_engine(address, poolclass=NullPool, connect_args={"timeout": 60})
    event.listen(engine, "connect", _let_readers_and_a_writer_work_at_once)
    return engine


def create_tables() -> None:
    """Make the tables that are missing."""
    metadata.create_all(connect())


def recreate_tables(url: str | None = None) -> None:
    """Drop the project's tables, with what is in them, and make them anew."""
    engine = connect(url)
    metadata.drop_all(engine)
    metadata.create_all(engine)


def _let_readers_and_a_writer_work_at_once(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


if __name__ == "__main__":
    create_tables()
