"""Scans of a leaderless cluster: ordered, complete, repaired as they go; protocol.md section 4."""

import random

import pytest
from harness.cluster import Cluster

from paxoskv.core import operations
from paxoskv.core.operations import Operation
from paxoskv.core.scan import Item, ScanOperation, prefix_end
from paxoskv.paxos.messages import Page, Pages, Proposals


def put(key: bytes, value: bytes = b"v", expiry: int | None = None) -> Operation:
    return Operation(operations.PUT, key, value, expiry=expiry)


def page(
    cluster: Cluster,
    number: int,
    start: bytes,
    end: bytes | None,
    keys_only: bool = False,
    limit: int | None = None,
) -> ScanOperation:
    operation = ScanOperation(start, end, keys_only, deadline=cluster.now + 100, limit=limit)
    cluster.scan(number, operation)
    cluster.settle()
    result = cluster.result(operation)
    assert result is not None
    assert result.status == operations.OK
    return operation


def scan(cluster: Cluster, number: int, prefix: bytes = b"", keys_only: bool = False) -> list[Item]:
    found: list[Item] = []
    start: bytes | None = prefix
    while start is not None:
        operation = page(cluster, number, start, prefix_end(prefix), keys_only)
        found += operation.items
        assert operation.following is None or operation.following > start, "it gets on"
        start = operation.following
    return found


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_scan_finds_every_key_with_its_prefix_in_order(checkpointed: bool) -> None:
    cluster = Cluster()
    names = [b"user/%d" % number for number in range(20)] + [b"user", b"user0", b"a", b"\xff"]
    random.Random(1).shuffle(names)
    for index, name in enumerate(names):
        cluster.run(index % 3 + 1, put(name, b"value of " + name))
        if checkpointed and index % 7 == 6:
            cluster.checkpoint(index % 3 + 1)
    expected = sorted(name for name in names if name.startswith(b"user/"))
    for number in cluster.nodes:
        found = scan(cluster, number, b"user/")
        assert [item.key for item in found] == expected
        assert all(item.value == b"value of " + item.key and item.version for item in found)
        assert [item.key for item in scan(cluster, number)] == sorted(names)
        assert all(item.value is None and item.version for item in scan(cluster, number, keys_only=True))


def test_absent_keys_are_in_no_scan() -> None:
    cluster = Cluster()
    for name in (b"a", b"b", b"c"):
        cluster.run(1, put(name))
    cluster.run(2, Operation(operations.DELETE, b"b"))
    cluster.run(2, put(b"c", expiry=500))
    for number in cluster.nodes:
        cluster.engine(number).wall(1_000)
    assert [item.key for item in scan(cluster, 3)] == [b"a"]
    assert cluster.run(1, Operation(operations.GET, b"c")).value is None


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_limited_page_is_no_longer_and_no_replica_looks_further(checkpointed: bool) -> None:
    cluster = Cluster()
    cluster.scan_records = 100
    names = [b"%02d" % number for number in range(20)]
    for index, name in enumerate(names):
        cluster.run(index % 3 + 1, put(name, name))
        if checkpointed and index == 11:
            for number in cluster.nodes:
                cluster.checkpoint(number)
    asked = ScanOperation(b"03", None, deadline=cluster.now + 100, limit=5)
    cluster.scan(2, asked)
    assert [scan.limit for scan in cluster.nodes[2].scans] == [5]
    deliver_all(cluster, Pages)
    assert [scan.limit for scan in cluster.nodes[1].scans] == [5]
    for number in cluster.nodes:
        cluster.load(number)
    pages = [packet.message for packet in cluster.packets if isinstance(packet.message, Page)]
    assert [message.keys for message in pages] == [tuple(names[3:8])] * 2
    cluster.settle()
    assert [(item.key, item.value) for item in asked.items] == [(name, name) for name in names[3:8]]
    following = asked.following
    assert following is not None
    assert names[7] < following <= names[8]
    rest = page(cluster, 3, following, None, limit=12)
    assert [item.key for item in rest.items] == names[8:]


def test_a_limited_page_is_cut_where_replicas_have_different_keys() -> None:
    """Each has three, and together they are more."""
    cluster = Cluster()
    cluster.scan_records = 100
    for name in (b"a", b"c", b"e"):
        cluster.run(3, put(name, name))
    operation = ScanOperation(b"", None, deadline=cluster.now + 100, limit=3)
    cluster.scan(1, operation)
    [asks, _] = [packet.message for packet in cluster.packets if isinstance(packet.message, Pages)]
    cluster.load(1)
    theirs = Page(asks.number, b"", (b"b", b"d", b"f"), (0, 0, 0), b"f\0")
    cluster.engine(1).receive(2, [theirs], cluster.now)
    cluster.turn(1)
    cluster.settle()
    assert [item.key for item in operation.items] == [b"a", b"c"], "b was not written after all"
    assert operation.following == b"d"


