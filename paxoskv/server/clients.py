"""The client port: frames in, operations out; answers back in whatever order they come."""

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from paxoskv.core import errors, operations
from paxoskv.core.errors import ProtocolError
from paxoskv.core.operations import Operation, Result
from paxoskv.core.scan import Item, ScanOperation
from paxoskv.net.sockets import keep_alive
from paxoskv.net.unread import Unread
from paxoskv.redis.connection import RedisConnection
from paxoskv.wire import client as wire
from paxoskv.wire import framing

if TYPE_CHECKING:
    from paxoskv.server.node import Node

# Operations in flight on one connection past which it is not read from any more.
_IN_FLIGHT_MAX: Final = 8192
# Pages of scans among them, each of which a few bytes ask for and every node makes.
_SCANS_MAX: Final = 256
UNREAD_S_MAX: Final = 30.0
"""How long a client may take nothing of the answers that it is owed."""
# And how many these may be; as many as an honest client can have asked for at once.
_UNREAD_BYTES_MAX: Final = 1024 * 1024 * 1024
# Of an operator's wish: its name, and what types its argument has.
_COMMAND_CHARACTERS: Final = 64
_COMMAND_ARGUMENT: Final = frozenset((int, bool, type(None)))
_ANSWERS_BYTES_MAX: Final = 512 * 1024
# Commands of Redis begin with "*" or with something that can be typed.
_TYPED: Final = frozenset(b"\t\r\n\v\f" + bytes(range(0x20, 0x7F)))
_REFUSAL_S: Final = 1.0
# What an argument holds besides bytes of a value, by kind.
_BESIDE_VALUE: Final = {operations.SETRANGE: operations.OFFSET_BYTES}


class ClientPort(asyncio.Protocol):
    """A connection of which nobody knows yet what it speaks: frames of ours or Redis' protocol. The first byte tells.

    A frame begins with its length, and none that is allowed is so long that its first byte could be typed.
    """

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        keep_alive(transport)
        self._node.silent_connections.add(self)
        if self._is_too_many():
            # In case that it never says anything.
            self._timer = asyncio.get_running_loop().call_later(_REFUSAL_S, self.close)

    def _is_too_many(self) -> bool:
        return self._node.client_count > self._node.clients_max

    def connection_lost(self, exc: Exception | None) -> None:
        self._node.silent_connections.discard(self)
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        assert transport is not None
        speaks_redis = data[0] in _TYPED
        if self._is_too_many():
            text = f"this node takes {self._node.clients_max} connections at once; close some, or use another node"
            if speaks_redis:
                transport.write(b"-ERR max number of clients reached\r\n")
            else:
                transport.write(framing.pack((wire.GOODBYE, text)))
            self._node.client_refused(text)
            transport.close()
            return
        self._node.silent_connections.discard(self)
        self._transport = None
        connection = (
            RedisConnection(self._node, self._node.redis_sessions) if speaks_redis else ClientConnection(self._node)
        )
        transport.set_protocol(connection)
        connection.connection_made(transport)
        connection.data_received(data)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


