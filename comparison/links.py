"""Links between nodes that take time: one listener before each node's peer port, the same for every system.

A system announces one peer address for a node, whoever connects, and etcd insists on it. So there is one listener for
each node, which finds out who connected (the process that owns the other end of the socket) and delays what passes
by what lies between these two.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_HIGH_WATER: Final = 4 << 20

Delays = Mapping[frozenset[int], float]
"""Seconds in each direction, by the pair of nodes."""


class Links:
    """Runs in a thread of its own, between `start` and `stop`."""

    def __init__(self, delays: Delays) -> None:
        self._delays = delays
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._owners: dict[int, int] = {}
        self._servers: list[asyncio.Server] = []
        self._pipes: set[_Pipe] = set()

    def belongs(self, pid: int, number: int) -> None:
        """That process is that node. Before it connects to anybody."""
        self._owners[pid] = number

    def before(self, number: int, port: int) -> int:
        """A port in front of a node's own, for its peers to connect to."""
        return asyncio.run_coroutine_threadsafe(self._listen(number, port), self._loop).result()

    def between(self, source: int, number: int, port: int) -> int:
        """A port in front of a node's own, for one that stands where `source` is, and is no process of a node."""
        listening = self._listen(number, port, source)
        return asyncio.run_coroutine_threadsafe(listening, self._loop).result()

    async def _listen(self, number: int, port: int, source: int | None = None) -> int:
        server = await self._loop.create_server(lambda: _Pipe(self, number, port, source), "127.0.0.1", 0)
        self._servers.append(server)
        found: int = server.sockets[0].getsockname()[1]
        return found

    def set_delays(self, delays: Delays) -> None:
        """From now on, also for connections that are there."""
        self._delays = delays

    def pair(self, number: int, port: int, source: int | None) -> frozenset[int]:
        """That node and `source`, or whoever owns the socket bound to `port`."""
        source = source or self._owner(port)
        return frozenset((number,) if source is None else (source, number))

    def delay(self, pair: frozenset[int]) -> float:
        """Between these two, just now."""
        return self._delays.get(pair, 0.0)

    def _owner(self, port: int) -> int | None:
        local = f"0100007F:{port:04X}"
        for table in ("tcp", "tcp6"):
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                    fields = line.split()
                    if fields[1].endswith(local[-5:]) and (fields[1] == local or table == "tcp6"):
                        inode = f"socket:[{fields[9]}]"
                        for pid, number in self._owners.items():
                            if _holds(pid, inode):
                                return number
        return None

    def track(self, pipe: "_Pipe", there: bool) -> None:
        """Keep it, or forget it."""
        (self._pipes.add if there else self._pipes.discard)(pipe)

    def stop(self) -> None:
        """Close everything."""

        def close() -> None:
            for server in self._servers:
                server.close()
            for pipe in list(self._pipes):
                pipe.abort()
            self._loop.call_soon(self._loop.stop)

        self._loop.call_soon_threadsafe(close)
        self._thread.join()
        self._loop.close()


def _holds(pid: int, inode: str) -> bool:
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(descriptor.readlink()) == inode:
                    return True
    return False


class _Pipe(asyncio.Protocol):
    """One end of a connection that is carried on; `other` is the far one."""

    def __init__(self, links: Links, number: int, port: int, source: int | None, other: "_Pipe | None" = None) -> None:
        self._links = links
        self._source = source
        self._number = number
        self._port = port
        self._other = other
        self._transport: asyncio.Transport | None = None
        self._late: deque[tuple[float, bytes]] = deque()
        self._ended = False
        self._pair: frozenset[int] = other._pair if other is not None else frozenset()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._links.track(self, True)
        if self._other is None:
            self._pair = self._links.pair(self._number, transport.get_extra_info("peername")[1], self._source)
            task = asyncio.ensure_future(self._connect())
            task.add_done_callback(self._connected)

    def _connected(self, done: "asyncio.Future[None]") -> None:
        if done.exception() is not None:  # Nobody listens there just now.
            self.abort()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, far = await loop.create_connection(
            lambda: _Pipe(self._links, self._number, self._port, self._source, self), "127.0.0.1", self._port
        )
        self._other = far
        self._pass_on()
        if self._ended:
            far.abort()

    def data_received(self, data: bytes) -> None:
        delay = self._links.delay(self._pair)
        self._late.append((asyncio.get_running_loop().time() + delay, data))
        if self._other is not None and len(self._late) == 1:
            self._pass_on()

    def _pass_on(self) -> None:
        """What is due; and again when the next is. A queue, because timers of one moment come in any order."""
        loop = asyncio.get_running_loop()
        assert self._other is not None
        while self._late and self._late[0][0] <= loop.time():
            self._other.write(self._late.popleft()[1])
        if self._late:
            loop.call_at(self._late[0][0], self._pass_on)

    def write(self, data: bytes) -> None:
        """Send on what came in at the other end."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._links.track(self, False)
        if self._other is not None:
            asyncio.get_running_loop().call_later(self._links.delay(self._pair), self._other.abort)

    def abort(self) -> None:
        """Close this end."""
        if self._transport is not None:
            self._transport.abort()
