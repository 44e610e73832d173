"""Publishers: a crew of processes that publish the same call at the same time, again and again."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis

from ...mutants import publishing as wrong
from ...support import processes
from ...support.deadlines import eventually
from ...support.stores import STORE
from ..ends.ends_app import build

#: Seconds that one burst may take on a busy machine.
_PATIENCE = 60


class Crew:
    """Some processes with an application of their own each, which wait for orders.

    Args:
        store: ``redis://host:port``, without a database.
        size: How many.
        double: Name of a wrong publish lock that they use; empty: the right one.
    """

    def __init__(self, store: str, size: int, double: str = "") -> None:
        self._store, self._size, self._double = store, size, double
        self._orders = redis.Redis.from_url(f"{store}/4", decode_responses=True, socket_timeout=_PATIENCE + 5)
        self._stack = ExitStack()
        self._name = uuid4().hex

    def __enter__(self) -> Crew:
        self._stack.callback(self._orders.close)
        output = self._stack.enter_context(tempfile.NamedTemporaryFile(prefix="crew-"))
        for number in range(self._size):
            command = [sys.executable, "-m", __name__, self._store, f"{self._name}:{number}", self._double]
            member = processes.start(command, output=output, env={**os.environ, STORE: self._store})
            self._stack.callback(processes.end_group, member, grace=0)
        ready = f"{self._name}:ready"
        try:
            eventually(lambda: self._orders.llen(ready) == self._size or _failed(output.name), _PATIENCE)
            assert self._orders.llen(ready) == self._size, Path(output.name).read_text()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def publish(self, calls: int, task: str, args: list[Any], **options: Any) -> list[str]:
        """Have so many equal calls published, divided among all; return the ids that were answered."""
        answers = uuid4().hex
        order = json.dumps(
            {"times": calls // self._size, "task": task, "args": args, "options": options, "answers": answers}
        )
        with self._orders.pipeline() as together:
            for number in range(self._size):
                together.rpush(f"{self._name}:{number}", order)
            together.execute()
        ids: list[str] = []
        for _ in range(self._size):
            answer = self._orders.blpop([answers], timeout=_PATIENCE)
            assert answer is not None, "a member should have answered"
            ids += json.loads(answer[1])
        assert len(ids) == calls
        return ids


def _failed(output: str) -> bool:
    return "Traceback" in Path(output).read_text(errors="replace")


def _member(store: str, name: str, double: str) -> None:
    """Publish what is ordered, until killed."""
    if double:
        wrong.install(double)
    app = build(store)
    orders = redis.Redis.from_url(f"{store}/4", decode_responses=True)
    with app.connection_for_write() as connection:
        connection.ensure_connection()
    orders.rpush(f"{name.partition(':')[0]}:ready", name)
    while True:
        found = orders.blpop([name], timeout=1)
        if found is None:
            continue
        order = json.loads(found[1])
        task = app.tasks[order["task"]]
        ids = [task.apply_async(order["args"], **order["options"]).id for _ in range(order["times"])]
        orders.rpush(order["answers"], json.dumps(ids))


if __name__ == "__main__":
    _member(*sys.argv[1:])
