"""Scans of a log cluster: through any node, as linearizable as reads (dissertation, section 6.4)."""

import random

import pytest
from harness.raft import Cluster

from paxoskv.core import errors, operations
from paxoskv.core.operations import Operation
from paxoskv.core.scan import Item, ScanOperation, prefix_end


def put(key: bytes, value: bytes = b"v", expiry: int | None = None) -> Operation:
    return Operation(operations.PUT, key, value, expiry=expiry)


def scan(cluster: Cluster, number: int, prefix: bytes = b"", keys_only: bool = False) -> list[Item]:
    found: list[Item] = []
    start: bytes | None = prefix
    while start is not None:
        operation = ScanOperation(start, prefix_end(prefix), keys_only, deadline=cluster.now + 100)
        result = cluster.run(number, operation)
        assert result.status == operations.OK
        found += operation.items
        assert operation.following is None or operation.following > start, "it gets on"
        start = operation.following
    return found


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_scan_finds_every_key_with_its_prefix_in_order(checkpointed: bool) -> None:
    cluster = Cluster()
    names = [b"user/%d" % number for number in range(12)] + [b"user", b"user0", b"a", b"\xff"]
    random.Random(1).shuffle(names)
    for index, name in enumerate(names):
        cluster.run(index % 3 + 1, put(name, b"value of " + name))
        if checkpointed and index % 5 == 4:
            cluster.checkpoint(index % 3 + 1)
    expected = sorted(name for name in names if name.startswith(b"user/"))
    for number in cluster.nodes:
        found = scan(cluster, number, b"user/")
        assert [item.key for item in found] == expected
        assert all(item.value == b"value of " + item.key and item.version for item in found)
        assert [item.key for item in scan(cluster, number, keys_only=True)] == sorted(names)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_limited_page_is_no_longer_and_goes_on_from_there(checkpointed: bool) -> None:
    cluster = Cluster()
    names = [b"%02d" % number for number in range(20)]
    for index, name in enumerate(names):
        cluster.run(index % 3 + 1, put(name, name))
        if checkpointed and index == 11:
            for number in cluster.nodes:
                cluster.checkpoint(number)
    cluster.run(1, Operation(operations.DELETE, b"05"))
    cluster.scan_records = 100
    for number in cluster.nodes:
        pages: list[int] = []
        found: list[bytes] = []
        start: bytes | None = b"03"
        while start is not None:
            operation = ScanOperation(start, b"18", deadline=cluster.now + 100, limit=4)
            cluster.run(number, operation)
            pages.append(len(operation.items))
            found += [item.key for item in operation.items]
            start = operation.following
        assert pages == [3, 4, 4, 3], "the deleted one counts in the first, and the last is the rest"
        assert found == [name for name in names[3:18] if name != b"05"]


def test_a_scan_through_any_node_sees_what_was_acknowledged_before_it() -> None:
    cluster = Cluster()
    for number in range(20):
        name = b"%d" % number
        cluster.run(number % 3 + 1, put(name))
        assert name in {item.key for item in scan(cluster, (number + 1) % 3 + 1)}


def test_absent_keys_are_in_no_scan() -> None:
    cluster = Cluster()
    for name in (b"a", b"b", b"c"):
        cluster.run(1, put(name))
    cluster.run(2, Operation(operations.DELETE, b"b"))
    cluster.run(2, put(b"c", expiry=500))
    for number in cluster.nodes:
        cluster.engine(number).wall(1_000)
    for number in cluster.nodes:
        assert [item.key for item in scan(cluster, number)] == [b"a"]


def test_a_scan_whose_disk_hangs_fails_definitely_and_on_time() -> None:
    cluster = Cluster()
    cluster.run(1, put(b"k"))
    operation = ScanOperation(b"", None, deadline=cluster.now + 1)
    cluster.submit(1, operation)
    cluster.settle(0.5, until=lambda: bool(cluster.nodes[1].scans) or cluster.result(operation) is not None)
    cluster.nodes[1].scans.clear()
    cluster.settle(3.0, until=lambda: cluster.result(operation) is not None)
    result = cluster.result(operation)
    assert result is not None
    assert result.status in (operations.OK, errors.Unavailable.status)


@pytest.mark.parametrize("seed", range(6))
def test_keys_that_are_there_all_the_while_are_in_every_scan(seed: int) -> None:
    """While others come and go, are saved, and leave memory."""
    rng = random.Random(seed)
    cluster = Cluster(seed=seed, cache_bytes=4_000)
    stable = sorted(rng.sample([b"%03d" % number for number in range(300)], 20))
    for name in stable:
        cluster.run(rng.randint(1, 3), put(name, name))
    found: list[Item] = []
    start: bytes | None = b""
    while start is not None:
        operation = ScanOperation(start, None, deadline=cluster.now + 1_000)
        cluster.submit(rng.randint(1, 3), operation)
        for _ in range(rng.randint(0, 8)):
            name = b"%03d" % rng.randrange(300)
            if name in stable:
                cluster.submit(rng.randint(1, 3), put(name, name))
            else:
                cluster.submit(rng.randint(1, 3), put(name, b"other"))
            node = rng.randint(1, 3)
            for step in rng.sample([cluster.commit, cluster.load, cluster.step_checkpoint], 2):
                step(node)
            if cluster.packets:
                cluster.deliver(cluster.packets[0])
        cluster.settle(100, until=lambda asked=operation: cluster.result(asked) is not None)  # type: ignore[misc]
        found += operation.items
        start = operation.following
    names = [item.key for item in found]
    assert names == sorted(set(names))
    assert set(stable) <= set(names)
    assert all(item.value == item.key for item in found if item.key in stable)