def test_deleted_keys_count_towards_the_limit_of_a_page() -> None:
    cluster = Cluster()
    for name in (b"a", b"b", b"c"):
        cluster.run(1, put(name))
    cluster.run(2, Operation(operations.DELETE, b"a"))
    first = page(cluster, 1, b"", None, limit=1)
    assert (first.items, first.following) == ([], b"a\0")
    assert [item.key for item in page(cluster, 1, b"a\0", None, limit=1).items] == [b"b"]


def test_a_scan_finishes_what_a_minority_has_accepted() -> None:
    """A value that a scan has shown is there for everybody from then on."""
    cluster = Cluster()
    cluster.run(1, put(b"k", b"old"))
    cluster.submit(1, put(b"k", b"new"))
    cluster.commit(1)
    cluster.packets.clear()
    cluster.crash(3)
    [item] = scan(cluster, 1)
    assert item.value == b"new"
    cluster.crash(1)
    cluster.restart(3)
    assert cluster.run(2, Operation(operations.GET, b"k")).value == b"new"


def test_a_scan_goes_on_without_its_nodes_own_disk() -> None:
    cluster = Cluster()
    for name in (b"a", b"b", b"c"):
        cluster.run(1, put(name, name))
    operation = ScanOperation(b"", None, deadline=cluster.now + 10)
    cluster.scan(1, operation)
    cluster.nodes[1].scans.clear()
    cluster.settle()
    assert cluster.result(operation) is not None
    assert [(item.key, item.value) for item in operation.items] == [(b"a", b"a"), (b"b", b"b"), (b"c", b"c")]


def test_a_node_that_is_as_slow_as_the_others_does_not_fetch_what_its_own_disk_will_bring() -> None:
    """Under load everything takes long, and a page of gets would be more load."""
    cluster = Cluster()
    cluster.scan_records = 100
    for name in (b"a", b"b", b"c"):
        cluster.run(1, put(name, name))
    operation = ScanOperation(b"", None, deadline=cluster.now + 10)
    cluster.scan(1, operation)
    deliver_all(cluster, Pages)
    cluster.load(2)
    cluster.load(3)
    cluster.now += 0.2
    deliver_all(cluster, Page)
    for _ in range(19):
        cluster.tick(0.01)
    assert not cluster.packets
    cluster.load(1)
    assert [item.value for item in operation.items] == [b"a", b"b", b"c"]
    assert cluster.engine(1).scanner.counters["scan_reads"] == 0


def test_a_scan_without_a_majority_fails_definitely_and_on_time() -> None:
    cluster = Cluster()
    cluster.run(1, put(b"k"))
    cluster.crash(2)
    cluster.crash(3)
    operation = ScanOperation(b"", None, deadline=cluster.now + 1)
    cluster.scan(1, operation)
    cluster.settle()
    result = cluster.result(operation)
    assert result is not None
    assert result.status == 18


def test_pages_lost_on_their_way_are_asked_for_again() -> None:
    cluster = Cluster()
    cluster.run(1, put(b"k"))
    operation = ScanOperation(b"", None, deadline=cluster.now + 10)
    cluster.scan(1, operation)
    for packet in [packet for packet in cluster.packets if isinstance(packet.message, Pages | Page)]:
        cluster.packets.remove(packet)
    cluster.settle()
    assert [item.key for item in operation.items] == [b"k"]


@pytest.mark.parametrize("seed", range(12))
def test_keys_that_are_there_all_the_while_are_in_every_scan(seed: int) -> None:
    """While others come and go, are saved, leave memory, and messages are lost."""
    rng = random.Random(seed)
    cluster = Cluster(seed=seed, cache_bytes=4_000)
    cluster.scan_records = 2
    stable = sorted(rng.sample([b"%03d" % number for number in range(300)], 25))
    for name in stable:
        cluster.run(rng.randint(1, 3), put(name, name))
    found: list[Item] = []
    start: bytes | None = b""
    while start is not None:
        operation = ScanOperation(start, None, deadline=cluster.now + 1_000)
        cluster.scan(rng.randint(1, 3), operation)
        for _ in range(rng.randint(0, 12)):
            name = b"%03d" % rng.randrange(300)
            if name in stable:
                cluster.submit(rng.randint(1, 3), put(name, name))
            else:
                kind = rng.choice([operations.PUT, operations.DELETE])
                argument = b"other" if kind == operations.PUT else None
                cluster.submit(rng.randint(1, 3), Operation(kind, name, argument, deadline=cluster.now + 1_000))
            node = rng.randint(1, 3)
            for step in rng.sample([cluster.commit, cluster.load, cluster.step_checkpoint], 2):
                step(node)
            if cluster.packets and rng.random() < 0.7:
                cluster.deliver(rng.choice(cluster.packets))
            if cluster.packets and rng.random() < 0.1:
                lost = rng.choice(cluster.packets)
                if not isinstance(lost.message, Proposals):
                    cluster.packets.remove(lost)
        cluster.settle(300)
        assert cluster.result(operation) is not None
        found += operation.items
        start = operation.following
    names = [item.key for item in found]
    assert names == sorted(set(names))
    assert set(stable) <= set(names)
    assert all(item.value == item.key for item in found if item.key in stable)


