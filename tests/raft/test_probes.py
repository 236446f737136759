"""How a leader finds out where a follower's log departs from its own; dissertation, section 3.5."""

from harness.raft import Cluster

from paxoskv.core import operations
from paxoskv.core.operations import Operation
from paxoskv.raft.messages import Append, Rejected


def test_a_rejected_probe_leads_to_an_earlier_one_also_when_it_carried_entries() -> None:
    """Found by the simulator: `paxoskv simulate --mode raft` was left with a follower that never caught up, since only
    rejections of what came after the probe's entries were taken for answers to the probe."""
    cluster = Cluster()
    cluster.elect(1)
    for _ in range(3):
        cluster.run(1, Operation(operations.PUT, b"k", b"v", deadline=cluster.now + 10))
    cluster.settle(1.0)
    leader = cluster.engine(1).leader
    assert leader is not None
    leader.followers[3].take_back(4)
    leader.followers[3].match = 0
    cluster.turn(1)
    (probe,) = [packet for packet in cluster.of(1, 3, Append) if packet.message.entries]  # type: ignore[union-attr]
    assert isinstance(probe.message, Append)
    assert probe.message.previous_index == 3
    leader.on_rejected(3, Rejected(leader.term, 3, 2, leader.term, 0, 0))
    cluster.packets.clear()
    cluster.turn(1)
    (earlier,) = [packet for packet in cluster.of(1, 3, Append) if packet.message.entries]  # type: ignore[union-attr]
    assert isinstance(earlier.message, Append)
    assert earlier.message.previous_index == 2
