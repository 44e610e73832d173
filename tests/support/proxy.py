"""Proxy: a network between client and server that fails exactly when a test says so."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")

_CHUNK = 65536


class Fault(Enum):
    """What happens to the reply of a request that a test has marked."""

    SWALLOW = "the reply and all after it never arrive, the connection stays open"
    DROP = "the connection closes in place of the reply"


@dataclass
class _Rule:
    """A fault that is due for the next requests that contain some bytes."""

    fault: Fault
    left: int
    matching: bytes | None

    def applies_to(self, request: bytes) -> bool:
        return self.left > 0 and (self.matching is None or self.matching in request)


@dataclass(eq=False)
class _Link:
    """One client connection, with its connection to the server behind it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    fault: Fault | None = None
    #: The end of what the client sent last: what a rule looks for may come in two pieces.
    tail: bytes = b""

    def close(self) -> None:
        for writer in (self.client, self.server):
            writer.transport.abort()


@dataclass
class _State:
    """All that the event loop's thread owns."""

    rules: list[_Rule] = field(default_factory=list)
    links: set[_Link] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    serving: set[asyncio.Task[None]] = field(default_factory=set)
    #: One for each connection that there ever was.
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    accepted: list[socket.socket] = field(default_factory=list)
    request_delay: float = 0.0
    reply_delay: float = 0.0
    is_blackhole: bool = False
    listener: asyncio.Server | None = None


class _Listening(socket.socket):
    """A socket that listens, and keeps what it has accepted."""

    def __init__(self, accepted: list[socket.socket]) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self._kept = accepted

    def accept(self) -> tuple[socket.socket, Any]:
        accepted, address = super().accept()
        self._kept.append(accepted)
        return accepted, address