def test_a_read_of_a_scan_that_the_own_vote_completes_is_answered_to_the_scan() -> None:
    """What is read was accepted here meanwhile, so the own acceptor confirms it at once, while effects are taken."""
    cluster = Cluster()
    cluster.run(2, put(b"k", b"old"))
    cluster.crash(3)
    cluster.submit(2, put(b"k", b"new"))
    cluster.commit(2)
    [proposals] = [packet for packet in cluster.packets if packet.target == 1]
    operation = ScanOperation(b"", None, deadline=cluster.now + 10)
    cluster.scan(1, operation)
    cluster.load(1)
    deliver_all(cluster, Pages)
    cluster.load(2)
    deliver_all(cluster, Page)
    [read] = [packet for packet in cluster.packets if packet.target == 2]
    cluster.deliver(proposals)
    cluster.commit(1)
    cluster.deliver(read)
    cluster.settle()
    result = cluster.result(operation)
    assert result is not None
    assert [item.value for item in operation.items] == [b"new"]


def test_what_left_memory_while_the_disk_was_reading_is_read_like_any_key() -> None:
    """It was not saved when the disk read, and not in memory any more when the page was made: in neither of both."""
    cluster = Cluster(cache_bytes=1)
    cluster.submit(3, put(b"k", b"value"))
    for _ in range(2):
        for source, target in ((3, 1), (1, 3)):
            for packet in cluster.of(source, target):
                cluster.deliver(packet)
            cluster.commit(source)
            cluster.commit(target)
    assert cluster.answers
    cluster.crash(3)
    cluster.packets.clear()
    operation = ScanOperation(b"", None, deadline=cluster.now + 10)
    cluster.scan(1, operation)
    [asked] = cluster.nodes[1].scans
    cluster.nodes[1].scans.clear()
    cluster.checkpoint(1)
    cluster.turn(1)
    assert b"k" not in cluster.engine(1).records.resident
    cluster.engine(1).scanned(asked.number, [], None, cluster.now)
    cluster.turn(1)
    cluster.settle()
    assert [(item.key, item.value) for item in operation.items] == [(b"k", b"value")]


def test_what_left_memory_while_the_disk_was_reading_is_not_taken_from_what_it_read_before() -> None:
    """The record that the disk brings is older than the one that was in memory when it was asked."""
    cluster = Cluster(nodes=1, cache_bytes=1)
    cluster.run(1, put(b"k", b"old"))
    cluster.checkpoint(1)
    cluster.run(1, put(b"k", b"new"))
    operation = ScanOperation(b"", None, deadline=cluster.now + 10)
    cluster.scan(1, operation)
    [asked] = cluster.nodes[1].scans
    cluster.nodes[1].scans.clear()
    read = list(cluster.nodes[1].disk.records.items())
    cluster.checkpoint(1)
    cluster.turn(1)
    assert b"k" not in cluster.engine(1).records.resident
    cluster.engine(1).scanned(asked.number, read, None, cluster.now)
    cluster.turn(1)
    cluster.settle()
    assert [(item.key, item.value) for item in operation.items] == [(b"k", b"new")]


def test_a_page_that_a_former_incarnation_asked_for_is_sent_to_nobody() -> None:
    """(B9) The new one numbers its scans from the beginning, and this page is older than what it asks for."""
    cluster = Cluster()
    cluster.run(2, put(b"k"))
    cluster.scan(1, ScanOperation(b"", None, deadline=cluster.now + 10))
    deliver_all(cluster, Pages)
    cluster.crash(1)
    cluster.restart(1)
    cluster.load(2)
    assert not [packet for packet in cluster.packets if isinstance(packet.message, Page)]
    assert [item.key for item in scan(cluster, 1)] == [b"k"]


def deliver_all(cluster: Cluster, kind: type) -> None:
    for packet in [packet for packet in cluster.packets if isinstance(packet.message, kind)]:
        cluster.deliver(packet)
