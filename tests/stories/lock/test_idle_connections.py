"""Idle connections: trusted for as long as they can be, few, and gone with the user's own connections."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from typing import Any
from weakref import ref

import pytest
import redis
from redis.credentials import CredentialProvider

from celery_redislock import RedisLock, StoreUnavailable
from celery_redislock.engine.transport import server as servers
from celery_redislock.engine.transport.clients import store_of
from celery_redislock.engine.transport.store import KEPT

from ...support.arena import Arena
from ...support.deadlines import eventually
from ...support.servers import Server
from ...support.versions import not_with_redis_5_0_0

NAME = "idle"
#: What a call may take on a link without delay, seconds: much less than a time-out.
AT_ONCE_S = 0.6


def connections(client: redis.Redis) -> int:
    """Count the connections of the clients that these tests make."""
    return sum(known["name"] == NAME for known in client.client_list())


def at_the_same_time(count: int, call: Callable[[int], object]) -> None:
    """Call in so many threads, each of which needs a connection of its own."""
    together = threading.Barrier(count)

    def work(number: int) -> None:
        together.wait()
        call(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def use(client: redis.Redis, count: int = 6) -> None:
    """Leave some idle connections."""
    store = store_of(client)
    at_the_same_time(count, lambda _: store.ask(("BLPOP", "nothing there", "0.1"), 2.0))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have some seconds pass quickly."""
    monkeypatch.setattr(servers, "SURPLUS_S", 0.3)
    monkeypatch.setattr(servers, "TIDIED_EACH_S", 0.1)


@pytest.fixture
def own(one_arena: Arena) -> redis.Redis:
    """Give a client whose connections can be counted."""
    return one_arena.make_victim(client_name=NAME, socket_timeout=None)


@pytest.mark.usefixtures("quick")
def test_surplus_connections_go_some_seconds_after_their_last_use(own: redis.Redis, one_arena: Arena) -> None:
    others = set(threading.enumerate())  # of clients of earlier tests, which take longer
    use(own, 20)
    assert connections(one_arena.client) > KEPT

    eventually(lambda: connections(one_arena.client) <= KEPT, 3)

    assert connections(one_arena.client) > 0
    started = [thread for thread in threading.enumerate() if thread not in others]
    eventually(lambda: not any("tidying" in thread.name for thread in started if thread.is_alive()), 2)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("close", marks=not_with_redis_5_0_0("its close() leaves the pool open")),
        "disconnect",
    ],
)
def test_no_connection_is_left_when_the_users_own_connections_are_closed(
    own: redis.Redis, one_arena: Arena, how: str
) -> None:
    use(own)
    assert connections(one_arena.client) > 1

    (own.close if how == "close" else own.connection_pool.disconnect)()

    eventually(lambda: connections(one_arena.client) == 0, 2)
    assert RedisLock(own, NAME).acquire(), "it should open anew, as redis-py does"


def test_a_connection_that_is_used_while_the_pool_is_closed_is_not_kept(
    own: redis.Redis, one_arena: Arena
) -> None:
    store = store_of(own)
    using = threading.Thread(target=store.ask, args=(("BLPOP", "nothing there", "0.3"), 2.0))
    using.start()
    eventually(lambda: connections(one_arena.client) == 1, 2)

    own.connection_pool.disconnect()
    using.join()

    eventually(lambda: connections(one_arena.client) == 0, 2)


def test_a_pool_is_not_kept_alive(server: Server) -> None:
    client = redis.Redis(port=server.port)
    assert RedisLock(client, f"{NAME} pool").acquire()
    pool = ref(client.connection_pool)

    del client
    gc.collect()

    assert pool() is None


@pytest.mark.parametrize("interval", [0.2, 0])
def test_no_call_pays_for_connections_that_a_firewall_has_forgotten(
    one_arena: Arena, interval: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not interval:
        monkeypatch.setattr(servers, "TRUSTED_S", 0.2)
    client = one_arena.make_victim(health_check_interval=interval, socket_timeout=None)
    use(client, 4)
    time.sleep(0.3)
    one_arena.proxy.forget_connections()
    began_at = time.monotonic()

    assert RedisLock(client, NAME).acquire()

    assert time.monotonic() - began_at < AT_ONCE_S


def test_a_connection_that_answers_is_used_again_however_long_it_was_idle(
    own: redis.Redis, one_arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "TRUSTED_S", 0.05)
    lock = RedisLock(own, NAME)
    assert lock.acquire()
    before = one_arena.client.info("stats")["total_connections_received"]
    time.sleep(0.1)

    assert lock.renew()

    assert one_arena.client.info("stats")["total_connections_received"] == before


def test_connections_that_the_server_has_closed_cost_nothing(own: redis.Redis, one_arena: Arena) -> None:
    use(own)
    one_arena.client.client_kill_filter(_type="normal", skipme=True)
    began_at = time.monotonic()

    for number in range(3):
        assert RedisLock(own, f"{NAME} {number}").acquire()

    assert time.monotonic() - began_at < AT_ONCE_S


def test_a_connection_with_something_to_read_is_not_used(own: redis.Redis) -> None:
    store: Any = store_of(own)
    assert store.call(("ECHO", "right")) == b"right"
    store._idle[-1]._sock.sendall(b"*2\r\n$4\r\nECHO\r\n$5\r\nwrong\r\n")
    time.sleep(0.1)

    assert store.call(("ECHO", "right")) == b"right"


def ask_for_passwords(own_server: Server, *passwords: str) -> None:
    """Let ann in with one of these only."""
    with own_server.client() as admin:
        admin.acl_setuser("ann", enabled=True, reset_passwords=True, passwords=[f"+{p}" for p in passwords])
        admin.acl_setuser("ann", enabled=True, categories=["+@all"], keys=["*"])


def test_a_rotated_password_is_seen_and_held_locks_are_renewed_on(own_server: Server) -> None:
    ask_for_passwords(own_server, "old")
    with redis.Redis(port=own_server.port, username="ann", password="old") as client:
        held = RedisLock(client, NAME, expire=1, renew=True)
        assert held.acquire()
        ask_for_passwords(own_server, "new")
        client.connection_pool.connection_kwargs["password"] = "new"
        with own_server.client() as admin:
            admin.client_kill_filter(_type="normal", skipme=True)

        assert RedisLock(client, f"{NAME} another").acquire()
        time.sleep(1.5)
        assert held.owned()
        assert not held.lost
        assert held.release()


class Rotating(CredentialProvider):
    """Says what it was told last."""

    password = "old"

    def get_credentials(self) -> tuple[str, str]:
        """Return the words for a new connection."""
        return "ann", self.password


def test_a_credential_provider_is_asked_at_each_new_connection(own_server: Server) -> None:
    ask_for_passwords(own_server, "old")
    words = Rotating()
    with redis.Redis(port=own_server.port, credential_provider=words) as client:
        assert RedisLock(client, f"{NAME} before").acquire()
        ask_for_passwords(own_server, "new")
        words.password = "new"
        client.connection_pool.disconnect()

        assert RedisLock(client, f"{NAME} after").acquire()

        words.password = "wrong"
        client.connection_pool.disconnect()
        with pytest.raises(StoreUnavailable, match="password is wrong"):
            RedisLock(client, f"{NAME} wrong").acquire()
