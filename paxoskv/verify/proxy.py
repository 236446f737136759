"""A TCP proxy for one direction between two nodes: it cuts, stalls, delays and breaks what goes through it.

Nodes connect to their peers through these instead of directly. A connection between peers carries messages in one
direction, from who made it, so a proxy for each ordered pair of nodes can cut one way.
"""

import asyncio
import contextlib
import random
from typing import Final

_CHUNK_BYTES: Final = 65_536
# What may wait in a proxy before it reads no more: a link that stalls fills up, as a real one does.
_HELD_BYTES_MAX: Final = 1024 * 1024


class LinkProxy:
    """Listens on loopback and carries every connection on to `target`. All switches may be turned at any time."""

    def __init__(self, target_host: str, target_port: int, rng: random.Random) -> None:
        self.port = 0
        self._target = (target_host, target_port)
        self._rng = rng
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cuts = 0
        self._stalls = 0
        self._delay_s = 0.0
        self._break_share = 0.0
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        # Not by cancelling: asyncio's streams report a cancelled handler as an error of theirs.
        self._flowing.set()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Switches. Each fault undoes only what it did, so faults may overlap.

    def cut(self) -> None:
        """Break every connection, and take no new one until as many `mend`."""
        self._cuts += 1
        for writer in list(self._writers):
            writer.transport.abort()

    def mend(self) -> None:
        """Undo one `cut`."""
        self._cuts -= 1

    def stall(self) -> None:
        """Carry nothing any more, and lose nothing, until as many `flow`: packets that are dropped and sent again."""
        self._stalls += 1
        self._flowing.clear()

    def flow(self) -> None:
        """Undo one `stall`."""
        self._stalls -= 1
        if not self._stalls:
            self._flowing.set()

    def delay(self, seconds: float) -> None:
        """Carry everything so much later; negative to undo it."""
        self._delay_s = max(0.0, self._delay_s + seconds)

    def lose(self, share: float) -> None:
        """Break the connection at that share of the chunks that go through it, which loses what was on its way."""
        self._break_share = max(0.0, self._break_share + share)

    # Connections.

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        upstream: asyncio.StreamWriter | None = None
        try:
            if self._cuts:
                return
            self._writers.add(writer)
            from_target, upstream = await asyncio.open_connection(*self._target)
            self._writers.add(upstream)
            async with asyncio.TaskGroup() as group:
                ended = [
                    group.create_task(self._carry(reader, upstream)),
                    group.create_task(self._carry(from_target, writer)),
                ]
                await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
                for carrying in ended:
                    carrying.cancel()
        except* OSError:
            pass  # The target is not there, which whoever connected sees as a connection that breaks.
        finally:
            self._tasks.discard(task)
            for end in (writer, upstream):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction. Reading goes on while what was read waits for its time, so a delay costs no throughput."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_HELD_BYTES_MAX // _CHUNK_BYTES)

        async def write() -> None:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(due - loop.time())
                await self._flowing.wait()
                if not data or (self._break_share and self._rng.random() < self._break_share):
                    return
                writer.write(data)
                await writer.drain()

        writing = loop.create_task(write())
        try:
            while not writing.done():
                data = await reader.read(_CHUNK_BYTES)
                putting = loop.create_task(queue.put((loop.time() + self._delay_s, data)))
                await asyncio.wait({putting, writing}, return_when=asyncio.FIRST_COMPLETED)
                if not data:
                    await writing
        except ConnectionError:
            pass
        finally:
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await writing


Links = dict[tuple[int, int], LinkProxy]
"""A proxy for each ordered pair of nodes."""


async def between(nodes: dict[int, tuple[str, int]], seed: int) -> Links:
    """Proxies for every ordered pair of nodes, given each node's peer address."""
    links: Links = {}
    for source in nodes:
        for target, (host, port) in nodes.items():
            if source != target:
                proxy = LinkProxy(host, port, random.Random(f"{seed} {source} {target}"))
                await proxy.start()
                links[source, target] = proxy
    return links
