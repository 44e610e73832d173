"""A rate-limited API: one call at a time, and never more in a minute than the page says."""

from __future__ import annotations

from pathlib import Path

from ...support.servers import Server
from .guide import followed

FIVE_CALLS = """
import json, time
from geocoding import find, name

options = {options}
started = time.time()
results = [find.apply_async([str(number)], lock=options) for number in range(3)]
results += [name.apply_async([number, 1], lock=options) for number in range(2)]
calls = sorted((result.get(timeout=60) for result in results), key=lambda call: call["began"])
together = sum(first["ended"] > second["began"] for first, second in zip(calls, calls[1:]))
print(json.dumps([time.time() - started, together]))
"""


def test_five_calls_of_two_tasks_go_one_by_one_a_second_apart(own_server: Server, tmp_path: Path) -> None:
    with followed("rate_limited_api.md", own_server, tmp_path) as reader:
        took, together = reader.python(FIVE_CALLS.format(options="{}"))
        assert (took >= 4, together) == (True, 0)

        took, together = reader.python(FIVE_CALLS.format(options='{"wait": 30}'))
        assert (took >= 4, together) == (True, 0)

        # The control: without the lock all are sent at once.
        took, together = reader.python(FIVE_CALLS.format(options='{"mode": "off"}'))
        assert together > 0
