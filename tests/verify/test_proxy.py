"""The link proxy, over real sockets."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from paxoskv.verify.proxy import LinkProxy

Connect = Callable[[LinkProxy], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Echo:
    """Answers what it hears, and counts who has come."""

    def __init__(self) -> None:
        self.accepted = 0
        self.heard = b""
        self.port = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            while data := await reader.read(65_536):
                self.heard += data
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    found = Echo()
    server = await found.start()
    yield found
    server.close()


@pytest.fixture
async def link(echo: Echo) -> AsyncIterator[LinkProxy]:
    proxy = LinkProxy("127.0.0.1", echo.port, random.Random(1))
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    writers = []

    async def through(proxy: LinkProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writers.append(writer)
        return reader, writer

    yield through
    for writer in writers:
        writer.transport.abort()
        writer.close()


async def test_what_goes_in_comes_out_in_both_directions(link: LinkProxy, connect: Connect) -> None:
    reader, writer = await connect(link)
    sent = random.Random(2).randbytes(1_000_000)
    writer.write(sent)
    assert await reader.readexactly(len(sent)) == sent


async def test_a_cut_breaks_connections_and_takes_none_until_it_is_mended(link: LinkProxy, connect: Connect) -> None:
    reader, writer = await connect(link)
    writer.write(b"x")
    await reader.readexactly(1)
    link.cut()
    link.cut()
    assert await ends(reader)
    link.mend()
    reader, _ = await connect(link)
    assert await ends(reader), "another fault holds it cut"
    link.mend()
    reader, writer = await connect(link)
    writer.write(b"y")
    assert await reader.readexactly(1) == b"y"


async def ends(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True


async def test_a_stall_carries_nothing_and_loses_nothing(link: LinkProxy, echo: Echo, connect: Connect) -> None:
    reader, writer = await connect(link)
    writer.write(b"before")
    await reader.readexactly(6)
    link.stall()
    writer.write(b"during")
    await writer.drain()
    for _ in range(50):
        await asyncio.sleep(0)
    assert echo.heard == b"before"
    link.flow()
    assert await reader.readexactly(6) == b"during"


async def test_a_delay_keeps_the_order(link: LinkProxy, connect: Connect) -> None:
    link.delay(0.02)
    reader, writer = await connect(link)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(20):
        writer.write(b"%02d" % number)
    assert await reader.readexactly(40) == b"".join(b"%02d" % number for number in range(20))
    # Both ways are delayed; sooner would mean that it was not.
    assert loop.time() - began >= 0.039


async def test_a_lossy_link_breaks_its_connection(link: LinkProxy, connect: Connect) -> None:
    link.lose(1.0)
    reader, writer = await connect(link)
    writer.write(b"x")
    assert await ends(reader)
    link.lose(-1.0)
    reader, writer = await connect(link)
    writer.write(b"y")
    assert await reader.readexactly(1) == b"y"


async def test_a_target_that_is_not_there_ends_the_connection_and_not_the_proxy(echo: Echo, connect: Connect) -> None:
    proxy = LinkProxy("127.0.0.1", 1, random.Random(1))
    await proxy.start()
    reader, _ = await connect(proxy)
    assert await ends(reader)
    await proxy.stop()
