"""Crew: the agents of a run, one for each contender, started when first needed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from .contenders import CONTENDERS
from .environments import MAIN, python_of, variables_of


class AgentError(RuntimeError):
    """A call failed in an agent; the text is the agent's traceback."""


class Agent:
    """One agent process.

    Args:
        environment: Which Python it runs.
        variables: More environment variables.
    """

    def __init__(self, environment: str = MAIN, variables: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [python_of(environment), "-m", "benchmarks.agent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**variables_of(environment), **(variables or {})},
        )

    def call(self, function: Callable[..., Any] | str, **arguments: Any) -> Any:
        """Call a function, or what "module:function" names, in the agent; all passes through JSON.

        Raises:
            AgentError: It raised there, or the agent has died.
        """
        assert self._process.stdin
        assert self._process.stdout
        path = function if isinstance(function, str) else f"{function.__module__}:{function.__qualname__}"
        request = {"function": path, "arguments": arguments}
        self._process.stdin.write(json.dumps(request) + "\n")
        reply = self._process.stdout.readline()
        if not reply:
            raise AgentError(f"the agent ended with exit code {self._process.wait()}")
        answer = json.loads(reply)
        if "error" in answer:
            raise AgentError(answer["error"])
        return answer["result"]

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


class Crew:
    """All agents; use it as a context manager, or they stay."""

    def __init__(self) -> None:
        self._agents: dict[str, Agent] = {}

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for agent in self._agents.values():
            agent.stop()

    def __getitem__(self, contender: str) -> Agent:
        if contender not in self._agents:
            self._agents[contender] = Agent(CONTENDERS[contender].environment)
        return self._agents[contender]

    def dismiss(self, contender: str) -> None:
        """End a contender's agent with all that goes on in it."""
        if contender in self._agents:
            self._agents.pop(contender).stop()
