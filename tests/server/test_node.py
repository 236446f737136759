"""What a node decides by itself."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from paxoskv.core import operations
from paxoskv.net.unread import Unread
from paxoskv.paxos import ballot, register
from paxoskv.paxos.messages import Proposals
from paxoskv.server import clients, config, peers
from paxoskv.server.clients import ClientConnection
from paxoskv.server.launcher import free_base_port
from paxoskv.server.logs import NodeLog
from paxoskv.server.modes import MODES
from paxoskv.server.node import Node, slice_records
from paxoskv.server.peers import PeerLink, _Outgoing
from paxoskv.storage.contract import Identity
from paxoskv.storage.sqlite import SqliteStorage


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """Node 1 of three, on a disk; the others are not there, and it listens nowhere."""
    base = free_base_port(1)
    entries = [
        (number, f"127.0.0.1:{base + number}", f"127.0.0.1:{base + 100 + number}", f"node-{number}")
        for number in (1, 2, 3)
    ]
    path = tmp_path / "cluster.toml"
    path.write_text(config.render("c", "paxos", entries))
    loaded = config.load(path)
    storage = await SqliteStorage.open(tmp_path / "node-1", Identity("c", 1, "paxos", (1, 2, 3)))
    options = config.Options()
    engine = MODES["paxos"].build(loaded, 1, options, storage)
    made = Node(loaded, 1, options, storage, engine, MODES["paxos"].codec, NodeLog(91, "info"))  # Of nobody else.
    await made.recover()
    yield made
    await made.stop()
    await storage.close()


async def turns() -> None:
    """Let the event loop go round a few times."""
    for _ in range(5):
        await asyncio.sleep(0)


def a_write(number: int) -> Proposals:
    version = ballot.make_ballot(1, 2) << ballot.STEP_BITS | number
    return Proposals(number, (), (), (), (b"k",), (version,), (register.encode(register.Register()),))


async def test_what_a_peer_says_while_the_node_stops_is_not_heard(node: Node) -> None:
    """It had been journaled after the journal was closed, and the node ended as if its disk had failed."""
    storage = node._storage
    raised: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context["exception"]))
    node.start()
    node.receive(2, [a_write(1)])
    await turns()
    assert storage.boundary() or storage.changing_s, "it is journaled"
    await node.stop()
    node.receive(2, [a_write(2)])
    await storage.close()
    await turns()
    assert not raised


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT is Linux'")
async def test_the_way_to_a_peer_does_not_outlive_its_silence(node: Node) -> None:
    """Or else TCP would send again after ever longer pauses, long after the network is well again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: _Outgoing(node), *server.getsockname())
        timeout_ms = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        transport.abort()
    assert 1000 <= timeout_ms <= 10_000


def test_a_checkpoint_that_does_not_keep_up_writes_more_at_a_time() -> None:
    """In slices of 128, under a load of new keys on a slow machine, it took longer than the nodes stayed alive, and a
    journal of 8 MB at the most came to 128."""
    normal = slice_records(0, 8 << 20)
    assert slice_records(16 << 20, 8 << 20) == normal
    assert slice_records((16 << 20) + 1, 8 << 20) > 4 * normal


