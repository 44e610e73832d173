"""Agent: a process in a contender's environment; calls what it is told and answers in JSON, a line each."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from typing import Any

from benchmarks.contest import end_with_parent
from benchmarks.environments import WITHOUT_HIREDIS


def main() -> None:
    """Answer until the other side closes the pipe, or dies."""
    end_with_parent()
    if os.environ.get(WITHOUT_HIREDIS):
        sys.modules["hiredis"] = None  # type: ignore[assignment]  # importing it fails from now on
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints must not get between the answers
    for line in sys.stdin:
        replies.write(json.dumps(_answer(json.loads(line))) + "\n")


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    module, _, function = request["function"].partition(":")
    try:
        return {"result": getattr(importlib.import_module(module), function)(**request["arguments"])}
    except Exception:  # noqa: BLE001 - whatever it is, the other side shows it
        return {"error": traceback.format_exc()}


if __name__ == "__main__":
    main()
