"""A node of one dictionary: it speaks the real wire on real sockets, and misbehaves on demand.

Several of them may share one dictionary, and then look like a cluster.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from paxoskv.core import operations
from paxoskv.core.operations import Operation
from paxoskv.wire import client as wire
from paxoskv.wire import framing

VALUE_BYTES_MAX = 1024 * 1024
FRAME_BYTES_MAX = 3 * 1024 * 1024

Store = dict[bytes, tuple[bytes | None, int, int]]


class FakeNode:
    """Well behaved until one of the switches says otherwise; they may be turned at any time."""

    def __init__(self, store: Store | None = None, node: int = 1) -> None:
        self.store: Store = {} if store is None else store
        self.node = node
        self.cluster = "fake"
        self.port = 0
        self.silent_at_hello = False
        """Takes connections, and never introduces itself."""
        self.after_hello: bytes | None = None
        """Sent right behind its HELLO; then the connection is cut."""
        self.instead_of_hello: bytes | None = None
        self.writes_to: str | None = None
        """Where it says that writes are best sent, right behind its HELLO and when `say_writes_to` is called."""
        self.refuse_with: int | None = None
        """The status that every request gets; nothing is executed."""
        self.hang = False
        """Takes requests, executes nothing, says nothing."""
        self.cut_when_asked = False
        """Cuts the connection at the first request, before it executes anything."""
        self.execute_then_cut = False
        """Executes requests, and cuts the connection in place of answering."""
        self.goodbye: str | None = None
        """The farewell that requests get."""
        self.instead_of_answers: bytes | None = None
        self.close_after_answers = False
        """Ends the connection behind `instead_of_answers`, which may be the beginning of a frame."""
        self.answer_as: Callable[[int], tuple[Any, ...]] | None = None
        """Makes the answer of a request's id, whatever the request."""
        self.backwards = False
        """Answers the requests of a frame last to first, each in a frame of its own."""
        self.hold = False
        """Executes, and keeps the answers until `release`."""
        self.page_keys: int | None = None
        """Answers scans, with pages of at most so many keys, whatever their limit; None: says nothing to them."""
        self.scans_seen: list[tuple[Any, ...]] = []
        """The SCAN frames without their type."""
        self.status_json: object = json.dumps({"node": node, "mode": "fake"})
        self.seen: list[wire.Request] = []
        self.statuses_seen = 0
        """How often its status was asked for."""
        self.frames: list[int] = []
        """The number of requests of each REQUESTS frame."""
        self.frame_bytes_seen = 0
        self.connections: set[_Session] = set()
        self.accepted = 0
        self._changed = asyncio.Event()
        self._held: list[tuple[_Session, bytes]] = []
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> "FakeNode":
        """Listen; on the same port again after `stop`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Session(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Stop listening, and cut every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for session in list(self.connections):
            session.cut()
        await self.until(lambda: not self.connections)

    async def __aenter__(self) -> "FakeNode":
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait for something that this node sees."""
        async with asyncio.timeout(10):
            while not happened():
                self._changed.clear()
                await self._changed.wait()

    def is_idle(self) -> bool:
        """Whether nobody is connected."""
        return not self.connections

    def release(self) -> None:
        """Send the answers that were held."""
        self.hold = False
        for session, frame in self._held:
            session.write(frame)
        self._held.clear()

    def say_writes_to(self, address: object) -> None:
        """Tell whoever is connected where writes are best sent."""
        for session in self.connections:
            session.write(framing.pack((wire.WRITES_TO, address)))

    # Its sessions' side.

    def changed(self) -> None:
        self._changed.set()

    def take(self, session: "_Session", requests: tuple[wire.Request, ...]) -> None:
        self.frames.append(len(requests))
        self.seen.extend(wire.check_request(request) for request in requests)
        self.changed()
        if self.hang:
            return
        if self.cut_when_asked:
            session.cut()
        elif self.instead_of_answers is not None:
            session.write(self.instead_of_answers)
            if self.close_after_answers:
                session.close()
        elif self.goodbye is not None:
            session.write(framing.pack((wire.GOODBYE, self.goodbye)))
            session.close()
        else:
            answers = [self._answer(request) for request in requests]
            if self.execute_then_cut:
                session.cut()
                return
            frames = [wire.pack_answers(answers)]
            if self.backwards:
                frames = [wire.pack_answers([answer]) for answer in reversed(answers)]
            for frame in frames:
                if self.hold:
                    self._held.append((session, frame))
                else:
                    session.write(frame)

    def take_scan(self, session: "_Session", body: tuple[Any, ...]) -> None:
        identifier, start, end, cursor, keys_only, _, limit = body
        self.scans_seen.append(body)
        self.changed()
        if self.hang or self.page_keys is None:
            return
        if self.cut_when_asked:
            session.cut()
            return
        if self.refuse_with is not None:
            session.write(
                framing.pack((wire.PAGE, identifier, self.refuse_with, b"because the test says so", (), None))
            )
            return
        most = self.page_keys if limit is None else min(limit, self.page_keys)
        keys = sorted(key for key in self.store if key >= (cursor or start or b"\0") and (end is None or key < end))
        items = []
        for key in keys[:most]:
            value, version, expires_at = self.store[key]
            if value is not None:
                items.append((key, None if keys_only else value, version, expires_at))
        following = keys[most] if len(keys) > most else None
        session.write(framing.pack((wire.PAGE, identifier, operations.OK, b"", items, following)))

    def _answer(self, request: wire.Request) -> wire.Answer:
        identifier, kind, key, argument, condition, _, *timing = request
        if self.answer_as is not None:
            return cast(wire.Answer, self.answer_as(identifier))
        if self.refuse_with is not None:
            return identifier, self.refuse_with, b"because the test says so", 0
        now_ms = time.time_ns() // 1_000_000
        value, version, expires_at = self.store.get(key, (None, 0, 0))
        if 0 != expires_at <= now_ms:
            value, version, expires_at = None, 0, 0
        operation = Operation(kind, key, argument, condition)
        if timing:
            operation.expiry = timing[0] if timing[1] is None else now_ms + timing[1]
        done = operations.evaluate(operation, value, version, expires_at, VALUE_BYTES_MAX)
        if done.effect:
            # In the dictionary, because nodes that share it must not give one version twice.
            counter = self.store.get(b"", (None, 0, 0))[1] + 1
            self.store[b""] = (None, counter, 0)
            version = 0 if done.value is None else counter
            expires_at = done.expires_at
            self.store[key] = (done.value, version, expires_at)
        if expires_at:
            return identifier, done.status, done.result, version, expires_at, max(expires_at - now_ms, 0)
        return identifier, done.status, done.result, version


