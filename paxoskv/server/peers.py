"""The peer port: one connection for each direction between two nodes.

Each node connects to every other one and sends on that connection; what it receives comes on the connections that
others made. So a link is simplex, needs no rule about who dials, and a partition in one direction is just that.
"""

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any, Final, cast

from paxoskv.core.errors import ProtocolError
from paxoskv.net.sockets import give_up_soon, keep_alive
from paxoskv.server.config import NodeConfig
from paxoskv.wire import framing, peer

if TYPE_CHECKING:
    from paxoskv.server.node import Node

_BACKOFF_S_MIN: Final = 0.05
_BACKOFF_S_MAX: Final = 2.0
_CONNECT_TIMEOUT_S: Final = 2.0
_HELLO_S_MAX: Final = 5.0
_SILENT: Final = f"it has not said who it is for {_HELLO_S_MAX:g} s"
# A peer that does not read: what comes after so long, or on top of so much, is dropped. Paxos allows loss, the quorum
# goes on; and a node that was paused has less to catch up with when it wakes, while its repair runs beside the load.
_BLOCKED_S_MAX: Final = 0.1
_BLOCKED_BYTES: Final = 256 * 1024
_QUEUE_BYTES_MAX: Final = 32 * 1024 * 1024


class PeerLink:
    """The way to one peer: connects, says HELLO, sends, and connects again."""

    def __init__(self, node: "Node", target: NodeConfig) -> None:
        self._node = node
        self.target = target
        self._connection: _Outgoing | None = None
        self._wakeup = asyncio.Event()
        self.dropped_frames = 0
        self.sent_frames = 0
        self.reason = "not connected yet"

    @property
    def up(self) -> bool:
        """Connected, and introduced to each other."""
        return self._connection is not None

    def send(self, messages: list[Any]) -> None:
        """Send one turn's messages, or drop them when the peer is not there or does not keep up."""
        connection = self._connection
        if connection is None:
            self.dropped_frames += 1
            return
        node = self._node
        header = peer.Header(
            node.cluster, node.epoch, node.id, node.incarnation, node.incarnations.get(self.target.id, 0)
        )
        encoded = [node.codec.encode(message) for message in messages]
        for frame in peer.pack_frames(header, encoded, node.limits.frame_bytes_max):
            transport = connection.transport
            # A write can find the connection broken, long before the loop calls connection_lost; uvloop raises at the
            # next write then.
            if transport.is_closing() or connection.is_stuck(node.now()):
                self.dropped_frames += 1
            else:
                self.sent_frames += 1
                transport.write(frame)

    def wake(self) -> None:
        """The peer was heard of: connect now rather than when the back-off ends."""
        self._wakeup.set()

    async def run(self) -> None:
        """Keep the link up, for ever."""
        loop = asyncio.get_running_loop()
        backoff = _BACKOFF_S_MIN
        while True:
            self._wakeup.clear()
            reason = ""
            connection: _Outgoing | None = None
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    _, connection = await loop.create_connection(
                        lambda: _Outgoing(self._node), self.target.peer.host, self.target.peer.port
                    )
                    hello = await connection.introduced
                self._node.check_peer(hello, expected=self.target.id)
                self._connection = connection
                backoff = _BACKOFF_S_MIN
                self.reason = ""
                self._node.log.info("peer connected", peer=hello.node, incarnation=hello.incarnation)
                self._node.peer_up(hello)
                reason = await connection.lost
            except TimeoutError:
                reason = f"no answer within {_CONNECT_TIMEOUT_S:.0f} s"
            except ProtocolError as error:
                reason = str(error)
            except OSError as error:
                reason = error.strerror or str(error)
            was_up = self._connection is not None
            self._connection = None
            if connection is not None:
                connection.transport.abort()
            if was_up:
                self._node.peer_lost(self.target.id)
            if reason != self.reason:
                # Once for each new reason, not for every try.
                self.reason = reason
                self._node.log.warning(
                    "peer lost" if was_up else "peer not connected",
                    peer=self.target.id,
                    address=self.target.peer,
                    reason=reason,
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff * random.uniform(0.5, 1.0)):
                    await self._wakeup.wait()
            backoff = min(backoff * 2, _BACKOFF_S_MAX)


