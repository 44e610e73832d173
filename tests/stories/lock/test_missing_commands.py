"""Missing commands: what a user may not do, or a proxy does not know, is named; nothing hangs or spins."""

from __future__ import annotations

import logging
import re
import select
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis

import celery_redislock.engine
from celery_redislock import RedisLock, RedislockError, StoreUnavailable
from celery_redislock.engine import reaches

from ...support import rights
from ...support.arena import companion
from ...support.deadlines import eventually
from ...support.servers import Server

#: What a user must be allowed.
COMMANDS = [word.removeprefix("+") for word in rights.COMMANDS]
PASSWORD = "hunter2"
NAME = "redislock:half allowed"


@pytest.fixture(scope="module")
def own(server: Server) -> Iterator[Server]:
    """Give a server for the users of this file."""
    with Server(server.kind) as own:
        yield own


@pytest.fixture
def without(own: Server) -> Iterator[Callable[[str], redis.Redis]]:
    """Make clients who may do everything but one command."""
    clients: list[redis.Redis] = []

    def make(missing: str) -> redis.Redis:
        name = f"u{uuid4().hex}"
        rules = [f"+{command}" for command in COMMANDS if command != missing]
        with own.client() as admin:
            admin.flushall()
            user = ("reset", "on", f">{PASSWORD}", *rights.PLACES, *rules)
            admin.execute_command("ACL", "SETUSER", name, *user)
        options = {"client_name": "named"} if missing == "client|setname" else {}
        clients.append(redis.Redis(port=own.port, username=name, password=PASSWORD, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def test_the_page_names_every_command_that_a_script_calls() -> None:
    scripts = Path(celery_redislock.__file__).parent.rglob("*.lua")
    called = {
        name.lower() for path in scripts for name in re.findall(r"redis\.call\('(\w+)'", path.read_text())
    }

    purposes = ("coalesce", "LockedScheduler", "writing [statistics]", "locks limit")
    listed = {*rights.COMMANDS, *(each for purpose in purposes for each in rights.more(purpose))}
    assert called <= {word.removeprefix("+") for word in listed}


# -- a sleep that is refused


def test_a_waiter_that_may_not_sleep_is_told_at_once_and_by_name(
    own: Server, without: Callable[[str], redis.Redis]
) -> None:
    client = without("blpop")
    with own.client() as admin:
        assert RedisLock(admin, NAME, expire=60).acquire()
        began_at = time.monotonic()

        with pytest.raises(StoreUnavailable, match=r"(?i)blpop") as told:
            RedisLock(client, NAME, expire=60).acquire(blocking=True)

        assert time.monotonic() - began_at < 1
        assert told.value.__cause__ is not None
        assert admin.zcard(companion("waiters", NAME)) == 0, "it has left the line"


def test_all_waiters_of_a_process_are_told(own: Server, without: Callable[[str], redis.Redis]) -> None:
    client = without("blpop")
    told: list[Exception] = []

    def wait() -> None:
        try:
            RedisLock(client, NAME, expire=60).acquire(blocking=True, timeout=20)
        except StoreUnavailable as error:
            told.append(error)

    with own.client() as admin:
        assert RedisLock(admin, NAME, expire=60).acquire()
        threads = [threading.Thread(target=wait) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(8)

    assert len(told) == 5


class ProxyWithout(socketserver.ThreadingTCPServer):
    """A proxy that answers BLPOP in its own way, or with the end of the connection."""

    daemon_threads = True

    def __init__(self, server: Server, answer: bytes | None) -> None:
        super().__init__(("127.0.0.1", 0), _Link)
        self.upstream, self.answer, self.refused = server.port, answer, 0
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Link(socketserver.BaseRequestHandler):
    server: ProxyWithout

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.upstream)) as upstream, suppress(OSError):
            while True:
                for ready in select.select([self.request, upstream], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    if ready is upstream:
                        self.request.sendall(data)
                    elif b"BLPOP" not in data:
                        upstream.sendall(data)
                    elif not self.refuses():
                        return

    def refuses(self) -> bool:
        """Refuse a sleep; return whether the connection goes on."""
        self.server.refused += 1
        if self.server.answer is not None:
            self.request.sendall(self.server.answer)
        return self.server.answer is not None


@pytest.mark.parametrize(
    "answer",
    [
        b"-ERR unknown command 'BLPOP', with args beginning with: \r\n",
        b"-ERR unsupported command\r\n",
        b"-invalid request\r\n",
        b"-ERR This instance has no blocking commands\r\n",
    ],
)
def test_a_proxy_that_refuses_the_sleep_is_told_at_once(server: Server, answer: bytes) -> None:
    with (
        ProxyWithout(server, answer) as proxy,
        server.client() as admin,
        redis.Redis(port=proxy.port) as client,
    ):
        admin.flushall()
        assert RedisLock(admin, NAME, expire=60).acquire()
        began_at = time.monotonic()

        with pytest.raises(StoreUnavailable, match="BLPOP"):
            RedisLock(client, NAME, expire=60).acquire(blocking=True)

        assert time.monotonic() - began_at < 1
        admin.flushall()


def test_a_proxy_that_hangs_up_at_the_sleep_is_asked_seldom_and_warned_of_once(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """As twemproxy does with a command that it does not know."""
    with (
        ProxyWithout(server, None) as proxy,
        server.client() as admin,
        redis.Redis(port=proxy.port) as client,
    ):
        admin.flushall()
        holder = RedisLock(admin, NAME, expire=60)
        assert holder.acquire()
        got: list[bool] = []
        lock = RedisLock(client, NAME, expire=60)
        with caplog.at_level(logging.WARNING):
            waiting = threading.Thread(target=lambda: got.append(lock.acquire(blocking=True, timeout=30)))
            waiting.start()
            eventually(lambda: proxy.refused >= 5, 10, "it should go on trying")
            before, began_at = proxy.refused, time.monotonic()
            time.sleep(4)
            often = (proxy.refused - before) / (time.monotonic() - began_at)
            assert holder.release()
            waiting.join(5)

        assert got == [True], "it gets the lock all the same"
        assert often <= 1.1, "a question a second or fewer"
        warnings = [record for record in caplog.records if "BLPOP" in record.getMessage()]
        assert len(warnings) == 1
        assert lock.release()
        admin.flushall()


# -- each command of the page's list


class Use:
    """What a lock does, and what it meets.

    Args:
        client: May not use one of the commands.
        admin: May do everything.
    """

    def __init__(self, client: redis.Redis, admin: redis.Redis) -> None:
        self.client, self.admin = client, admin
        self.met: list[str] = []

    def tries(self, verb: Callable[[], object]) -> None:
        """Do something, and remember what it meets."""
        try:
            verb()
        except (RedislockError, redis.RedisError) as error:
            self.met.append(str(error))

    def everything(self) -> None:
        """Take, look, renew, wait, release early and late, and force."""
        self.tries(lambda: reaches(self.client))
        lock = RedisLock(self.client, NAME, expire=1, renew=True, metadata={"who": "me"})
        for verb in (lock.acquire, lock.locked, lock.owned, lock.holder, lock.renew):
            self.tries(verb)
        self.admin.script_flush()
        if not lock.token:
            self.admin.set(NAME, "a stranger", px=60_000)
        self.tries(RedisLock(self.client, NAME).acquire)
        wait_until(self.in_line(0.4))
        waiting = self.in_line(1)
        time.sleep(0.1)
        self.tries(lock.release)
        wait_until(waiting)
        kept = RedisLock(self.client, NAME, min_hold=0.2)
        for verb in (kept.acquire, kept.release, kept.force_release):
            self.tries(verb)

    def in_line(self, timeout: float) -> list[threading.Thread]:
        """Have some wait in line."""

        def wait() -> None:
            lock = RedisLock(self.client, NAME, expire=5)
            self.tries(lambda: lock.acquire(blocking=True, timeout=timeout) and lock.release(done="work"))

        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        return threads


def wait_until(threads: list[threading.Thread]) -> None:
    """Return when all have ended, soon."""
    for thread in threads:
        thread.join(8)
        assert not thread.is_alive(), "it hangs"


@pytest.mark.parametrize("missing", COMMANDS)
def test_a_command_that_is_not_allowed_is_named(
    missing: str, own: Server, without: Callable[[str], redis.Redis], caplog: pytest.LogCaptureFixture
) -> None:
    with own.client() as admin, caplog.at_level(logging.WARNING):
        use = Use(without(missing), admin)
        admin.config_resetstat()
        use.everything()

    told = [*use.met, *(record.getMessage() for record in caplog.records)]
    named = re.compile(rf"(?i)\b{missing.replace('|', '[| ]')}\b")
    assert any(named.search(text) for text in told), told
    with own.client() as admin:
        assert asked(admin) < 150, "it spins"


def asked(admin: redis.Redis) -> int:
    """Return how many scripts and sleeps the server was asked for."""
    stats: dict[str, Any] = admin.info("commandstats")
    verbs = ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_blpop")
    seen = (stats.get(verb, {}) for verb in verbs)
    return sum(each.get("calls", 0) + each.get("rejected_calls", 0) for each in seen)
