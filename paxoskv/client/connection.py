"""One connection to one node: requests out, answers in, in any order.

The lowest level that is public: no task and no future for an operation, a callback instead. `client` builds on it,
and the load generator, which could not keep up otherwise.
"""

import asyncio
import collections
import json
import os
import re
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, cast

from paxoskv.core.errors import BadRequest, NotReached, ProtocolError
from paxoskv.core.operations import Argument, Expiry
from paxoskv.wire import client as wire
from paxoskv.wire import framing

# What a callback gets as status when the connection broke. LOST: the operation was sent, and nobody will say more.
LOST: Final = -1
# UNSENT: not a byte of it left, so it certainly did not happen.
UNSENT: Final = -2

# A frame is cut past this, so that with the largest request behind it it still is one that every node takes.
_FRAME_BYTES: Final = 256 * 1024
# What a request needs besides its key and its values, at most.
_REQUEST_BYTES: Final = 66
_BUFFER_BYTES: Final = 1024 * 1024


class Callback(Protocol):
    """Takes an answer: status, value, version, and of a key that expires when, as on the wire."""

    def __call__(self, status: int, value: Argument, version: int, *expiry: int) -> None: ...


PageCallback = Callable[[int, Any, tuple[Any, ...], bytes | None], object]
"""Takes a page of a scan: status, reason, items and the cursor of the next one, as on the wire."""