class _Outgoing(asyncio.Protocol):
    """A connection that this node made. Nothing comes on it but the answer to HELLO, or GOODBYE."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        loop = asyncio.get_running_loop()
        self.introduced: asyncio.Future[peer.PeerHello] = loop.create_future()
        self.lost: asyncio.Future[str] = loop.create_future()
        self._frames = framing.FrameBuffer(node.limits.frame_bytes_max)
        self._reason = "the connection was closed"
        self._blocked_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        keep_alive(transport)
        give_up_soon(transport)
        self.transport.set_write_buffer_limits(high=_BLOCKED_BYTES)
        self.transport.write(peer.pack_hello(self._node.hello))

    def pause_writing(self) -> None:
        self._blocked_since = self._node.now()

    def resume_writing(self) -> None:
        self._blocked_since = None

    def is_stuck(self, now: float) -> bool:
        """Whether the peer has not been reading for too long, or too much waits for it."""
        if self._blocked_since is None:
            return False
        return now - self._blocked_since > _BLOCKED_S_MAX or self.transport.get_write_buffer_size() > _QUEUE_BYTES_MAX

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._frames.feed(data):
                hello = peer.parse_hello(framing.unpack(body))
                if not self.introduced.done():
                    self.introduced.set_result(hello)
        except ProtocolError as error:
            self._reason = str(error)
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._reason = str(exc)
        if not self.introduced.done():
            self.introduced.set_exception(ProtocolError(self._reason))
            self.introduced.exception()  # It may be that nobody waits for it any more.
        if not self.lost.done():
            self.lost.set_result(self._reason)


class PeerConnection(asyncio.Protocol):
    """A connection that a peer made to this node, and on which it sends."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._frames = framing.FrameBuffer(node.limits.frame_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._hello: peer.PeerHello | None = None
        self._address = "?"
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        keep_alive(transport)
        self._timer = asyncio.get_running_loop().call_later(_HELLO_S_MAX, self._goodbye, _SILENT)
        peername = transport.get_extra_info("peername")
        self._address = f"{peername[0]}:{peername[1]}" if peername else "?"
        self._node.peer_connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._node.peer_connections.discard(self)
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._frames.feed(data):
                self._receive(framing.unpack(body))
        except ProtocolError as error:
            self._goodbye(str(error))

    def _receive(self, body: tuple[object, ...]) -> None:
        node = self._node
        hello = self._hello
        if hello is None:
            hello = peer.parse_hello(body)
            node.check_peer(hello)
            self._hello = hello
            if self._timer is not None:
                self._timer.cancel()
            if self._transport is not None and not self._transport.is_closing():
                self._transport.write(peer.pack_hello(node.hello))
            node.heard_of(hello)
            return
        header, encoded = peer.parse_frame(body)
        if (header.cluster, header.epoch, header.sender, header.incarnation) != (
            hello.cluster,
            hello.epoch,
            hello.node,
            hello.incarnation,
        ):
            raise ProtocolError("a frame whose header differs from the connection's HELLO")
        if header.recipient_incarnation != node.incarnation:
            # Answers to what this node asked before it restarted, and forgot (B9).
            node.stale_frames += 1
            return
        if node.incarnations.get(hello.node) != hello.incarnation:
            raise ProtocolError(f"node {hello.node} has restarted since; this connection is its former one")
        node.receive(hello.node, [node.codec.decode(message) for message in encoded])

    def _goodbye(self, reason: str) -> None:
        sender = self._hello.node if self._hello else "unknown"
        self._node.refused(f"{sender}@{self._address.rpartition(':')[0]}", reason)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(framing.pack((peer.GOODBYE, reason)))
            self._transport.close()

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()
