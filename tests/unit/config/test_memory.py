"""Memory: a Redis in this process, in which time passes at a word, and which no other process is let into."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis
from celery import Celery

from celery_redislock import ConfigurationError, RedisLock, StoreUnavailable
from celery_redislock.config import memory
from celery_redislock.config.location import store_settings
from celery_redislock.config.memory import MemoryRedis, client_of
from celery_redislock.config.provider import provider_of
from celery_redislock.testing import LockStore

from ...support.deadlines import eventually
from ...support.waiting_threads import Waiting

NAME = "a lock"


@pytest.fixture
def there() -> MemoryRedis:
    return MemoryRedis()


# ---- time


def a_lease_ends_when_its_time_is_over(there: MemoryRedis) -> None:
    dead, next_one = RedisLock(there.client, NAME, expire=30), RedisLock(there.client, NAME)
    assert dead.acquire()

    there.advance(29)
    assert not next_one.acquire()
    there.advance(2)
    assert next_one.acquire(), "time has not passed"
    assert next_one.release()


def who_renews_goes_on_to_hold_it(there: MemoryRedis) -> None:
    with RedisLock(there.client, NAME, expire=30, renew=True) as lock:
        there.advance(3600)

        assert lock.owned(), "who renews its lease has lost it"
        assert lock.renew()


def so_does_one_of_several(there: MemoryRedis) -> None:
    dead = RedisLock(there.client, NAME, expire=30, limit=2)
    assert dead.acquire()
    with RedisLock(there.client, NAME, expire=30, limit=2, renew=True) as lock:
        there.advance(31)

        assert [holder.fencing_token for holder in lock.holders()] == [lock.fencing_token]


def waiters_keep_their_places(there: MemoryRedis) -> None:
    """To the server they would be dead: they said how long they would sleep, and that time is over."""
    dead = RedisLock(there.client, NAME, expire=30)
    assert dead.acquire()
    waiting = []
    for place in (1, 2, 3):
        waiting.append(Waiting(RedisLock(there.client, NAME, expire=30), timeout=60))
        eventually(lambda place=place: there.client.zcard(f"redislock.waiters:{{{NAME}}}") == place)
    there.advance(20)
    there.advance(20)

    for each in waiting:
        eventually(lambda each=each: each.lock.owned(), 5, "it should have come in, in its turn")
        assert each.lock.release()
        each.join(5)


PROMISES = [
    a_lease_ends_when_its_time_is_over,
    who_renews_goes_on_to_hold_it,
    so_does_one_of_several,
    waiters_keep_their_places,
]


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_time_passes_for_the_dead_and_the_living_live_on(
    promise: Callable[[MemoryRedis], None], there: MemoryRedis
) -> None:
    promise(there)


class OnlyTheServersClock(MemoryRedis):
    """Time passes for the server alone."""

    def _prolong(self, *_: Any) -> None: ...


class NoTime(MemoryRedis):
    """It stands still."""

    def time(self) -> float:
        return 1_700_000_000.0


@pytest.mark.parametrize(
    ("wrong", "promise"),
    [
        (NoTime, a_lease_ends_when_its_time_is_over),
        (OnlyTheServersClock, who_renews_goes_on_to_hold_it),
        (OnlyTheServersClock, so_does_one_of_several),
    ],
)
def test_a_wrong_clock_is_caught(wrong: type[MemoryRedis], promise: Callable[[MemoryRedis], None]) -> None:
    with pytest.raises(AssertionError):
        promise(wrong())


# ---- a server that is away, and other processes


def test_it_can_be_away_and_keeps_what_it_has(there: MemoryRedis) -> None:
    lock, other = (RedisLock(there.client, NAME, expire=30) for _ in range(2))
    assert lock.acquire()

    there.go_down()
    with pytest.raises(StoreUnavailable):
        other.acquire()
    there.come_back()

    assert not other.acquire()
    assert lock.release()


# Python from 3.12 on warns of any fork while there are threads.
@pytest.mark.filterwarnings("ignore:This process", "ignore:Using fork")
def test_the_child_of_a_fork_is_refused(there: MemoryRedis) -> None:
    """What it took there nobody else would see: that would be no lock."""
    assert RedisLock(there.client, NAME).acquire()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:  # no assertion here: the child ends at once, whatever happens
        try:
            RedisLock(there.client, "another").acquire()
            told = "it was let in"
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
        os.write(writing, told.encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writing)

    assert os.read(reading, 500).decode().startswith("ConfigurationError: locks in memory")
    os.close(reading)


# ---- memory:// in the settings


def app_with(**settings: Any) -> Celery:
    return Celery("in memory", set_as_current=False, changes={"redislock_url": "memory://", **settings})


@pytest.mark.parametrize(
    "settings",
    [{"broker_url": "memory://"}, {"broker_url": "memory://localhost/"}, {"task_always_eager": True}],
    ids=str,
)
def test_all_apps_of_a_process_have_one_store(settings: dict[str, Any]) -> None:
    one, other = app_with(**settings), app_with(**settings)

    assert provider_of(one).client is provider_of(other).client
    assert provider_of(one).client.ping()


@pytest.mark.parametrize(
    "settings",
    [{}, {"broker_url": "redis://localhost/0"}, {"broker_url": "amqp://localhost//"}],
    ids=str,
)
def test_it_is_refused_where_tasks_run_in_other_processes(settings: dict[str, Any]) -> None:
    """Each would have a store of its own, and so no lock."""
    with pytest.raises(ConfigurationError, match="redislock_url setting is memory://, and the broker is not"):
        provider_of(app_with(**settings))


@pytest.mark.parametrize("url", ["memory://host", "memory://localhost/0", "memory://?db=1"])
def test_it_takes_no_address(url: str) -> None:
    with pytest.raises(ConfigurationError, match="memory:// takes neither a host nor anything else"):
        provider_of(app_with(redislock_url=url, task_always_eager=True))


@pytest.mark.parametrize("setting", ["broker_url", "result_backend"])
def test_celerys_own_memory_keeps_no_locks(setting: str) -> None:
    app = Celery("in memory", set_as_current=False, changes={setting: "memory://"})

    with pytest.raises(ConfigurationError, match="no Redis server for the locks"):
        provider_of(app)


def test_who_has_no_fakeredis_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "find_spec", lambda _: None)

    with pytest.raises(ConfigurationError, match=r"install celery_redislock\[pytest\]"):
        MemoryRedis()


# ---- a store takes the place of the settings


def test_a_store_takes_the_place_of_any_redis_and_gives_it_back(app: Celery, client: redis.Redis) -> None:
    before = provider_of(app)
    with LockStore() as store:
        assert provider_of(app).client is store.client
        assert store_settings(app.conf).url != before.settings.url
        with LockStore() as inner:
            assert provider_of(app).client is inner.client
        assert provider_of(app).client is store.client

    after = provider_of(app)
    assert after.settings == before.settings
    assert after.client.ping()


def test_two_stores_do_not_see_each_other() -> None:
    one, other = MemoryRedis(), MemoryRedis()

    assert RedisLock(one.client, NAME).acquire()
    assert RedisLock(other.client, NAME).acquire()
    assert one.url != other.url


def test_threads_that_ask_first_get_one_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_of_process", {})
    got: list[redis.Redis] = []
    threads = [threading.Thread(target=lambda: got.append(client_of("memory://"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({id(client) for client in got}) == 1