class Proxy:
    """A TCP proxy on a free loopback port, under the test's control.

    ``with Proxy(server.port) as proxy:`` runs it, in a thread of its own. Every method has
    taken effect when it returns. Requests are told apart as the client sends them: a pipeline
    is one request, and a pattern is looked for in its bytes, so ``b"EVALSHA"`` means scripts.

    Attributes:
        requests: The requests that came, as they came; those sent into a blackhole too.
        fired: How many of the faults asked for have happened, to prove that they did.
    """

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.requests: list[bytes] = []
        self.fired = 0
        self._target_port = target_port
        self._state = _State()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._shut_down())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._close_all())
        self._loop.close()

    @property
    def url(self) -> str:
        """The address of database 0 through the proxy; a password is up to the test."""
        return f"redis://127.0.0.1:{self.port}/0"

    def swallow_replies(self, n: int, matching: bytes | None = None) -> None:
        """Let the next ``n`` matching requests reach the server, and their replies nobody.

        The connection stays open and silent from then on, so that the client runs into its
        own time-out.
        """
        self._change(lambda state: state.rules.append(_Rule(Fault.SWALLOW, n, matching)))

    def drop_connection_after_request(self, n: int, matching: bytes | None = None) -> None:
        """Let the next ``n`` matching requests reach the server, and close for the reply."""
        self._change(lambda state: state.rules.append(_Rule(Fault.DROP, n, matching)))

    def delay(self, replies: float = 0.0, requests: float = 0.0) -> None:
        """Hold back every reply, and every request, for so many seconds."""

        def change(state: _State) -> None:
            state.reply_delay, state.request_delay = replies, requests

        self._change(change)

    def cut(self) -> None:
        """Close all connections and refuse new ones, until `heal`."""
        self._run(self._stop_listening())

    def blackhole(self) -> None:
        """Accept everything and answer nothing, until `heal`.

        What is sent meanwhile is lost for good: a connection that lost something stays silent
        until the client closes it, one that lost nothing goes on after `heal`.
        """
        self._change(lambda state: setattr(state, "is_blackhole", True))

    def forget_connections(self) -> None:
        """Let nothing arrive on the connections that are open now, as a firewall that has forgotten them."""

        def change(state: _State) -> None:
            for link in state.links:
                link.fault = Fault.SWALLOW

        self._change(change)

    def heal(self) -> None:
        """Forget all faults and delays, and accept connections on the same port again."""
        self._run(self._heal())

    # Below, everything runs in the event loop's thread.

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _change(self, change: Callable[[_State], object]) -> None:
        async def work() -> None:
            change(self._state)

        self._run(work())

    async def _listen(self) -> None:
        listening = _Listening(self._state.accepted)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        self.port = listening.getsockname()[1]
        self._state.listener = await asyncio.start_server(self._let_in, sock=listening)

    async def _stop_listening(self) -> None:
        if self._state.listener is not None:
            self._state.listener.close()
            self._state.listener = None
        for link in self._state.links:
            link.close()

    async def _heal(self) -> None:
        self._state.rules.clear()
        self._state.request_delay = self._state.reply_delay = 0.0
        self._state.is_blackhole = False
        if self._state.listener is None:
            await self._listen()

    async def _shut_down(self) -> None:
        await self._stop_listening()
        tasks = [*self._state.tasks, *self._state.serving]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _close_all(self) -> None:
        """Close also what was let in while the proxy was shut down, and wait until it is closed."""
        while rest := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in rest:
                task.cancel()
            await asyncio.wait(rest)
        for writer in self._state.writers:
            writer.transport.abort()
        # Asyncio closes the socket of what was aborted in its next turn.
        await asyncio.sleep(0.01)
        # Now and then it has accepted one of which it tells nobody.
        for accepted in self._state.accepted:
            accepted.close()

    def _let_in(self, client_in: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self._state.writers.append(client)
        serving = self._loop.create_task(self._serve(client_in, client))
        self._state.serving.add(serving)
        serving.add_done_callback(self._state.serving.discard)

    async def _serve(self, client_in: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            await self._connect(client_in, client)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            client.transport.abort()

    async def _connect(self, client_in: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        server_in, server = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._state.writers.append(server)
        link = _Link(client, server)
        self._state.links.add(link)
        pumps = [
            self._loop.create_task(self._pump_requests(client_in, link)),
            self._loop.create_task(self._pump_replies(server_in, link)),
        ]
        self._state.tasks.update(pumps)
        # One side's end is the link's end: Redis does not use half-open connections.
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        link.close()
        await asyncio.wait(pumps)
        self._state.tasks.difference_update(pumps)
        self._state.links.discard(link)

    async def _pump_requests(self, source: asyncio.StreamReader, link: _Link) -> None:
        with suppress(OSError):
            while request := await source.read(_CHUNK):
                self.requests.append(request)
                if self._state.is_blackhole:
                    link.fault = Fault.SWALLOW
                    continue
                self._mark(link, request)
                await asyncio.sleep(self._state.request_delay)
                link.server.write(request)
                await link.server.drain()

    async def _pump_replies(self, source: asyncio.StreamReader, link: _Link) -> None:
        """Let each reply arrive as long after it was sent as the delay says, as a long cable does."""
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        await asyncio.gather(self._depart(source, on_the_way), self._arrive(on_the_way, link))

    async def _depart(
        self, source: asyncio.StreamReader, on_the_way: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        with suppress(OSError):
            while reply := await source.read(_CHUNK):
                on_the_way.put_nowait((self._loop.time() + self._state.reply_delay, reply))
        on_the_way.put_nowait((self._loop.time(), b""))

    async def _arrive(self, on_the_way: asyncio.Queue[tuple[float, bytes]], link: _Link) -> None:
        with suppress(OSError):
            while True:
                due, reply = await on_the_way.get()
                await asyncio.sleep(max(due - self._loop.time(), 0))
                if self._state.is_blackhole:
                    link.fault = Fault.SWALLOW
                if link.fault is Fault.DROP or not reply:
                    break
                if link.fault is None:
                    link.client.write(reply)
                    await link.client.drain()
        link.close()

    def _mark(self, link: _Link, request: bytes) -> None:
        window = link.tail + request
        rule = next((rule for rule in self._state.rules if rule.applies_to(window)), None)
        longest = max((len(rule.matching or b"") for rule in self._state.rules), default=0)
        link.tail = window[-(longest - 1) :] if longest > 1 else b""
        if rule is not None:
            rule.left -= 1
            self.fired += 1
            link.fault = rule.fault
            link.tail = b""