class ClientConnection(asyncio.Protocol):
    """One client that speaks our frames."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._frames = framing.FrameBuffer(node.limits.frame_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._peername = "?"
        self._in_flight = 0
        self._scans = 0
        """Of what is in flight."""
        self._writable = True
        self._unread: Unread | None = None
        self._reading = True
        self._answers: list[wire.Answer] = []
        self._has_greeted = False

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peername = transport.get_extra_info("peername")
        self._peername = f"{peername[0]}:{peername[1]}" if peername else "?"
        self._transport.set_write_buffer_limits(high=1024 * 1024)
        self._unread = Unread(self._transport, UNREAD_S_MAX, self._abort)
        self._node.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._node.left(self)
        self._transport = None
        if self._unread is not None:
            self._unread.rest()
            self._unread = None  # It knows this connection, which need not wait for the garbage collector.

    def pause_writing(self) -> None:
        self._writable = False
        self._throttle()
        assert self._unread is not None
        self._unread.watch()

    def _abort(self) -> None:
        if self._transport is None:
            return
        self._node.log.warning(
            "client closed", client=self._peername, reason="it sends requests and does not read the answers"
        )
        self._transport.abort()

    def resume_writing(self) -> None:
        self._writable = True
        assert self._unread is not None
        self._unread.rest()
        self._throttle()

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._frames.feed(data):
                self._receive(framing.unpack(body))
        except ProtocolError as error:
            self._goodbye(str(error))

    # Ours.

    def _receive(self, body: tuple[Any, ...]) -> None:
        kind = body[0]
        if kind == wire.REQUESTS:
            if len(body) != 2 or type(body[1]) is not tuple:
                raise ProtocolError("malformed REQUESTS")
            self._submit(body[1])
        elif kind == wire.SCAN:
            self._scan(body)
        elif kind == wire.HELLO:
            if len(body) != 2 or body[1] != wire.WIRE_VERSION:
                raise ProtocolError(
                    f"this node speaks version {wire.WIRE_VERSION} of the client protocol, "
                    f"not {framing.shown(body[1:])}"
                )
            limits = self._node.limits
            hello = wire.NodeHello(self._node.cluster, self._node.id, limits.key_bytes_max, limits.value_bytes_max)
            self._write(wire.pack_node_hello(hello))
            self._has_greeted = True
            if self._node.writes_to:
                self.write_route()
        elif kind == wire.STATUS and len(body) == 2 and type(body[1]) is int:
            self._write(framing.pack((wire.STATUS, body[1], json.dumps(self._node.status()))))
        elif kind == wire.FAULT and len(body) == 4 and type(body[1]) is int:
            self._write(framing.pack((wire.FAULT, body[1], self._node.inject_fault(body[2], body[3]))))
        elif kind == wire.COMMAND and len(body) == 4 and type(body[1]) is int:
            if type(body[2]) is not str or len(body[2]) > _COMMAND_CHARACTERS or type(body[3]) not in _COMMAND_ARGUMENT:
                raise ProtocolError("malformed COMMAND")
            self._write(framing.pack((wire.COMMAND, body[1], self._node.command(body[2], body[3]))))
        else:
            raise ProtocolError(f"unknown kind of frame: {framing.shown(kind)}")

    def write_route(self) -> None:
        """Tell the client which node takes writes with the least detour."""
        if self._has_greeted:
            self._write(framing.pack((wire.WRITES_TO, self._node.writes_to)))

    def leave(self) -> None:
        """Have the client send nothing more, and close the connection when it has all answers."""
        if self._has_greeted:
            self._write(framing.pack((wire.LEAVING,)))
        else:
            self.close()

    def _submit(self, requests: tuple[Any, ...]) -> None:
        if len(requests) > _IN_FLIGHT_MAX:
            raise ProtocolError(f"a frame of {len(requests)} requests; there may be {_IN_FLIGHT_MAX}")
        node = self._node
        limits = node.limits
        key_max = limits.key_bytes_max
        value_max = limits.value_bytes_max
        now = node.now()
        accepted = []
        for request in requests:
            identifier, kind, key, argument, condition, timeout_ms, *timing = wire.check_request(request)
            if not key or len(key) > key_max:
                self.answer(identifier, _BAD, f"a key has 1 to {key_max} bytes, this one {len(key)}".encode(), 0)
            elif (type(argument) is bytes and len(argument) - _BESIDE_VALUE.get(kind, 0) > value_max) or (
                type(condition) is bytes and len(condition) > value_max
            ):
                self.answer(identifier, _BAD, f"a value has at most {value_max} bytes".encode(), 0)
            else:
                operation = Operation(kind, key, argument, condition, now + timeout_ms / 1000, (self, identifier))
                if timing:
                    expiry, lifetime_ms = timing
                    # Once and for all, by the clock of the node that takes it: the operation may travel.
                    operation.expiry = expiry if lifetime_ms is None else node.wall_ms() + lifetime_ms
                accepted.append(operation)
        if node.stopping:
            for operation in accepted:
                _, identifier = cast("tuple[ClientConnection, int]", operation.reply)
                self.answer(identifier, errors.ShuttingDown.status, b"the node is stopping; use another one", 0)
        elif accepted:
            self._in_flight += len(accepted)
            node.submit(accepted)
            self._throttle()
        if self._answers:
            self.flush()

    def _scan(self, body: tuple[Any, ...]) -> None:
        if len(body) != 8 or [type(body[1]), type(body[2]), type(body[5]), type(body[6])] != [int, bytes, bool, int]:
            raise ProtocolError("malformed SCAN")
        _, identifier, start, end, cursor, keys_only, timeout_ms, limit = body
        if not all([bound is None or type(bound) is bytes for bound in (end, cursor)]):
            raise ProtocolError("malformed SCAN")
        if limit is not None and type(limit) is not int:
            raise ProtocolError("malformed SCAN")
        node = self._node
        reason = ""
        if node.stopping:
            self._write_page(identifier, errors.ShuttingDown.status, b"the node is stopping; use another one")
            return
        if not 0 < timeout_ms <= wire.TIMEOUT_MS_MAX:
            reason = f"a timeout is 1 to {wire.TIMEOUT_MS_MAX} ms"
        elif limit is not None and limit < 1:
            reason = "the limit of a scan is 1 or above"
        elif max(len(start), len(end or b"")) > node.limits.key_bytes_max + 1:
            reason = f"a bound of a scan has at most {node.limits.key_bytes_max + 1} bytes"
        following = start
        if cursor is not None and not reason:
            try:
                following = wire.parse_cursor(node.cluster, node.config.mode, start, end, cursor)
            except ValueError as error:
                reason = str(error)
        if reason:
            self._write_page(identifier, _BAD, reason.encode())
            return
        if self._scans >= _SCANS_MAX:
            text = f"{_SCANS_MAX} scans of this connection are under way; try again"
            self._write_page(identifier, errors.Overloaded.status, text.encode())
            return
        self._scans += 1
        deadline = node.now() + timeout_ms / 1000
        operation = ScanOperation(following, end, keys_only, deadline, limit=limit)
        operation.reply = (PageReply(self, operation, start), identifier)
        self._in_flight += 1
        node.scan(operation)
        self._throttle()

    def paged(self, identifier: int, operation: ScanOperation, start: bytes, status: int, reason: Any) -> None:
        """Write the answer of a scan that was in flight."""
        self._in_flight -= 1
        self._scans -= 1
        cursor = None
        if operation.following is not None:
            cursor = wire.make_cursor(
                self._node.cluster, self._node.config.mode, start, operation.end, operation.following
            )
        self._write_page(identifier, status, reason or b"", operation.items, cursor)
        if not self._reading:
            self._throttle()

    def _write_page(
        self, identifier: int, status: int, reason: bytes, items: Sequence[Item] = (), cursor: bytes | None = None
    ) -> None:
        self._write(framing.pack((wire.PAGE, identifier, status, reason, items, cursor)))

    def completed(self, identifier: int, result: Result) -> bool:
        """Queue the answer of an operation that was in flight. True when it is the first since the last flush."""
        self._in_flight -= 1
        status, value, version, expires_at = result
        if expires_at:
            left_ms = max(expires_at - self._node.wall_ms(), 0)
            self._answers.append((identifier, status, value, version, expires_at, left_ms))
        else:
            self._answers.append((identifier, status, value, version))
        return len(self._answers) == 1

    def answer(self, identifier: int, status: int, value: Any, version: int) -> None:
        """Queue the answer of a request that never was in flight."""
        self._answers.append((identifier, status, value, version))

    def flush(self) -> None:
        """Write the answers of this turn, in one frame where they fit."""
        answers = self._answers
        self._answers = []
        if self._transport is None:
            return
        size = start = 0
        for index, answer in enumerate(answers):
            value = answer[2]
            if type(value) is bytes:
                size += len(value)
                if size > _ANSWERS_BYTES_MAX and index > start:
                    if self._transport.is_closing():
                        return
                    self._write(wire.pack_answers(answers[start:index]))
                    size, start = len(value), index
        self._write(wire.pack_answers(answers[start:] if start else answers))
        if not self._reading:
            self._throttle()

    def _write(self, frame: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        assert self._unread is not None
        self._unread.written_bytes += len(frame)
        transport.write(frame)
        if not self._writable and transport.get_write_buffer_size() > _UNREAD_BYTES_MAX:
            self._abort()

    def _throttle(self) -> None:
        """Read from the connection only while it keeps up with its own answers."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        reading = self._writable and self._in_flight < _IN_FLIGHT_MAX
        if reading != self._reading:
            self._reading = reading
            if reading:
                transport.resume_reading()
            else:
                transport.pause_reading()

    def _goodbye(self, reason: str) -> None:
        self._node.log.warning("client closed", client=self._peername, reason=reason)
        self._write(framing.pack((wire.GOODBYE, reason)))
        self.close()

    def close(self) -> None:
        """Send what is written, then close."""
        if self._transport is not None:
            self._transport.close()


class PageReply:
    """Stands for the connection in a scan's `reply`."""

    def __init__(self, connection: ClientConnection, operation: ScanOperation, start: bytes) -> None:
        self.connection = connection
        self._operation = operation
        self._start = start

    def completed(self, identifier: int, result: Result) -> bool:
        """Write the page; nothing is left to flush."""
        self.connection.paged(identifier, self._operation, self._start, result.status, result.value)
        return False


_BAD: Final = errors.BadRequest.status
