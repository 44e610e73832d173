"""Statistics: all of a prefix are in one slot, so a cluster adds them in one step."""

from __future__ import annotations

import time

from celery_redislock.config.client import client_from_url
from celery_redislock.observing.statistics_record import LOOKED, Batch, StatisticsRecord, of_task

from ...support.topologies import Cluster

TASK = of_task("shop.import_csv")


def test_a_cluster_keeps_them(cluster: Cluster) -> None:
    client = client_from_url(cluster.url, setting="redislock_url")
    for prefix in ("statistics:", "", "}"):
        record = StatisticsRecord(client, prefix)
        record.add(
            Batch(
                {(TASK, "acquired", "at_once"): 3},
                times={(TASK, "hold", "7"): 3, (TASK, LOOKED, ""): 3},
                locks={"shop.import_csv": ["a", "b", "c"]},
                conflicts={"shop.import_csv": ["[]"]},
            )
        )

        now_s = time.time()
        found, _ = record.read(now_s, now_s)

        assert found[TASK].counts == {("acquired", "at_once"): 3}
        assert found[TASK].times == {"hold": {7: 3}}
        assert record.different_locks(["shop.import_csv"], now_s, now_s) == {"shop.import_csv": 3}
        assert record.last_conflicts(["shop.import_csv"]) == {"shop.import_csv": [[]]}
