"""Elections: dissertation, sections 3.4, 3.6.1, 4.2.3 and 9.6; the paper's figure 2, RequestVote and Candidates."""

from harness.raft import Cluster

from paxoskv.core import operations
from paxoskv.core.operations import Operation
from paxoskv.raft import messages
from paxoskv.raft.election import CANDIDATE, LEADER, TRYING


def put(value: bytes, key: bytes = b"k") -> Operation:
    return Operation(operations.PUT, key, value, deadline=1e9)


def stand(cluster: Cluster, number: int, other: int) -> None:
    """Let a node's time-out pass and the other say that it would vote for it; its requests for votes are in flight."""
    election = cluster.engine(number).election
    while election.role != TRYING:
        cluster.tick(0.05, number)
    cluster.hand(number, other)
    cluster.hand(other, number)
    assert election.role == CANDIDATE
    cluster.packets = [packet for packet in cluster.packets if packet.message.term == election.term]


def test_nobody_leads_before_its_own_vote_is_on_its_disk() -> None:
    """With two of three votes of others it would not need its own; see the next test for why it does."""
    cluster = Cluster()
    stand(cluster, 1, 3)
    for other in (2, 3):
        cluster.hand(1, other)
        cluster.commit(other)
        cluster.hand(other, 1)
    assert cluster.engine(1).election.role == CANDIDATE
    cluster.commit(1)
    assert cluster.engine(1).election.role == LEADER


def test_a_term_has_one_log_though_its_leader_forgot_that_it_was_elected() -> None:
    """Node 5 hands over to node 1, which crashes before its disk has its vote, and is told to stand again: with the
    same term, and those who voted for it vote for it once more. If it led before its vote was on its disk, there were
    two leaders of one term (S1), with different entries at one index (S3)."""
    cluster = Cluster(nodes=5)
    cluster.elect(5)
    term = cluster.engine(5).election.term
    cluster.packets.clear()
    cluster.engine(5).command("raft-transfer", 1, cluster.now)
    cluster.turn(5)
    cluster.hand(5, 1, messages.Campaign)
    for other in (2, 3, 4):
        cluster.hand(1, other)
        cluster.commit(other)
        cluster.hand(other, 1)
    cluster.submit(1, put(b"before"))
    cluster.hand(1, 2)
    cluster.exchange(2)
    cluster.crash(1, notice=False)
    cluster.restart(1)
    cluster.packets = [packet for packet in cluster.packets if 2 not in (packet.source, packet.target)]
    cluster.exchange(1, 5)
    cluster.tick(0.06, 5)
    cluster.hand(5, 1, messages.Campaign)
    cluster.submit(1, put(b"after"))
    cluster.exchange(1, 3, 4)
    assert cluster.engine(1).election.term == term + 1
    assert cluster.engine(1).election.role == LEADER
    cluster.settle(until=lambda: len({cluster.engine(number).machine.applied for number in cluster.up}) == 1)
    assert {cluster.engine(number).records.resident[b"k"].value for number in cluster.up} == {b"after"}
