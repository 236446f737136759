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


def test_a_probe_whose_place_in_the_log_was_compacted_away_still_leads_somewhere() -> None:
    """Found by the simulator (seed 73318): a follower did not take the probe, having enough to do, and the log was
    compacted. What it was asked after that, it did not have either, and that was taken for no answer to the probe."""
    cluster = Cluster()
    cluster.elect(1)
    cluster.run(1, Operation(operations.PUT, b"k", b"1", deadline=cluster.now + 10))
    cluster.settle(1.0)
    engine = cluster.engine(1)
    assert engine.leader is not None
    engine.leader.followers[3].take_back(engine.log.last_index + 1)
    cluster.submit(1, Operation(operations.PUT, b"k", b"2", deadline=cluster.now + 10))
    for packet in cluster.of(1, 3, Append):
        cluster.packets.remove(packet)
    cluster.settle(until=lambda: engine.machine.applied == engine.log.last_index)
    assert cluster.engine(3).machine.applied < engine.machine.applied
    engine.log.compact(0, engine.machine.applied)
    cluster.settle(3.0, until=lambda: cluster.engine(3).machine.applied == engine.machine.applied)
    assert cluster.engine(3).machine.applied == engine.machine.applied
