"""What clients can make a log engine propose, send and hold in one turn."""

from harness.raft import Cluster

from paxoskv.core import operations
from paxoskv.core.operations import Operation
from paxoskv.raft import messages

MEGABYTE = 1 << 20


def puts(count: int) -> list[Operation]:
    return [Operation(operations.PUT, b"%d" % number, b"v" * MEGABYTE, deadline=1e9) for number in range(count)]


def test_a_turn_proposes_only_so_much_and_the_rest_follows() -> None:
    """A turn is one row of the journal; one of a gigabyte SQLite refuses, which ended the leader."""
    cluster = Cluster(1)
    cluster.settle(2.0)
    asked = puts(40)
    cluster.submit(1, *asked)
    assert all(sum(map(len, row)) < 6 * MEGABYTE for _, row, _ in cluster.nodes[1].disk.queued)
    cluster.settle(5.0)
    assert all(cluster.result(put) is not None for put in asked)


def test_a_follower_forwards_only_so_much_and_the_rest_follows() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    asked = puts(24)
    cluster.submit(2, *asked)
    forwarded = [
        len(batch.encoded) for packet in cluster.of(2, 1, messages.Forward) for batch in packet.message.batches
    ]  # type: ignore[union-attr]
    assert 3 * MEGABYTE < sum(forwarded) < 6 * MEGABYTE
    cluster.settle(5.0)
    assert all(cluster.result(put) is not None for put in asked)
