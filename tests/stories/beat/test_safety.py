"""Safety: each check passes on our scheduler, and fails on one that leaves out what it is about."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from ...support.deadlines import eventually
from ...support.servers import Server
from ...support.workers import running_worker
from .beats import LOCK, LOCKED, Group, strike
from .ticks import INTERVALS, RUNS, Clerk, sent_too_soon, sent_twice
from .wrapped import GATE, HELD_UP, REACHED

SENT = f"redislock.ledger:{{{LOCK}}}"


def the_next_leader_goes_on_from_what_was_sent_last(scheduler: str, server: Server) -> None:
    group = Group(server, scheduler=scheduler)
    with group.running(), Clerk(group.broker).at_work() as clerk:
        for _ in range(2):
            eventually(lambda: clerk.of("every five"), 20, "the slowest entry should be sent")
            strike(group, "SIGTERM")
            sent = len(clerk.ticks)
            eventually(lambda sent=sent: len(clerk.ticks) > sent + 5, 20, "the next leader should send")

        ticks = list(clerk.ticks)
    assert sent_twice(ticks) == [], "sent twice"
    assert sent_too_soon(ticks, INTERVALS) == [], "sent too soon"


def who_stood_still_sends_nothing_when_it_comes_back(scheduler: str, server: Server) -> None:
    group = Group(server, scheduler=scheduler, wrapped="tests.stories.beat.wrapped:Halting")
    with group.running(), Clerk(group.broker).at_work() as clerk:
        pid = int(eventually(lambda: group.client.get(REACHED), 30, "a tick should be held up") or 0)
        held_up = next(beat for beat in group.beats if beat.pid == pid)
        claimed = int(group.client.hget(SENT, HELD_UP).split()[0])
        eventually(lambda: group.leader_pid() not in (0, pid), 20, "a beat that hangs should be replaced")

        group.client.set(GATE, "open")

        held_up.wait_for_log("no longer the leader")
        late = [tick for tick in clerk.of(HELD_UP) if round(tick.due * 1000) == claimed]
        assert late == [], "sent after the lease was over"


#: Check -> the scheduler that fails it, and in what words.
CHECKS = {
    the_next_leader_goes_on_from_what_was_sent_last: ("SendsWithoutAClaim", "too soon|twice"),
    who_stood_still_sends_nothing_when_it_comes_back: ("SendsWithoutALook", "lease was over"),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_our_scheduler_is_safe(check, own_server: Server) -> None:
    check(LOCKED, own_server)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_wrong_scheduler_is_caught(check, own_server: Server) -> None:
    wrong, words = CHECKS[check]
    with pytest.raises(AssertionError, match=words):
        check(f"tests.mutants.beats:{wrong}", own_server)


def test_the_task_sees_each_tick_once(own_server: Server) -> None:
    group = Group(own_server)
    environment = {
        "BEAT_LOCKS": own_server.url,
        "BEAT_BROKER": group.broker,
        "BEAT_TTL": "2",
        "BEAT_MAX_INTERVAL": "1",
        "BEAT_SCHEDULER": "celery.beat:PersistentScheduler",
    }
    with group.running(), running_worker("tests.stories.beat.beat_app", env=environment, pool="solo"):
        for _ in range(2):
            runs = group.client.llen(RUNS)
            eventually(lambda runs=runs: group.client.llen(RUNS) > runs + 3, 20, "the task should run")
            strike(group, "SIGKILL")
        runs = group.client.llen(RUNS)
        eventually(lambda: group.client.llen(RUNS) > runs + 3, 20, "the task should run")
        seen = Counter(group.client.lrange(RUNS, 0, -1))

    assert max(seen.values()) == 1
    assert {json.loads(tick)["entry"] for tick in seen} >= {"every second", "every two"}