class _Session(asyncio.Protocol):
    def __init__(self, node: FakeNode) -> None:
        self._node = node
        self._frames = framing.FrameBuffer(FRAME_BYTES_MAX)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._node.connections.add(self)
        self._node.accepted += 1
        self._node.changed()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._node.connections.discard(self)
        self._node.changed()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def pause_reading(self) -> None:
        assert self._transport is not None
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        assert self._transport is not None
        self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        node = self._node
        for frame in self._frames.feed(data):
            node.frame_bytes_seen = max(node.frame_bytes_seen, len(frame))
            body = framing.unpack(frame)
            if body[0] == wire.REQUESTS:
                node.take(self, body[1])
            elif body[0] == wire.SCAN:
                node.take_scan(self, body[1:])
            elif body[0] == wire.STATUS:
                node.statuses_seen += 1
                node.changed()
                if not node.hang:
                    self.write(framing.pack((wire.STATUS, body[1], node.status_json)))
            elif body[0] == wire.FAULT:
                self.write(framing.pack((wire.FAULT, body[1], "no faults here" if body[2] == "none" else "")))
            elif body[0] == wire.HELLO and node.instead_of_hello is not None:
                self.write(node.instead_of_hello)
            elif body[0] == wire.HELLO and not node.silent_at_hello:
                hello = wire.pack_node_hello(wire.NodeHello(node.cluster, node.node, 1024, VALUE_BYTES_MAX))
                route = framing.pack((wire.WRITES_TO, node.writes_to)) if node.writes_to is not None else b""
                self.write(hello + route + (node.after_hello or b""))
                if node.after_hello is not None:
                    self.close()


class ThreadedNodes:
    """Fake nodes on a loop in a thread of its own, for code under test that blocks."""

    def __init__(self, loop: asyncio.AbstractEventLoop, nodes: list[FakeNode]) -> None:
        self._loop = loop
        self.nodes = nodes

    @property
    def endpoints(self) -> str:
        return ",".join(node.address for node in self.nodes)

    @property
    def store(self) -> Store:
        return self.nodes[0].store

    def until(self, happened: Callable[[FakeNode], bool]) -> None:
        """Wait for something that the first node sees."""
        node = self.nodes[0]
        asyncio.run_coroutine_threadsafe(node.until(lambda: happened(node)), self._loop).result()

    def do(self, action: Callable[[FakeNode], None]) -> None:
        """Do something to every node, in their thread."""

        async def act() -> None:
            for node in self.nodes:
                action(node)

        asyncio.run_coroutine_threadsafe(act(), self._loop).result()


@contextmanager
def threaded_nodes(count: int) -> Iterator[ThreadedNodes]:
    """So many fake nodes that share one dictionary."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fake nodes")
    thread.start()

    async def start() -> list[FakeNode]:
        store: Store = {}
        return [await FakeNode(store, node=number + 1).start() for number in range(count)]

    async def stop(nodes: list[FakeNode]) -> None:
        for node in nodes:
            await node.stop()

    try:
        nodes = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        try:
            yield ThreadedNodes(loop, nodes)
        finally:
            asyncio.run_coroutine_threadsafe(stop(nodes), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
