"""Takeover: the leader is struck in every way; another goes on, and nothing is sent twice."""

from __future__ import annotations

import signal
import time

import pytest

from ...support.deadlines import eventually
from ...support.servers import Server
from .beats import BLOWS, Group, strike
from .ticks import Clerk
from .trial import is_in_order, on_trial


def test_another_beat_takes_over_whatever_happens_and_nothing_is_sent_twice(own_server: Server) -> None:
    on_trial(Group(own_server), [*BLOWS, *BLOWS])


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("blow", BLOWS)
def test_twenty_blows_send_nothing_twice_and_starve_no_entry(own_server: Server, blow: str) -> None:
    on_trial(Group(own_server), [blow] * 20)


def test_a_leader_whose_clock_is_stepped_sends_nothing_early_and_does_not_stop(own_server: Server) -> None:
    group = Group(own_server)
    with group.running(), Clerk(group.broker).at_work() as clerk:
        for hours in (1, -1, 0):
            group.leader().step_clock(hours)
            sent = len(clerk.ticks)
            eventually(lambda sent=sent: len(clerk.ticks) > sent + 5, 20, "it should go on")
        group.leader().step_clock(1)
        strike(group, "SIGKILL")
        sent = len(clerk.ticks)
        eventually(lambda: len(clerk.ticks) > sent + 5, 20, "the next leader should go on")

        is_in_order(clerk, group, 1)
        monotonic = time.time() - time.monotonic()
        assert [tick for tick in clerk.ticks if tick.due > tick.arrived + monotonic + 0.05] == []


def test_no_beat_sends_while_redis_is_away_and_each_says_so(own_server: Server) -> None:
    group = Group(own_server)
    # The messages go another way than the locks.
    group.env = {"BEAT_BROKER": group.broker}
    with group.running(), Clerk(group.broker).at_work() as clerk:
        eventually(lambda: clerk.ticks, 20, "the leader should send")
        for beat in group.beats:
            beat.network.cut()
        for beat in group.beats:
            beat.wait_for_log("beat: nothing is sent")
        sent = len(clerk.ticks)
        time.sleep(3)
        assert len(clerk.ticks) == sent

        for beat in group.beats:
            beat.network.heal()
        eventually(lambda: len(clerk.ticks) > sent + 5, 20, "a beat should send again")

        is_in_order(clerk, group, 0, away_s=20)


def test_the_leader_is_listed_with_its_host_and_process(own_server: Server) -> None:
    group = Group(own_server)
    with group.running():
        holder = group.holder()

        assert holder is not None
        assert holder.metadata["role"] == "leader"
        assert holder.metadata["task"] == "celery beat"
        assert holder.metadata["host"]
        assert int(holder.metadata["pid"]) in [beat.pid for beat in group.beats]


def test_a_beat_that_stands_by_ends_at_once_and_leaves_the_line(own_server: Server) -> None:
    group = Group(own_server)
    with group.running():
        leader = group.leader()
        other = next(beat for beat in group.beats if beat is not leader)

        other.send_signal(signal.SIGTERM)

        assert other.wait() == 0
        group.beats.remove(other)
        assert group.leader_pid() == leader.pid
        group.stands_by(0)
