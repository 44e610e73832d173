"""Outage: Redis of the locks is away before a body begins; what `lock_on_error` says is done."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from celery_redislock.errors import StoreUnavailable

from ...support.deadlines import eventually
from ...support.proxy import Proxy
from ...support.servers import Server, available_kinds, free_port
from . import figures
from .ends_app import build
from .rows import POOLS, shows
from .stage import Stage, new_key, stage_with_worker


@dataclass
class Scene:
    """A worker whose locks are on a server that can fail in every way."""

    stage: Stage
    server: Server
    proxy: Proxy
    pool: str

    @contextmanager
    def fault(self, how: str) -> Iterator[None]:
        """Have the server fail for the length of a ``with`` block."""
        begin, end = FAULTS[how]
        with self.server.client() as locks:
            # A result is there before its lock is released: the fault would strike an earlier test's release.
            eventually(lambda: not locks.keys("redislock:*"))
        begin(self)
        try:
            yield
        finally:
            end(self)

    def config(self, *settings: str | int) -> None:
        """Set settings of the server."""
        with self.server.client(password=None) as client:
            client.execute_command("CONFIG", "SET", *settings)

    def replica_of(self, host: str, port: str | int) -> None:
        with self.server.client() as client:
            client.execute_command("REPLICAOF", host, port)

    def password(self, word: str) -> None:
        """Ask for a password, or no longer."""
        with self.server.client() as client:
            client.execute_command("CONFIG", "SET", "requirepass", word)
            # Those that are connected may stay without one.
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def no_password(self) -> None:
        with self.server.client(password="secret") as client:
            client.execute_command("CONFIG", "SET", "requirepass", "")


FAULTS: dict[str, tuple[Callable[[Scene], object], Callable[[Scene], object]]] = {
    "refused": (lambda s: s.proxy.cut(), lambda s: s.proxy.heal()),
    "hung": (lambda s: s.proxy.blackhole(), lambda s: s.proxy.heal()),
    "replica": (
        lambda s: s.replica_of("127.0.0.1", free_port()),
        lambda s: s.replica_of("NO", "ONE"),
    ),
    "full": (lambda s: s.config("maxmemory", 1), lambda s: s.config("maxmemory", 0)),
    "password": (lambda s: s.password("secret"), lambda s: s.no_password()),
}

#: What each failure is called, in the error that a user sees.
SAYS = {
    "refused": "cannot be reached",
    "hung": "does not answer",
    "replica": "read-only replica",
    "full": "maxmemory limit",
    "password": "password is wrong, or missing",
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(pool, marks=() if pool == "prefork" else pytest.mark.slow) for pool in POOLS],
)
def scene(store: str, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """Give a worker of each pool whose locks are behind a network of the test's own."""
    with ExitStack() as stack:
        server = stack.enter_context(Server(available_kinds()[0]))
        proxy = stack.enter_context(Proxy(server.port))
        settings = {"redislock_url": proxy.url}
        stage = stack.enter_context(
            stage_with_worker(
                store, f"away-{request.param}", pool=request.param, concurrency=4, settings=settings
            )
        )
        yield Scene(stage, server, proxy, request.param)


