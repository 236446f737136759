"""What a leader does: dissertation, sections 3.5, 3.6.2, 10.2.1 and 10.2.2; the paper's figure 2, Leaders."""

from harness.raft import Cluster

from paxoskv.core import operations
from paxoskv.core.operations import Operation
from paxoskv.raft import messages
from paxoskv.raft.context import Flow
from paxoskv.raft.leader import Leader
from paxoskv.raft.messages import Append, Appended


def put(value: bytes, key: bytes = b"k") -> Operation:
    return Operation(operations.PUT, key, value, deadline=1e9)


def led(nodes: int = 3, **options: int) -> tuple[Cluster, Leader, int]:
    """Node 1 leads; its part as a leader, and the term."""
    cluster = Cluster(nodes, **options)
    cluster.elect(1)
    cluster.packets.clear()
    engine = cluster.engine(1)
    assert engine.leader is not None
    return cluster, engine.leader, engine.election.term


def appends(cluster: Cluster, target: int) -> list[Append]:
    return [packet.message for packet in cluster.of(1, target) if isinstance(packet.message, Append)]


def test_a_term_begins_with_an_entry_that_does_nothing() -> None:
    """Section 6.4: with it the leader learns what is committed."""
    cluster, leader, term = led()
    log = cluster.engine(1).log
    assert (log.term_at(leader.first), log.committed) == (term, leader.first)
    assert cluster.engine(1).machine.applied_operations == 0


def test_an_entry_is_committed_when_a_majority_of_disks_has_it() -> None:
    cluster, _, term = led(5)
    log = cluster.engine(1).log
    before = log.committed
    operation = put(b"x")
    cluster.submit(1, operation)
    index = log.last_index
    cluster.commit(1)
    cluster.hand(1, 2)
    cluster.commit(2)
    cluster.hand(2, 1)
    assert (log.committed, cluster.result(operation)) == (before, None)
    cluster.say(2, 1, Appended(term, index, 0))
    assert log.committed == before, "the same one again is no other"
    cluster.hand(1, 3)
    assert log.committed == before, "it waits for the disk"
    cluster.commit(3)
    cluster.hand(3, 1)
    assert log.committed == index
    assert cluster.result(operation) is not None


def test_the_leaders_own_disk_is_one_among_the_others() -> None:
    """Section 10.2.1: it writes in parallel, and what a majority without it has is committed."""
    cluster, _, _ = led()
    cluster.submit(1, put(b"x"))
    index = cluster.engine(1).log.last_index
    assert [message.previous_index for message in appends(cluster, 2)] == [index - 1], "sent before it is on the disk"
    for number in (2, 3):
        assert cluster.engine(1).log.committed == index - 1
        cluster.hand(1, number)
        cluster.commit(number)
        cluster.hand(number, 1)
    assert cluster.engine(1).log.committed == index


def test_entries_of_earlier_terms_are_not_committed_by_counting() -> None:
    """Figure 2, Leaders: log[N].term == currentTerm. See also transcripts/figure-3-7."""
    cluster, leader, term = led(5)
    engine = cluster.engine(1)
    cluster.submit(1, put(b"x"))
    index = engine.log.last_index
    engine.election.term = leader.term = term + 1
    for number in (2, 3):
        leader.followers[number].match = index
    leader.durable = index
    assert not leader.commit()
    assert engine.log.committed < index


def test_appends_follow_each_other_without_waiting_for_answers() -> None:
    """Section 10.2.1, pipelining."""
    cluster, leader, term = led()
    before = leader.followers[2].next
    for number in range(10):
        cluster.submit(1, put(b"%d" % number))
    sent = appends(cluster, 2)
    assert [message.previous_index for message in sent] == list(range(before - 1, before + 9))
    cluster.say(2, 1, Appended(term, before + 4, 0))
    assert (leader.followers[2].match, leader.followers[2].next) == (before + 4, before + 10)


def test_what_is_on_its_way_is_bounded_for_each_follower() -> None:
    cluster, leader, _ = led()
    for number in range(3 * Flow().window_messages):
        cluster.submit(1, put(b"%d" % number))
        cluster.commit(1)
        cluster.hand(1, 3)
        cluster.commit(3)
        cluster.hand(3, 1)
    assert len(appends(cluster, 2)) == Flow().window_messages
    cluster.settle()
    assert leader.followers[2].match == cluster.engine(1).log.last_index


