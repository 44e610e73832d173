"""Ledger: a due time is claimed once, by the leader alone, when it has come by the server's clock."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import redis

from celery_redislock import RedisLock, StoreUnavailable
from celery_redislock.beat.ledger import KEPT_MS, Ledger, Sent, Verdict
from celery_redislock.engine.protocol.keys import keys_of

from ...support.proxy import Proxy
from ...support.servers import Server

LOCK = "leader"
SENT = keys_of(LOCK).ledger


@pytest.fixture
def client(any_server: Server) -> Iterator[redis.Redis]:
    with any_server.client() as client:
        client.flushall()
        yield client
        client.flushall()


@pytest.fixture
def ledger(client: redis.Redis) -> Ledger:
    return Ledger(client, LOCK)


@pytest.fixture
def token(client: redis.Redis) -> str:
    client.set(LOCK, "the token of the leader")
    return "the token of the leader"


@pytest.fixture
def now_ms(ledger: Ledger) -> int:
    return ledger.read()[1]


def test_a_due_time_is_claimed_once(ledger: Ledger, token: str, now_ms: int) -> None:
    first = ledger.claim(token, "a", now_ms - 5, "one")
    second = ledger.claim(token, "a", now_ms - 5, "two")

    assert (first.verdict, second.verdict) == (Verdict.CLAIMED, Verdict.TAKEN)
    assert first.sent == second.sent == Sent(now_ms - 5, first.now_ms)


def test_a_due_time_before_one_that_was_claimed_is_taken(ledger: Ledger, token: str, now_ms: int) -> None:
    ledger.claim(token, "a", now_ms, "one")

    assert ledger.claim(token, "a", now_ms - 1, "two").verdict is Verdict.TAKEN
    assert ledger.claim(token, "b", now_ms - 1, "three").verdict is Verdict.CLAIMED


def test_a_claim_sent_twice_is_granted_twice(ledger: Ledger, token: str, now_ms: int) -> None:
    first = ledger.claim(token, "a", now_ms, "one")

    assert ledger.claim(token, "a", now_ms, "one").sent == first.sent
    assert ledger.claim(token, "a", now_ms, "one").verdict is Verdict.CLAIMED


def test_only_the_leader_claims(client: redis.Redis, ledger: Ledger, token: str, now_ms: int) -> None:
    assert ledger.claim("another", "a", now_ms, "one").verdict is Verdict.NOT_LEADING
    client.delete(LOCK)
    assert ledger.claim(token, "a", now_ms, "two").verdict is Verdict.NOT_LEADING
    assert not client.exists(SENT)


def test_what_is_not_due_by_the_servers_clock_is_not_claimed(
    client: redis.Redis, ledger: Ledger, token: str, now_ms: int
) -> None:
    answer = ledger.claim(token, "a", now_ms + 60_000, "one")

    assert answer.verdict is Verdict.NOT_YET
    assert answer.now_ms >= now_ms
    assert not client.exists(SENT)


def test_of_many_claims_at_once_one_is_granted(ledger: Ledger, token: str, now_ms: int) -> None:
    verdicts = []
    threads = [
        threading.Thread(
            target=lambda mark=mark: verdicts.append(ledger.claim(token, "a", now_ms, mark).verdict)
        )
        for mark in map(str, range(16))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(verdicts) == [Verdict.TAKEN] * 15 + [Verdict.CLAIMED]


def test_a_lost_reply_is_no_refusal(any_server: Server, client: redis.Redis, token: str, now_ms: int) -> None:
    with Proxy(any_server.port) as proxy, redis.Redis.from_url(proxy.url) as far:
        ledger = Ledger(far, LOCK)
        ledger.read()
        proxy.drop_connection_after_request(1, matching=b"EVALSHA")

        assert ledger.claim(token, "a", now_ms, "one").verdict is Verdict.CLAIMED
        assert proxy.fired == 1


def test_what_was_seen_first_stays_what_it_is(ledger: Ledger, token: str, now_ms: int) -> None:
    ledger.note_seen("a", now_ms - 9)
    ledger.note_seen("a", now_ms)
    assert ledger.read()[0] == {"a": Sent(0, now_ms - 9)}

    ledger.claim(token, "a", now_ms, "one")
    ledger.note_seen("a", now_ms)
    assert ledger.read()[0]["a"].due_ms == now_ms


def test_nothing_is_kept_for_ever(client: redis.Redis, ledger: Ledger, token: str, now_ms: int) -> None:
    client.hset(SENT, "old", f"1 {now_ms - KEPT_MS - 1} x")
    ledger.claim(token, "new", now_ms, "one")

    assert set(ledger.read()[0]) == {"new"}
    assert client.hkeys(SENT) == [b"new"]
    assert 0 < client.pttl(SENT) <= KEPT_MS


@pytest.mark.parametrize("protocol", [2, 3])
def test_it_reads_both_protocols(any_server: Server, token: str, now_ms: int, protocol: int) -> None:
    with any_server.client(protocol=protocol, decode_responses=True) as client:
        ledger = Ledger(client, LOCK)
        ledger.claim(token, "ä", now_ms, "one")

        assert ledger.read()[0]["ä"].due_ms == now_ms


def test_a_claim_leaves_the_lock_as_it_is(client: redis.Redis) -> None:
    lock, ledger = RedisLock(client, LOCK), Ledger(client, LOCK)
    assert lock.acquire()

    assert ledger.claim(lock.token or "", "a", ledger.read()[1], "one").verdict is Verdict.CLAIMED
    assert lock.owned()
    assert lock.release()


def test_an_outage_is_told(fake_client: redis.Redis) -> None:
    ledger = Ledger(fake_client, LOCK)
    fake_client.connection_pool.connection_kwargs["server"].connected = False

    with pytest.raises(StoreUnavailable, match=LOCK):
        ledger.read()
