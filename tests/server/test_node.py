"""What a node decides by itself."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from paxoskv.paxos import ballot, register
from paxoskv.paxos.messages import Proposals
from paxoskv.server import config
from paxoskv.server.launcher import free_base_port
from paxoskv.server.logs import NodeLog
from paxoskv.server.modes import MODES
from paxoskv.server.node import Node, slice_records
from paxoskv.server.peers import _Outgoing
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
