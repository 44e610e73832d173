"""Trial: one leader after the other is struck, and what the broker got is judged."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from ...support.deadlines import eventually
from .beats import Group, strike
from .ticks import EVERY_MINUTE, INTERVALS, Clerk, longest_gap, published_again, sent_too_soon, sent_twice

#: What a busy machine may add to any time, seconds.
BUSY_S = 4.0

#: Seconds within which another leads: by the contract, beside the lease for those who cannot give it back.
WITHIN_S = {"SIGTERM": 2.0}


def is_in_order(clerk: Clerk, group: Group, blows: int, away_s: float = 0) -> None:
    """Say what the ticks and the takeovers show, and check them; for `away_s` seconds Redis may be away."""
    ticks = list(clerk.ticks)
    gaps = {entry: longest_gap(ticks, entry) for entry in INTERVALS}
    shown = ", ".join(f"{entry} {gap:.2f} s" for entry, gap in gaps.items())
    twice = sent_twice(ticks)
    print(
        f"\n{blows} blows, {len(ticks)} ticks, {len(twice)} sent twice "
        f"({published_again(ticks)} published again after a lost reply); longest gaps: {shown}; "
        f"takeovers: {group.figures()}",
        file=sys.stderr,
    )
    assert twice == []
    assert sent_too_soon(ticks, INTERVALS) == []
    for entry, interval in INTERVALS.items():
        # A message may go down with its sender, so that the next is that of the next interval.
        assert gaps[entry] < 2 * interval + group.ttl + 1 + away_s + BUSY_S, f"{entry} was starved"
    for blow, times in group.takeovers.items():
        assert max(times) < WITHIN_S.get(blow, group.ttl + 1) + BUSY_S, blow


def strike_often(group: Group, clerk: Clerk, blows: Sequence[str]) -> None:
    """Strike leader after leader, each once it has sent something."""
    for blow in blows:
        sent = len(clerk.ticks)
        eventually(lambda sent=sent: len(clerk.ticks) > sent + 2, 20, "the leader should send")
        strike(group, blow)
    sent = len(clerk.ticks)
    eventually(lambda: len(clerk.ticks) > sent + 5, 20, "the last leader should send")


def on_trial(group: Group, blows: Sequence[str]) -> None:
    """Strike the leaders of two beats, and judge the ticks; the scheduled minutes too."""
    with group.running(), Clerk(group.broker).at_work() as clerk:
        began = time.time()
        strike_often(group, clerk, blows)

        is_in_order(clerk, group, len(blows))
        minutes = [tick.due for tick in clerk.of(EVERY_MINUTE)]
        # The last one may be on its way still.
        assert set(range(int(began) // 60 * 60 + 60, int(time.time()) - 60, 60)) <= set(minutes)
