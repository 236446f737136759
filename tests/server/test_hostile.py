"""Bytes that no client and no peer of ours would send: the connection ends, the node lives, nobody else notices."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import msgpack
import pytest
from harness.processes import running_cluster

import paxoskv
from paxoskv.core import errors, operations
from paxoskv.server.launcher import LocalCluster
from paxoskv.wire import client, framing, peer


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with running_cluster(tmp_path_factory.mktemp("hostile"), 3) as running:
        yield running


def _frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


HOSTILE = {
    "a length of 4 GiB": b"\xff\xff\xff\xff",
    "a length of zero": b"\x00\x00\x00\x00",
    "a length just over the limit": (3 * 1024 * 1024 + 1).to_bytes(4, "big"),
    "no msgpack": _frame(b"\xc1\xc1\xc1"),
    "deep nesting": _frame(b"\x91" * 100_000),
    "nesting that msgpack takes, and no repr": _frame(b"\x91" * 1000 + b"\x00"),
    "a version that msgpack takes, and no repr": _frame(b"\x92\x00" + b"\x91" * 1000 + b"\x00"),
    "a peer's version that msgpack takes, and no repr": _frame(b"\x92\x10" + b"\x91" * 1000 + b"\x00"),
    "a command that msgpack takes, and no repr": _frame(b"\x94\x08\x01" + b"\x91" * 1000 + b"\xc0\xc0"),
    "a command with an argument that no repr takes": _frame(b"\x94\x08\x01\xa1x" + b"\x91" * 1000 + b"\xc0"),
    "a fault with an argument that no repr takes": _frame(b"\x94\x04\x01\xa1x" + b"\x91" * 1000 + b"\xc0")
    + _frame(b"\xc1"),
    "an array that claims four billion elements": _frame(b"\xdd\xff\xff\xff\xff"),
    "a million empty maps": _frame(b"\xdd\x00\x0f\x42\x40" + b"\x80" * 1_000_000),
    "a text": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a number": _frame(b"\x07"),
    "an unknown kind": framing.pack((99, 1)),
    "requests that are none": framing.pack((client.REQUESTS, (1, 2, 3))),
    "a request with a wrong argument": framing.pack((client.REQUESTS, ((1, 4, b"k", b"not a number", None, 1000),))),
    "a request with an endless timeout": framing.pack((client.REQUESTS, ((1, 0, b"k", None, None, 2**40),))),
    "more requests than may be in flight": framing.pack((client.REQUESTS, ((1, 0, b"k", None, None, 1000),) * 8193)),
    "a hello of another version": framing.pack((client.HELLO, 999)),
    "a peer's frame without a hello": framing.pack((peer.FRAME, "x", 1, 1, 1, 1)),
}


async def test_scans_beyond_what_a_connection_may_have_under_way_are_refused_and_the_others_answered(
    cluster: LocalCluster,
) -> None:
    address = cluster.config.node(1).client
    reader, writer = await asyncio.open_connection(address.host, address.port)
    scans = [framing.pack((client.SCAN, number, b"", None, None, False, 5000, None)) for number in range(1000)]
    writer.write(b"".join(scans))
    statuses: dict[int, int] = {}
    while len(statuses) < 1000:
        length = int.from_bytes(await reader.readexactly(4), "big")
        kind, *rest = framing.unpack(await reader.readexactly(length))
        if kind == client.PAGE:
            statuses[rest[0]] = rest[1]
    writer.close()
    found = set(statuses.values())
    assert found == {operations.OK, errors.Overloaded.status}
    assert list(statuses.values()).count(operations.OK) >= 256


async def test_who_does_not_say_that_it_is_a_peer_holds_no_connection_for_ever(cluster: LocalCluster) -> None:
    """As many as a node has file descriptors would keep it from taking clients, and from dialling its peers."""
    address = cluster.config.node(1).peer
    reader, writer = await asyncio.open_connection(address.host, address.port)
    async with asyncio.timeout(60):
        assert b"it has not said who it is" in await reader.read()
    writer.close()


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("port", ["client", "peer"])
async def test_hostile_bytes_end_their_connection_and_nothing_else(
    cluster: LocalCluster, port: str, what: str, bytewise: bool
) -> None:
    node = cluster.config.node(1)
    address = node.client if port == "client" else node.peer
    data = HOSTILE[what]
    if bytewise and len(data) > 1000:
        data = data[:1000]  # The start is what parsers trip over; the rest is a matter of patience.
    async with paxoskv.connect(cluster.endpoints[0]) as bystander:
        await bystander.put("before", "1")
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):  # The node may have had enough in the middle of it.
            for part in [data[i : i + 1] for i in range(len(data))] if bytewise else [data]:
                writer.write(part)
                await writer.drain()
            if bytewise and len(HOSTILE[what]) > 1000:
                writer.write_eof()
            await reader.read()  # Until the node closes it.
        writer.close()
        await bystander.put("after", "1")
        assert (await bystander.get("before")).value == b"1"
    assert cluster.nodes[1].process.poll() is None


@pytest.mark.parametrize("port", ["client", "peer"])
@pytest.mark.parametrize(
    "body",
    [
        (b"\xff" * 1_000_000, 1),
        (client.HELLO, b"\xff" * 1_000_000),
        (peer.PEER_HELLO, "x" * 1_000_000),
        (peer.PEER_HELLO, peer.WIRE_VERSION, "paxos", "x" * 1_000_000, 1, 2, 1, "disk", (1, 2, 3), 1, 1),
        (peer.PEER_HELLO, peer.WIRE_VERSION, "x" * 1_000_000, "c", 1, 2, 1, "disk", (1, 2, 3), 1, 1),
        (peer.PEER_HELLO, peer.WIRE_VERSION, "paxos", "c", 1, 2, 1, "disk", (1, 2, 255) * 100_000, 1, 1),
        (peer.PEER_HELLO, peer.WIRE_VERSION, "paxos", "c", 1, 2, 1, "disk", ("x" * 1_000_000,), 1, 1),
        (peer.GOODBYE, "x" * 1_000_000),
    ],
)
async def test_the_log_does_not_repeat_a_stranger_at_any_length(
    cluster: LocalCluster, port: str, body: tuple[object, ...]
) -> None:
    node = cluster.config.node(1)
    address = node.client if port == "client" else node.peer
    log = cluster.nodes[1].log_path
    before = log.stat().st_size
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(framing.pack(body))
    await reader.read()
    writer.close()
    assert log.stat().st_size - before < 2000


async def _refusal(cluster: LocalCluster, hello: peer.PeerHello) -> str:
    address = cluster.config.node(1).peer
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(peer.pack_hello(hello))
    body = msgpack.unpackb((await reader.read())[4:])
    writer.close()
    assert body[0] == peer.GOODBYE
    return str(body[1])


async def test_impostors_are_refused_with_a_sentence(cluster: LocalCluster) -> None:
    name = cluster.config.cluster
    right = peer.PeerHello("paxos", name, 1, 2, 1, "not its disk", (1, 2, 3), 1024, 1 << 20)
    assert "belongs to cluster 'other'" in await _refusal(cluster, right._replace(cluster="other"))
    assert "raft mode" in await _refusal(cluster, right._replace(mode="raft"))
    assert "epoch 2" in await _refusal(cluster, right._replace(epoch=2))
    more = await _refusal(cluster, right._replace(nodes=(1, 2, 3, 4)))
    assert "its cluster.toml has the nodes 1, 2, 3, 4, this node's 1, 2, 3; give both the same" in more
    longer = await _refusal(cluster, right._replace(value_bytes_max=2 << 20))
    assert "its cluster.toml has value_bytes_max = 2097152, this node's 1048576; give both the same file" in longer
    assert "key_bytes_max = 7, this node's 1024" in await _refusal(cluster, right._replace(key_bytes_max=7))
    assert "another process runs as node 1" in await _refusal(cluster, right._replace(node=1))
    assert "node 9 is not in" in await _refusal(cluster, right._replace(node=9))
    assert "another disk" in await _refusal(cluster, right)


async def test_a_mutated_peer_frame_never_kills_a_node(cluster: LocalCluster) -> None:
    """Everything after the HELLO of an honest node, with bytes flipped: refused, or harmless."""
    import random

    rng = random.Random(7)
    statuses = await _statuses(cluster)
    for _ in range(60):
        address = cluster.config.node(1).peer
        reader, writer = await asyncio.open_connection(address.host, address.port)
        name, incarnation = cluster.config.cluster, statuses[2]["incarnation"]
        hello = peer.PeerHello("paxos", name, 1, 3, incarnation, "x", (1, 2, 3), 1024, 1 << 20)
        frame = bytearray(peer.pack_hello(hello))
        for _ in range(rng.randrange(1, 6)):
            frame[rng.randrange(4, len(frame))] = rng.randrange(256)
        writer.write(bytes(frame))
        writer.write_eof()
        await reader.read()
        writer.close()
    async with paxoskv.connect(cluster.endpoints[0]) as kv:
        await kv.put("still", "alive")
    assert cluster.nodes[1].process.poll() is None


async def _statuses(cluster: LocalCluster) -> list[dict[str, int]]:
    async with paxoskv.connect(cluster.endpoints) as kv:
        return await kv.status()
