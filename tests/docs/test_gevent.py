"""gevent and eventlet: the guide is followed with each, and what it says of its tasks holds in both."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..support.servers import Server
from .guide import followed

PAGE = "gevent.md"

CHILDREN = """
import json
from crawl import check
print(json.dumps(check.delay("a.org").get(timeout=60)))
"""

UNLOCKED = """
import json, time
from crawl import fetch
results = [fetch.apply_async(["d.org", f"/{page}"], lock={"mode": "off"}) for page in range(10)]
pages = sorted((result.get(timeout=60) for result in results), key=lambda page: page["began"])
print(json.dumps(sum(first["ended"] > second["began"] for first, second in zip(pages, pages[1:]))))
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_one_request_at_a_time_reaches_each_host(pool: str, own_server: Server, tmp_path: Path) -> None:
    pytest.importorskip(pool)
    with followed(PAGE, own_server, tmp_path, places={"-P gevent": f"-P {pool}"}) as reader:
        assert f"concurrency: 100 ({pool})" in reader.log("worker")
        assert reader.python(UNLOCKED) > 0, "without the lock they overlap"
        if pool == "gevent":  # the page's `check` spawns greenlets of gevent
            assert reader.python(CHILDREN) == [0, 1, 2]
        assert "its lease ran out" in reader.log("second")