class Connection(asyncio.Protocol):
    """A connection in use. Make one with `open`.

    `submit` and `submit_scan` call their callback exactly once, from the loop, unless `forget` came first.
    """

    def __init__(self, address: str, on_lost: Callable[["Connection", str], None]) -> None:
        self.address = address
        self.hello: wire.NodeHello | None = None
        self.in_flight: dict[int, Callback] = {}
        self.suspect = False
        """Another node is better asked: a call to this one has timed out, and it has not said anything since; or it is
        about to stop."""
        self.closed = False
        self.writable = True
        """False while the transport holds more than it should; submitting then only grows its buffer."""
        self.on_room: Callable[[], object] | None = None
        """Called when `writable` becomes true again."""
        self.writes_to = ""
        """The address of the node that takes writes with the least detour, as far as this one knows one."""
        self.on_route: Callable[[], object] | None = None
        """Called when `writes_to` has changed."""
        self.on_leaving: Callable[[], object] | None = None
        """Called when the node is about to stop."""
        self._leaving = False
        self._on_lost = on_lost
        self._introduced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._frames = framing.FrameBuffer(framing.FRAME_BYTES_CEILING - 1)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._last_id = 0
        self._requests: list[wire.Request] = []
        self._requests_bytes = 0
        self._flushing = False
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._scans: dict[int, PageCallback] = {}
        self._reason = "the node closed the connection"

    @classmethod
    async def open(
        cls, host: str, port: int, timeout_s: float, on_lost: Callable[["Connection", str], None]
    ) -> "Connection":
        """Connect and exchange HELLOs. Raises NotReached with the reason."""
        loop = asyncio.get_running_loop()
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        connection: Connection | None = None
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await loop.create_connection(lambda: cls(address, on_lost), host, port)
                await connection._introduced
        except TimeoutError:
            # The reason, too, since who is told of the loss may hear of it after this.
            reason = f"it did not answer within {timeout_s:.1f} s"
            if connection is not None:
                connection.close(reason)
            raise NotReached(f"{address}: {reason}") from None
        except ProtocolError as error:
            raise NotReached(
                f"{address}: {error}; check that this is the client port of a paxoskv node of this version"
            ) from None
        except OSError as error:
            raise NotReached(f"{address}: {_explain(error)}") from None
        except asyncio.CancelledError:
            if connection is not None:
                connection.close()
            raise
        return connection

    def submit(
        self,
        kind: int,
        key: bytes,
        argument: Argument,
        condition: Argument,
        timeout_ms: int,
        callback: Callback,
        expiry: Expiry = None,
        lifetime_ms: int | None = None,
    ) -> int:
        """Send an operation with the others of this round of the loop; its id, for `forget`.

        `lifetime_ms`, from when the node takes the operation, stands in place of `expiry`.
        """
        assert not self.closed
        # Ids come around after 2^32 operations, which takes longer than an operation may: hours against one.
        identifier = self._last_id = (self._last_id + 1) & wire.ID_MAX
        self.in_flight[identifier] = callback
        if expiry is None and lifetime_ms is None:
            self._requests.append((identifier, kind, key, argument, condition, timeout_ms))
        else:
            self._requests.append((identifier, kind, key, argument, condition, timeout_ms, expiry, lifetime_ms))
        size = self._requests_bytes + len(key) + _REQUEST_BYTES
        if type(argument) is bytes:
            size += len(argument)
        if type(condition) is bytes:
            size += len(condition)
        self._requests_bytes = size
        if size > _FRAME_BYTES:
            self.flush()
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)
        return identifier

    def submit_scan(
        self,
        start: bytes,
        end: bytes | None,
        cursor: bytes | None,
        keys_only: bool,
        timeout_ms: int,
        limit: int | None,
        callback: PageCallback,
    ) -> int:
        """Ask for a page of at most `limit` keys; its id, for `forget`."""
        assert self._transport is not None
        identifier = self._last_id = (self._last_id + 1) & wire.ID_MAX
        frame = framing.pack((wire.SCAN, identifier, start, end, cursor, keys_only, timeout_ms, limit))
        self._scans[identifier] = callback
        self._transport.write(frame)
        return identifier

    def forget(self, identifier: int) -> None:
        """Drop the callback of an operation whose answer is not waited for any more."""
        if self.in_flight.pop(identifier, None) is None:
            self._scans.pop(identifier, None)

    def flush(self) -> None:
        """Write what was submitted."""
        self._flushing = False
        requests = self._requests
        if requests and self._transport is not None and not self._transport.is_closing():
            self._requests = []
            self._requests_bytes = 0
            self._transport.write(wire.pack_requests(requests))

    async def status(self) -> dict[str, Any]:
        """The node's own account of itself."""
        text = await self._ask((wire.STATUS,))
        try:
            found = json.loads(text)
        except (ValueError, TypeError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise ProtocolError(f"{self.address}: malformed STATUS")
        return found

    async def scan(
        self,
        start: bytes,
        end: bytes | None,
        cursor: bytes | None,
        keys_only: bool,
        timeout_ms: int,
        limit: int | None = None,
    ) -> tuple[int, Any, tuple[Any, ...], bytes | None]:
        """One page, of at most `limit` keys: status, reason, items and the cursor of the next one, as on the wire."""
        if self.closed or self._transport is None:
            raise NotReached(f"{self.address}: {self._reason}")
        future: asyncio.Future[tuple[int, Any, tuple[Any, ...], bytes | None]] = self._loop.create_future()

        def take(status: int, reason: Any, items: tuple[Any, ...], following: bytes | None) -> None:
            if not future.done():
                future.set_result((status, reason, items, following))

        identifier = self.submit_scan(start, end, cursor, keys_only, timeout_ms, limit, take)
        try:
            page = await future
        finally:
            self.forget(identifier)
        if page[0] == LOST:
            raise NotReached(f"{self.address}: {self._reason}")
        return page

    async def inject_fault(self, name: str, argument: bool | float) -> None:
        """Inject a fault into the node: "disk-stall" on or off, or "clock-jump" by so many seconds.

        Raises ProtocolError when the node refuses.
        """
        if refusal := await self._ask((wire.FAULT,), name, argument):
            raise ProtocolError(f"{self.address}: {refusal}")

    async def command(self, name: str, argument: object) -> None:
        """Have the node's engine do something that is no operation on a key, such as "raft-transfer" to a node.

        Raises BadRequest when the node refuses.
        """
        if refusal := await self._ask((wire.COMMAND,), name, argument):
            raise BadRequest(f"{self.address}: {refusal}")

    async def _ask(self, head: tuple[int], *rest: object) -> Any:
        if self.closed or self._transport is None:
            raise NotReached(f"{self.address}: {self._reason}")
        identifier = self._last_id = (self._last_id + 1) & wire.ID_MAX
        future = self._asked[identifier] = self._loop.create_future()
        self._transport.write(framing.pack((*head, identifier, *rest)))
        try:
            return await future
        finally:
            self._asked.pop(identifier, None)

    def probe(self) -> None:
        """Make the node say something, which ends `suspect`, if it can."""
        if self._transport is not None:
            self._last_id = (self._last_id + 1) & wire.ID_MAX
            self._transport.write(framing.pack((wire.STATUS, self._last_id)))

    def close(self, reason: str = "this client closed the connection") -> None:
        """Close the connection; callbacks that are left get LOST or UNSENT, and the reason."""
        if self._transport is not None:
            self._reason = reason
            self._transport.abort()

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_BUFFER_BYTES)
        self._transport.write(wire.pack_hello())

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        if self.on_room is not None:
            self.on_room()

    def data_received(self, data: bytes) -> None:
        self.suspect = self._leaving
        try:
            for body in self._frames.feed(data):
                self._receive(framing.unpack(body))
            if self._leaving:
                self._leave()
        except ProtocolError as error:
            self._reason = str(error)
            if self._transport is not None:
                self._transport.abort()

    def _receive(self, body: tuple[Any, ...]) -> None:
        kind = body[0]
        if kind == wire.ANSWERS:
            pop = self.in_flight.pop
            for answer in wire.parse_answers(body):
                callback = pop(answer[0], None)
                if callback is not None:
                    callback(*answer[1:])
        elif kind == wire.HELLO:
            self.hello = wire.parse_node_hello(body)
            if not self._introduced.done():
                self._introduced.set_result(None)
        elif kind in (wire.STATUS, wire.FAULT, wire.COMMAND) and len(body) == 3:
            future = self._asked.get(body[1])
            if future is not None and not future.done():
                future.set_result(body[2])
        elif kind == wire.PAGE:
            identifier, status, reason, items, cursor = wire.parse_page(body)
            take = self._scans.pop(identifier, None)
            if take is not None:
                take(status, reason, items, cursor)
        elif kind == wire.WRITES_TO and len(body) == 2 and type(body[1]) is str:
            self.writes_to = body[1]
            if self.on_route is not None:
                self.on_route()
        elif kind == wire.LEAVING:
            self._leaving = self.suspect = True
            if self.on_leaving is not None:
                self.on_leaving()
        elif kind == wire.GOODBYE and len(body) == 2:
            raise ProtocolError(f"the node closed the connection: {body[1]}")
        else:
            raise ProtocolError("the node sent a frame that no client understands")

    def _leave(self) -> None:
        """Close the connection once nothing is asked any more of a node that is about to stop."""
        if self._transport is not None and not (self.in_flight or self._scans or self._asked):
            self._reason = "the node is stopping"
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._transport = None
        if exc is not None:
            self._reason = getattr(exc, "strerror", None) or str(exc)
        if not self._introduced.done():
            self._introduced.set_exception(ProtocolError(self._reason))
            self._introduced.exception()  # Nobody may be waiting for it any more.
        for future in self._asked.values():
            if not future.done():
                future.set_exception(NotReached(f"{self.address}: {self._reason}"))
        callbacks, self.in_flight = self.in_flight, {}
        unsent = {request[0] for request in self._requests}
        self._requests = []
        reason = self._reason.encode()
        for identifier, callback in callbacks.items():
            callback(UNSENT if identifier in unsent else LOST, reason, 0)
        scans, self._scans = self._scans, {}
        for take in scans.values():
            take(LOST, reason, (), None)
        self._on_lost(self, self._reason)


def favoured(connections: Iterable[Connection | None]) -> str:
    """The address to which most of these nodes would have writes sent, "" if nobody says any."""
    said = collections.Counter([each.writes_to for each in connections if each is not None and each.writes_to])
    return said.most_common(1)[0][0] if said else ""


def _explain(error: OSError) -> str:
    """Why no connection came about."""
    if isinstance(error, socket.gaierror):
        return f"the host's name cannot be resolved ({error.strerror})"
    if error.errno:
        # asyncio puts its own words in strerror.
        return os.strerror(error.errno)
    # A name with several addresses; asyncio says only in a text what each of them had to say.
    numbers = dict.fromkeys(re.findall(r"\[Errno (\d+)\]", str(error)))
    return ", ".join(os.strerror(int(number)) for number in numbers) or str(error)