@shows("away, retry", "away, fail", "away, run")
@pytest.mark.parametrize("how", list(FAULTS))
def test_each_failure_is_named_and_a_task_waits_for_its_end_fails_or_runs_as_it_is_told(
    how: str, scene: Scene
) -> None:
    stage, keys = scene.stage, {word: new_key() for word in ("retry", "fail", "run", "give up")}
    options = {
        "retry": {"retry_delay": [0.2, 0.4]},
        "fail": {"on_error": "fail"},
        "run": {"on_error": "run"},
        "give up": {"retry_delay": [0.2, 0.4], "on_conflict": "retry", "retry_for": 0.5},
    }
    began = time.monotonic()
    with scene.fault(how):
        results = {
            word: stage.send("plain", key, ["give", 1], lock=options[word]) for word, key in keys.items()
        }

        for word in ("fail", "give up"):
            assert stage.state_of(results[word], 40) == "FAILURE (StoreUnavailable)", word
            assert SAYS[how] in str(results[word].result)
            assert not stage.journal.entries(keys[word])
        assert results["run"].get(timeout=20) == 1
        assert f"Task plain[{results['run'].id}] runs UNLOCKED" in stage.worker.log()
        stage.worker.wait_for_log(f"Task plain[{results['retry'].id}] is published again, to run in")
        eventually(lambda: results["retry"].state == "RETRY")
        assert not stage.journal.entries(keys["retry"]), "it ran without a lock"
        if how == "refused":
            shown = [line for line in stage.worker.log().splitlines() if results["retry"].id in line]
            assert not [line for line in shown if "ERROR" in line]
    healed = time.monotonic()

    assert results["retry"].get(timeout=20) == 1
    took = stage.begun(keys["retry"], results["retry"])["at"]
    assert took > began
    with scene.server.client() as locks:
        eventually(lambda: not locks.keys("redislock:*"), 10, "all tasks should have released")
    for word in ("retry", "fail", "run"):
        # Of the one that waited: from the return of Redis until its body began.
        seconds = took - healed if word == "retry" else None
        state, overlaps = stage.state_of(results[word]), stage.journal.overlaps(keys[word])
        figures.note(f"away, {word}", scene.pool, state, seconds, overlaps, how)
    stage.runs_equal("plain", keys["retry"])


def test_a_wrong_password_is_named_and_not_shown(store: str) -> None:
    with Server(available_kinds()[0], password="right") as server:
        url = f"redis://:wrong-one@127.0.0.1:{server.port}/0"
        app = build(store, redislock_url=url, redislock_on_error="fail")

        result = app.tasks["plain"].apply(("a", ["give", 1]))
        app.close()

    assert isinstance(result.result, StoreUnavailable)
    assert "password is wrong" in str(result.result)
    assert "wrong-one" not in str(result.result) + str(result.traceback)


class _Loading(socketserver.BaseRequestHandler):
    """A server that has just begun to load its data."""

    def handle(self) -> None:
        while request := self.request.recv(65536):
            # One reply for each command of a pipeline.
            for _ in range(max(1, request.count(b"*"))):
                self.request.sendall(b"-LOADING Redis is loading the dataset in memory\r\n")


class _Local(socketserver.ThreadingTCPServer):
    daemon_threads = True


def test_a_server_that_loads_its_data_is_named(store: str) -> None:
    with _Local(("127.0.0.1", 0), _Loading) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            app = build(store, redislock_url=f"redis://127.0.0.1:{server.server_address[1]}/0")
            with pytest.raises(StoreUnavailable, match="loading its data"):
                app.tasks["plain"].lock_for("a").acquire()
            app.close()
        finally:
            server.shutdown()
            thread.join()


def test_a_soft_limit_that_strikes_while_the_lock_is_granted_leaves_no_lock_behind(scene: Scene) -> None:
    if scene.pool != "prefork":
        pytest.skip("Celery has no soft limits there")
    stage, key = scene.stage, new_key()
    with scene.server.client() as locks:
        # The script is known to the server from here on, and nobody else has a use for it.
        stage.runs_equal("plain", key)
        eventually(lambda: not locks.keys("redislock:*"), 10, "earlier tasks should have released")
        # Granted, and the worker never hears of it.
        scene.proxy.swallow_replies(1, matching=b"EVALSHA")
        result = stage.send("plain", key, ["give", 1], soft_time_limit=0.5)
        assert stage.state_of(result) == "FAILURE (SoftTimeLimitExceeded)"
        name = stage.lock_name("plain", key)
        eventually(lambda: not locks.exists(name), 3, "the lock should be free")
    stage.runs_equal("plain", key)
