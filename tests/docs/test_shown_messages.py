"""Shown messages: what a page of troubleshooting shows is what its readers really get."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import redis
import redis.asyncio
import valkey
from celery import Celery, Task, chain
from redis.sentinel import Sentinel

import celery_redislock
from celery_redislock import RedisLock, locked_batch, locked_task
from celery_redislock.beat import LockedScheduler
from celery_redislock.config.provider import provider_of

from .test_troubleshooting import FOLDER, lines_of
from .walkthrough import expected_in

Way = Callable[[], object]


def import_csv(path: Any, chunk_size: int = 1000) -> None: ...


async def fetch() -> None: ...


def fetch_rows() -> Any:
    yield


fetch_rows.__name__ = "fetch"


def app_with(**settings: Any) -> Celery:
    app = Celery("shop", set_as_current=False)
    app.conf.update({"broker_url": "memory://", "redislock_url": "redis://localhost:6379/0", **settings})
    return app


def declared(function: Callable[..., Any] = import_csv, **options: Any) -> Any:
    """Declare a task as its users do, and return it."""
    app = app_with()
    name = f"shop.{function.__name__}"
    task = locked_task(app=app, name=name, shared=False, **options)(function)
    app.finalize()
    return task


def call(how: str, *args: Any, **options: Any) -> Way:
    return lambda: getattr(declared(), how)(*args, **options)


def task(function: Callable[..., Any] = import_csv, **options: Any) -> Way:
    return partial(declared, function, **options)


def argument(**given: Any) -> Way:
    """Name the lock of a call with an argument of some name."""

    def import_csv(**given: Any) -> None: ...

    return lambda: declared(import_csv).lock_name(**given)


def named_by(key: Any, order: Any) -> Way:
    """Name the lock of a call by a `lock_key`."""

    def import_csv(order: Any) -> None: ...

    return lambda: declared(import_csv, lock_key=key).lock_name(order)


def settings(**given: Any) -> Way:
    return lambda: provider_of(app_with(**given))


def url(text: object) -> Way:
    return settings(redislock_url=text)


def client_options(**given: Any) -> Way:
    return settings(redislock_client_options=given)


def lock(client: Any = None, name: Any = "stock", **options: Any) -> Way:
    return lambda: RedisLock(redis.Redis() if client is None else client, name, **options)


def beat(**given: Any) -> Way:
    return lambda: LockedScheduler(app_with(**given))


def batch() -> Any:
    return locked_batch(chain(declared().s("a.csv")), lock_key="nightly")


def of_shop(kind: type) -> type:
    kind.__module__, kind.__qualname__ = "shop", kind.__name__
    return kind


@of_shop
class Session: ...


@of_shop
class SimpleLazyObject:
    __class__ = dict  # type: ignore[assignment] # as Django's, it says that it is what it stands for


@of_shop
class Row:
    def __json__(self) -> str:
        raise KeyError


@of_shop
class LazyClient:
    def __getattr__(self, name: str) -> Any:
        return getattr(redis.Redis(), name)


#: A class with an attribute of ours; one that cannot be combined with ours.
HIDING = type("CompanyTask", (Task,), {"lock": None, "abstract": True})
APART = type("CompanyTask", (int,), {})

ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)
DEEP: list[Any] = []
for _ in range(200):
    DEEP = [DEEP]

#: Page -> what a reader of it did.
DONE: dict[str, list[Way]] = {
    "argument_in_a_name": [
        argument(session=Session()),
        argument(rows=ENDLESS),
        argument(rows=DEEP),
        argument(price=float("nan")),
        argument(user=SimpleLazyObject()),
        argument(row={1: "a", "1": "b"}),
        argument(row=Row()),
        named_by("import:{order.id}", "a"),
        named_by("import:{order}", {"id": 7}),
        named_by(lambda order: {}[order], "a"),
        named_by(lambda order: 7, "a"),
        named_by(lambda order: "", "a"),
        named_by(lambda order: "\ud800", "a"),
    ],
    "async_def": [task(fetch), task(fetch_rows)],
    "batch_refused": [
        lambda: locked_batch([declared().s("a.csv")], lock_key="nightly"),  # type: ignore[arg-type]
        lambda: locked_batch(declared().s("a.csv"), lock_key=""),
        lambda: locked_batch(declared().s("a.csv"), lock_key="nightly", lock_on_conflict="replace"),
        lambda: chain(batch(), declared().si("b.csv")).freeze(),
        lambda: batch().apply_async(lock_ttl=5),
    ],
    "beat_settings": [
        beat(redislock_beat_name=""),
        beat(redislock_beat_scheduler="celery_redislock.beat:LockedScheduler"),
        beat(redislock_beat_scheduler="celery:Celery"),
        beat(redislock_beat_scheduler="django_celery_beat.schedulers:DatabseScheduler"),
    ],
    "call_options": [
        call("apply_async", ("a.csv",), lock=7),
        call("apply_async", ("a.csv",), lock={"key": import_csv}),
    ],
    "contradicting_options": [
        task(lock_key="a", lock_args=["path"]),
        task(lock_retry_for=5, lock_on_conflict="skip"),
        task(lock_min_hold=9, lock_max_hold=5),
        task(lock_scope="task", lock_on_conflict="retry"),
    ],
    "engine_arguments": [
        lock(redis.asyncio.Redis()),
        lock(valkey.Valkey()),
        lock(redis.Redis().pipeline()),
        lock(LazyClient()),
        lock(Sentinel([("localhost", 26379)]).slave_for("mymaster")),  # type: ignore[no-untyped-call]
        lock(name=7),
        lock(name="\ud800"),
        lock(name="redislock.holder"),
        lock(metadata={"id": 7}),
        lock(on_lost="stop"),
    ],
    "lock_args_and_lock_key": [
        task(lock_args="path"),
        task(lock_args=["path", "path"]),
        task(lock_args=["pth"]),
        task(lock_key=7),
        task(lock_key="import:{0}"),
        task(lock_key="import:{path._x}"),
        task(lock_key="import:{path!r}"),
        task(lock_key="import:{path"),
        task(lock_key=lambda self, path: path),
    ],
    "map_starmap_chunks": [call("map", ["a.csv"])],
    "misspelt_name": [
        task(lock_tll=5),
        task(ttl=5),
        task(redislock_ttl=5),
        task(lock={"ttl": 5}),
        call("apply_async", ("a.csv",), lock={"tll": 5}),
        call("apply_async", ("a.csv",), lock_ttl=5),
        settings(redislock_tll=5),
        settings(REDISLOCK_TTL=5),
        lambda: celery_redislock.LockedTsk,  # type: ignore[attr-defined]
    ],
    "no_redis_for_the_locks": [
        settings(redislock_url=None),
        url(""),
        settings(redislock_prefix=7),
    ],
    "task_classes": [
        task(base=HIDING),
        task(base=APART),
        task(base="shpo.tasks:CompanyTask"),
        task(base=7),
    ],
    "wrong_client_options": [
        settings(redislock_client_options=[1]),
        client_options(socket_timout=5),
        client_options(host="localhost"),
        client_options(socket_timeout=-1),
        client_options(ssl_cert_reqs="never"),
        client_options(credential_provider="shop.redis:Credentails"),
        client_options(ssl_ca_certs="ca.pem"),
        client_options(retry=7),
        settings(redislock_url="sentinel://a?service=m", redislock_client_options={"sentinel_kwargs": 7}),
        settings(
            redislock_url="redis://u:p@localhost:6379/0",
            redislock_client_options={
                "credential_provider": redis.UsernamePasswordCredentialProvider("u", "p")
            },
        ),
    ],
    "wrong_url": [
        url("localhost:6379"),
        url("http://localhost:6379"),
        url("redis://a,b"),
        url("redis://localhost:99999"),
        url("redis://:p@ss#@localhost/0#"),
        url("redis://:a@localhost?password=b"),
        url("redis://localhost/zero"),
        url("redis://localhost/1?db=2"),
        url("unix://localhost"),
        url("redis://localhost?db"),
        url("redis://localhost?socket_timout=5"),
        url("redis://localhost?ssl_ca_certs=ca.pem"),
        url("redis://localhost?socket_timeout=0"),
        url("redis://localhost?socket_keepalive=perhaps"),
        url("redis://localhost?db=zero"),
        url("rediss://localhost?ssl_cert_reqs=never"),
        url("sentinel://localhost"),
        url("sentinel://a;redis://b"),
        url("sentinel://a:0;sentinel://b"),
        url("sentinel://a/1;sentinel://b/2"),
        url("redis+cluster://localhost/1"),
    ],
    "wrong_value": [
        task(lock_ttl="30"),
        task(lock_ttl=[30]),
        task(lock_ttl=-5),
        beat(redislock_beat_ttl=0.5),
        lock(expire=0),
        task(lock_on_conflict="skpi"),
        task(lock_retry_delay=5),
        task(lock_retry_delay=(60, 1)),
        task(lock_retry_delay=(0, 60)),
        task(lock_retry_delay=(1, None)),
        task(lock_min_replicas=-1),
    ],
}

CASES = [(page, number, way) for page, ways in DONE.items() for number, way in enumerate(ways)]


@pytest.mark.parametrize(("page", "way"), [pytest.param(p, w, id=f"{p}-{n}") for p, n, w in CASES])
def test_what_a_user_gets_is_on_the_page(page: str, way: Way) -> None:
    with pytest.raises(Exception) as caught:
        way()

    assert any(expected_in(line, str(caught.value)) for line in lines_of(FOLDER / f"{page}.md")), caught.value


@pytest.mark.parametrize(
    "text", re.findall(r"\| `(\w[\w+]*://[^`]+)`", (FOLDER / "wrong_url.md").read_text("utf-8"))
)
def test_a_url_that_a_page_calls_valid_is_taken(text: str) -> None:
    url(text)()