def test_all_followers_and_the_journal_get_the_same_bytes() -> None:
    cluster, _, _ = led(5)
    cluster.submit(1, put(b"x"))
    sent = {id(message.encoded) for number in (2, 3, 4, 5) for message in appends(cluster, number)}
    [row] = [row for _, row, said in cluster.nodes[1].disk.queued if said]
    assert len(sent) == 1
    assert id(row[0]) in sent


def test_one_entry_for_all_that_came_in_a_turn() -> None:
    cluster, _, _ = led()
    log = cluster.engine(1).log
    before = log.last_index
    cluster.submit(1, *[put(b"%d" % number) for number in range(100)])
    assert log.last_index == before + 1


def test_a_follower_that_lost_a_message_gets_it_again_by_itself() -> None:
    cluster, leader, _ = led()
    cluster.submit(1, put(b"lost"))
    cluster.packets.clear()
    cluster.submit(1, put(b"arrives"))
    cluster.settle(until=lambda: leader.followers[2].match == cluster.engine(1).log.last_index)


def test_an_acknowledgement_of_what_the_leader_does_not_have_is_ignored() -> None:
    cluster, leader, term = led()
    cluster.say(2, 1, Appended(term, cluster.engine(1).log.last_index + 5, 0))
    assert leader.followers[2].match <= cluster.engine(1).log.last_index


def test_late_and_impossible_rejections_take_nothing_back() -> None:
    cluster, leader, term = led()
    follower = leader.followers[2]
    match = follower.match
    cluster.say(2, 1, messages.Rejected(term, 0, 0, 0, 0, 0))
    assert (follower.match, follower.probing) == (match, False), "it says less than was acknowledged already"
    last = cluster.engine(1).log.last_index
    cluster.say(2, 1, messages.Rejected(term, last + 1, last + 10, term, last + 10, 0))
    assert follower.next <= last + 1


def test_a_leader_whose_disk_takes_nothing_hands_over() -> None:
    """As when it is full or hangs. What was committed meanwhile was so by the others' disks."""
    cluster, _, _ = led()
    operation = put(b"x")
    cluster.submit(1, operation)
    for _ in range(100):
        cluster.tick(0.05)
        for packet in list(cluster.packets):
            cluster.deliver(packet)
        cluster.commit(2)
        cluster.commit(3)
        if cluster.leader() in (2, 3):
            break
    assert cluster.leader() in (2, 3)
    assert cluster.result(operation) is not None
    assert cluster.engine(1).status()["engine"]["disk_hangs"]
    assert not cluster.engine(1).election.may_stand


def test_what_is_on_its_way_is_bounded_in_bytes_as_well() -> None:
    cluster, leader, _ = led()
    for _ in range(12):
        cluster.submit(1, put(bytes(1 << 20)))
        cluster.commit(1)
        cluster.hand(1, 3)
        cluster.commit(3)
        cluster.hand(3, 1)
    assert Flow().window_bytes <= leader.followers[2].flight_bytes < Flow().window_bytes + (2 << 20)
    cluster.settle()
    assert leader.followers[2].match == cluster.engine(1).log.last_index


def test_a_node_that_does_not_keep_up_with_applying_takes_no_more_than_memory_allows() -> None:
    """Its records are being loaded, say, from a disk that is slow to read."""
    cluster = Cluster(cache_bytes=1)
    cluster.elect(1)
    cluster.run(1, put(b"x"))
    cluster.settle()
    for number in cluster.up:
        cluster.checkpoint(number)
    engine = cluster.engine(2)
    cluster.turn(2)
    cluster.turn(2)
    assert not engine.records.resident, "evicted"
    while not engine.status()["engine"]["ignored_while_behind"]:
        cluster.submit(1, put(bytes(1 << 20)))
        cluster.load(1)
        cluster.commit(1)
        cluster.hand(1, 3)
        cluster.load(3)
        cluster.commit(3)
        cluster.hand(3, 1)
        cluster.hand(1, 2)
        cluster.commit(2)
        cluster.hand(2, 1)
        cluster.tick(0.01)
        assert engine.log.unapplied_bytes < 80 << 20
    cluster.settle(20.0, until=lambda: engine.machine.applied == cluster.engine(1).log.last_index)
    assert engine.log.unapplied_bytes == 0
