"""ACL: the documented list of commands is enough for all that locks do, and none of it can be left out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
import redis

from celery_redislock import RedisLock, StoreUnavailable
from celery_redislock.config.client import client_from_url
from celery_redislock.config.provider import provider_of
from celery_redislock.doctor import at_start
from celery_redislock.doctor.configuration import Configuration
from celery_redislock.doctor.live import Live
from celery_redislock.engine import inspect_all, reaches, store_of
from celery_redislock.engine.lease.verbs import LockVerbs
from celery_redislock.engine.protocol.exclusive import RENEW, Busy
from celery_redislock.events import Acquired, listen, unlisten
from celery_redislock.messages.headers import PENDING_HEADER
from celery_redislock.observing.background import Background
from celery_redislock.observing.statistics import read
from celery_redislock.observing.statistics_record import LOOKED, Batch, StatisticsRecord, of_task
from celery_redislock.observing.tally import Tally
from celery_redislock.pending.publish import publish_pending

from ...support.applications import application, busy, locked
from ...support.deadlines import eventually
from ...support.rights import COMMANDS, PLACES, more
from ...support.servers import Server
from ...support.topologies import SERVICE, Cluster, Replicated
from ...support.waiting_threads import Waiting

PASSWORD = "hunter2"


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """Give a server for the users of this file."""
    with Server("redis") as server:
        yield server


def add_user(server: Server, commands: list[str]) -> str:
    """Make a user of the server who may do just that, and return its name."""
    name = f"u{uuid4().hex}"
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", name, "reset", "on", f">{PASSWORD}", *PLACES, *commands)
    return name


def use_everything(server: Server, client: Any, *, with_scan: bool = False) -> None:
    """Do all that the engine can do; fail if any of it does."""
    name = f"redislock:{uuid4().hex}"
    with server.client() as admin:
        reaches(client)
        lock = RedisLock(client, name, expire=2, renew=True, metadata={"who": "me"})
        waiters = [RedisLock(client, name, expire=2) for _ in range(3)]
        admin.script_flush()
        assert lock.acquire()
        assert lock.locked()
        assert lock.owned()
        assert lock.renew()
        assert not waiters[0].acquire()
        holder = lock.holder()
        assert holder is not None
        assert holder.metadata == {"who": "me"}
        waiting = [Waiting(waiter, timeout=8, then=release_done) for waiter in waiters[:2]]
        verbs = LockVerbs(store_of(client), name)
        eventually(lambda: _waiters(admin, name) == 2, 3, "they should stand in line")
        assert not waiters[2].acquire(blocking=True, timeout=0.2)
        # A waiter tries again when it is refused a command: here it may not.
        asker = uuid4().hex
        assert isinstance(verbs.acquire(asker, 2000, 1000, "{}"), Busy)
        verbs.sleep([verbs.keys.mailbox(asker)], 0.01, 1.0)
        verbs.leave(asker, within=1.0)
        admin.script_flush()
        eventually(lambda: admin.script_exists(RENEW.sha)[0], 3, "its thread should renew it")
        time.sleep(0.05)
        token = lock.token
        assert token is not None
        assert lock.release()
        assert verbs.release(token, 0, "")  # as after a lost reply
        assert all(each.answer(within=10) for each in waiting)
        kept = RedisLock(client, name, min_hold=0.3)
        assert kept.acquire()
        last = Waiting(waiters[2], timeout=8)
        eventually(lambda: _waiters(admin, name) == 1, 3)
        assert kept.release()
        assert last.answer(within=10)
        assert waiters[0].force_release()
        if with_scan:
            assert lock.acquire()
            assert name in [seen.name for seen in inspect_all(client, "redislock:")]
            assert lock.release()


def release_done(lock: RedisLock) -> None:
    """Release a lock, and say what was done under it."""
    assert lock.release(done="work")


def _waiters(admin: redis.Redis, name: str) -> int:
    return int(admin.zcard(f"redislock.waiters:{{{name}}}"))


def client_of(server: Server, user: str) -> Any:
    """Return a client as tasks have it."""
    url = f"redis://{user}:{PASSWORD}@127.0.0.1:{server.port}/0"
    return client_from_url(url, setting="redislock_url")


def test_the_documented_commands_are_enough(own: Server) -> None:
    use_everything(own, client_of(own, add_user(own, COMMANDS)))


def test_none_of_the_documented_commands_can_be_left_out() -> None:
    """Each is taken away in turn, and then something fails."""

    def works_without(missing: str) -> bool:
        # A server of its own: what is known there after SCRIPT FLUSH is this user's doing.
        with Server("redis") as own:
            user = add_user(own, [command for command in COMMANDS if command != missing])
            try:
                use_everything(own, client_of(own, user))
            except Exception:
                return False
            return True

    with ThreadPoolExecutor(4) as threads:
        needless = [
            command
            for command, works in zip(COMMANDS, threads.map(works_without, COMMANDS), strict=True)
            if works
        ]
    assert needless == []


def test_listing_locks_needs_scan(own: Server) -> None:
    with pytest.raises(Exception, match="scan"):
        use_everything(own, client_of(own, add_user(own, COMMANDS)), with_scan=True)

    use_everything(own, client_of(own, add_user(own, [*COMMANDS, *more("shop locks list")])), with_scan=True)


def test_a_server_that_may_not_be_asked_about_itself_is_no_failure(own: Server) -> None:
    user = add_user(own, COMMANDS)
    app = application(f"redis://{user}:{PASSWORD}@127.0.0.1:{own.port}/0")
    try:
        assert at_start.of_servers(Live(Configuration(app))) == []
    finally:
        app.close()


def test_statistics_need_three_commands_to_be_written_and_three_to_be_read(own: Server) -> None:
    writes, reads = more("writing [statistics]"), more("reading statistics")

    def works_with(commands: list[str]) -> bool:
        user = add_user(own, [*COMMANDS, *commands])
        app = application(f"redis://{user}:{PASSWORD}@127.0.0.1:{own.port}/0")
        name, lock_name = uuid4().hex, f"redislock:{uuid4().hex}"
        batch = Batch(
            {(of_task(name), "acquired", "at_once"): 1, (of_task(name), "conflicts", "skip"): 1},
            {(of_task(name), "interval_ms", ""): 1},
            {(of_task(name), LOOKED, ""): 1},
            {name: [lock_name]},
            {name: [json.dumps([time.time(), lock_name, "id", "", "", "skip"])]},
        )
        try:
            StatisticsRecord(provider_of(app).client, "redislock:").add(batch)
            return read(app).task(name).distinct_locks == len(read(app).task(name).last_conflicts) == 1
        except StoreUnavailable:
            return False
        finally:
            app.close()

    assert works_with([*writes, *reads])
    for command in (*writes, *reads):
        assert not works_with([other for other in (*writes, *reads) if other != command]), command


def test_without_these_rights_a_task_runs_and_one_warning_names_what_is_missing(
    own: Server, caplog: pytest.LogCaptureFixture
) -> None:
    user = add_user(own, COMMANDS)
    app = application(f"redis://{user}:{PASSWORD}@127.0.0.1:{own.port}/0")
    task = locked(app, lambda: "done", name=f"t{uuid4().hex}", lock_on_error="fail")
    background = Background(pause_s=0.001)
    tally = Tally(StatisticsRecord(provider_of(app).client, "redislock:"), (), background, every_s=0.01)
    listen(Acquired, tally.hear)
    try:
        assert [task.apply().get() for _ in range(3)] == ["done"] * 3
        eventually(lambda: "statistics could not be written" in caplog.text)
    finally:
        unlisten(Acquired, tally.hear)
    tally.close()
    assert background.flush(10)

    said = [each.getMessage() for each in caplog.records if "statistics" in each.getMessage()]
    assert len(said) == 1
    assert "HINCRBY" in said[0].upper()
    app.close()


def coalesces(url: str) -> bool:
    """Have two calls find a lock busy, and say whether one of them ran when it was free, for both."""
    # The broker in memory is one for the process: other tests may have left messages in other queues.
    own = uuid4().hex
    app = application(url, task_default_queue=own)
    task = locked(
        app, lambda number: number, name="t", lock_args=(), lock_on_conflict="coalesce", lock_on_error="fail"
    )
    try:
        with busy(task, 1):
            first, last = task.apply((1,)), task.apply((2,))
        publish_pending(app, task.lock_name(1))
        with app.connection_for_read() as connection, connection.SimpleQueue(own) as queue:
            headers = queue.get(timeout=1).headers
        ran = task.apply((2,), task_id=last.id, headers={PENDING_HEADER: headers[PENDING_HEADER]})
        return bool(headers["id"] == last.id and ran.get() == 2 and first.state == "RETRY")
    finally:
        app.close()


def test_coalescing_needs_four_commands_more(own: Server) -> None:
    four = more("coalesce")

    def works_with(allowed: list[str]) -> bool:
        with own.client() as admin:
            admin.flushall()
        user = add_user(own, [*COMMANDS, *allowed])
        try:
            return coalesces(f"redis://{user}:{PASSWORD}@127.0.0.1:{own.port}/0")
        except Exception as error:
            print(repr(error))
            return False

    assert works_with(four)
    assert [word for word in four if works_with([other for other in four if other != word])] == []


def test_min_replicas_needs_wait(replicated: Replicated) -> None:
    master = replicated.master()

    def attempt(*more: str) -> None:
        client = client_of(master, add_user(master, [*COMMANDS, *more]))
        lock = RedisLock(client, f"redislock:{uuid4().hex}", min_replicas=1)
        assert lock.acquire()
        assert lock.release()

    with pytest.raises(Exception, match="wait"):
        attempt()
    attempt(*more("lock_min_replicas"))


def test_a_cluster_needs_two_commands_more(cluster: Cluster) -> None:
    user = f"u{uuid4().hex}"
    rules = ("reset", "on", f">{PASSWORD}", *PLACES, *COMMANDS)

    def allow(*commands: str) -> Any:
        for server in cluster.servers:
            with server.client() as admin:
                admin.execute_command("ACL", "SETUSER", user, *rules, *commands)
        url = cluster.url.replace("://", f"://{user}:{PASSWORD}@")
        return client_from_url(url, setting="redislock_url")

    def use(client: Any) -> None:
        name = f"redislock:{uuid4().hex}"
        lock = RedisLock(client, name, expire=30)
        assert lock.acquire()
        cluster.move(name, pause=lambda: time.sleep(0.05) or lock.locked())
        assert lock.renew()
        assert lock.release()

    in_a_cluster = more("a cluster")
    use(allow(*in_a_cluster))
    for command in in_a_cluster:
        client = allow(*(other for other in in_a_cluster if other != command))
        with pytest.raises(Exception, match=r"NOPERM|no permissions"):
            use(client)
        eventually(cluster.is_whole, 30)


def test_a_sentinel_needs_two_commands(replicated: Replicated) -> None:
    def allow(*commands: str) -> Any:
        user = f"u{uuid4().hex}"
        for sentinel in replicated.sentinels:
            with sentinel.client() as admin:
                rules = ("reset", "on", f">{PASSWORD}", "-@all", *commands)
                admin.execute_command("ACL", "SETUSER", user, *rules)
        options = {"sentinel_kwargs": {"username": user, "password": PASSWORD}}
        return client_from_url(replicated.url, setting="redislock_url", options=options)

    both = more("Sentinels")
    lock = RedisLock(allow(*both), f"redislock:{uuid4().hex}")
    assert lock.acquire()
    assert lock.release()
    for command in both:
        with pytest.raises(Exception, match=SERVICE):
            RedisLock(allow(command), f"redislock:{uuid4().hex}").acquire()