class Line(asyncio.Transport):
    """The way to somebody who reads when the test says so."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__({"socket": connection})
        self.written: list[bytes] = []
        self.unread_bytes = 0
        self.taken_at_each_look = 0
        """How much is taken whenever somebody looks at what is left."""
        self.is_read = True
        """Whether the node reads what comes from there."""
        self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))
        self.unread_bytes += len(data)

    def get_write_buffer_size(self) -> int:
        self.unread_bytes = max(self.unread_bytes - self.taken_at_each_look, 0)
        return self.unread_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True

    def close(self) -> None:
        self.is_aborted = True


@pytest.fixture
def line() -> Iterator[Line]:
    with socket.socket() as connection:
        yield Line(connection)


def link_on(node: Node, line: Line) -> PeerLink:
    """The link to node 2, as if that were there."""
    link = node.links[2]
    outgoing = _Outgoing(node)
    outgoing.connection_made(line)
    link._connection = outgoing
    line.written.clear()
    line.unread_bytes = 0
    return link


@pytest.mark.interpreted
async def test_what_a_peer_does_not_read_is_dropped_after_a_while(
    node: Node, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it would lie in memory, and would be handled first when the peer wakes up, long after it mattered."""
    now = 100.0
    monkeypatch.setattr(node, "now", lambda: now)
    link = link_on(node, line)
    outgoing = link._connection
    assert outgoing is not None
    outgoing.pause_writing()
    now += 0.9 * peers._BLOCKED_S_MAX
    link.send([a_write(1)])
    assert (len(line.written), link.dropped_frames) == (1, 0)
    now += 0.2 * peers._BLOCKED_S_MAX
    link.send([a_write(2)])
    assert (len(line.written), link.dropped_frames) == (1, 1)
    outgoing.resume_writing()
    link.send([a_write(3)])
    assert (len(line.written), link.dropped_frames) == (2, 1)
    link._connection = None


@pytest.mark.interpreted
async def test_what_a_peer_does_not_read_is_dropped_at_once_on_top_of_much(
    node: Node, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "now", lambda: 100.0)
    link = link_on(node, line)
    outgoing = link._connection
    assert outgoing is not None
    outgoing.pause_writing()
    line.unread_bytes = peers._QUEUE_BYTES_MAX
    link.send([a_write(1)])
    assert (len(line.written), link.dropped_frames) == (1, 0)
    link.send([a_write(2)])
    assert (len(line.written), link.dropped_frames) == (1, 1)
    # Much that is read is no reason.
    outgoing.resume_writing()
    link.send([a_write(3)])
    assert (len(line.written), link.dropped_frames) == (2, 1)
    link._connection = None


def client_on(node: Node, line: Line) -> ClientConnection:
    client = ClientConnection(node)
    client.connection_made(line)
    return client


def answer(client: ClientConnection, size: int) -> None:
    client.answer(1, operations.OK, bytes(size), 0)
    client.flush()


@pytest.mark.interpreted
async def test_a_client_that_reads_nothing_is_owed_no_more_than_so_much(
    node: Node, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had asked for all of it before it was not read from any more."""
    monkeypatch.setattr(clients, "_UNREAD_BYTES_MAX", 10_000)
    client = client_on(node, line)
    answer(client, 20_000)
    assert not line.is_aborted, "it may be reading"
    line.unread_bytes = 0
    client.pause_writing()
    answer(client, 9_000)
    assert not line.is_aborted
    answer(client, 1_000)
    assert line.is_aborted
    client.connection_lost(None)


@pytest.mark.interpreted
async def test_a_client_that_reads_nothing_is_not_read_from_and_closed_after_a_while(
    node: Node, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "UNREAD_S_MAX", 0.0)
    client = client_on(node, line)
    answer(client, 1000)
    client.pause_writing()
    assert not line.is_read
    client.resume_writing()
    assert line.is_read
    await turns()
    assert not line.is_aborted, "it has caught up in time"
    client.pause_writing()
    await turns()
    assert line.is_aborted
    client.connection_lost(None)


async def test_a_client_that_is_slow_is_put_up_with_for_as_long_as_it_reads_something(line: Line) -> None:
    given_up: list[bool] = []
    unread = Unread(line, 0.0, lambda: given_up.append(True))
    unread.written_bytes += 100_000
    line.write(bytes(100_000))
    line.taken_at_each_look = 1
    unread.watch()
    for _ in range(20):
        await turns()
    line.taken_at_each_look = 0
    for _ in range(20):
        # As much comes on top as it has taken.
        unread.written_bytes += 1
        await asyncio.sleep(0)
    assert not given_up
    for _ in range(20):
        await turns()
    assert given_up == [True]
