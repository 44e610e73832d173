"""Migration from RedBeat's lock: its schedule goes on, and no due time is sent twice."""

from __future__ import annotations

import json
from pathlib import Path

import redis

from celery_redislock.messages.headers import BEAT_HEADER

from ...support.deadlines import eventually
from ...support.servers import Server
from .guide import followed

ADD_AN_ENTRY = """
import json
from after import app
from celery.schedules import schedule
from redbeat import RedBeatSchedulerEntry
RedBeatSchedulerEntry("added at runtime", "clock.tick", schedule(1), app=app).save()
print(json.dumps(True))
"""

COMMAND = "celery -A after beat --scheduler celery_redislock.beat:LockedScheduler --loglevel INFO"


def test_the_schedule_of_redbeat_goes_on_under_another_lock(own_server: Server, tmp_path: Path) -> None:
    with (
        followed("migrate_from_redbeat.md", own_server, tmp_path) as reader,
        redis.Redis(port=own_server.port) as broker,
        redis.Redis(port=own_server.port, db=1) as redbeat,
    ):
        assert reader.python(ADD_AN_ENTRY)
        eventually(lambda: "due task added at runtime" in reader.log("two"), 60, "it should be sent")
        assert not redbeat.exists("redbeat::lock"), "RedBeat's own lock should not be taken"
        reader.stop("two")

        # A beat of before was killed, and has left its lock behind.
        redbeat.set("redbeat::lock", "of a killed beat", ex=1500)
        reader.start("three", COMMAND, "beat: now the leader")

        def ticks() -> list[tuple[str, ...]]:
            messages = [json.loads(message)["headers"] for message in broker.lrange("celery", 0, -1)]
            return [tuple(headers[BEAT_HEADER].values()) for headers in messages if BEAT_HEADER in headers]

        eventually(lambda: "due task every two seconds" in reader.log("three"), 60, "it should send")
        eventually(lambda: len(ticks()) > 3, 60, "more should be sent")
        reader.stop("three")

        assert len(ticks()) == len(set(ticks()))
