"""Reads that cost no entry: dissertation, sections 6.4 and 6.4.1."""

from harness.raft import Cluster

from paxoskv.core import operations
from paxoskv.core.operations import Operation
from paxoskv.raft import messages
from paxoskv.raft.leader import Leader


def put(value: bytes) -> Operation:
    return Operation(operations.PUT, b"k", value, deadline=1e9)


def get(deadline: float = 1e9) -> Operation:
    return Operation(operations.GET, b"k", deadline=deadline)


def led(nodes: int = 3, lease_reads: bool = False) -> tuple[Cluster, Leader]:
    cluster = Cluster(nodes, lease_reads=lease_reads)
    cluster.elect(1)
    cluster.run(1, put(b"x"))
    cluster.settle(0.5)
    cluster.packets.clear()
    leader = cluster.engine(1).leader
    assert leader is not None
    return cluster, leader


def beat(cluster: Cluster, leader: int, *others: int) -> None:
    """A heartbeat, and the answers of some."""
    cluster.tick(0.05, leader)
    cluster.exchange(leader, *others)


def test_a_leader_asks_a_majority_before_it_answers() -> None:
    cluster, _ = led()
    read = get()
    cluster.submit(1, read)
    assert cluster.result(read) is None
    cluster.hand(1, 2)
    cluster.hand(2, 1)
    assert cluster.result(read) == operations.Result(
        operations.OK, b"x", cluster.engine(1).records.resident[b"k"].version
    )


def test_one_round_serves_all_reads_that_wait() -> None:
    cluster, leader = led(5)
    before = leader.counters["read_rounds"]
    reads = [get() for _ in range(300)]
    cluster.submit(1, *reads)
    cluster.submit(2, *[get() for _ in range(300)])
    cluster.hand(2, 1)
    cluster.exchange(1, 2, 3)
    assert all(cluster.result(read) is not None for read in reads)
    assert leader.counters["read_rounds"] - before <= 2
    assert cluster.engine(1).log.last_index == 2, "the log is as it was"


def test_an_answer_to_an_earlier_round_proves_nothing() -> None:
    """Somebody else may have been elected between the two."""
    cluster, _ = led()
    cluster.submit(1, get())
    cluster.hand(1, 2)
    [early] = cluster.of(2, 1)
    cluster.packets.remove(early)
    later = get()
    cluster.submit(1, later)
    cluster.packets.append(early)
    cluster.deliver(early)
    assert cluster.result(later) is None


def test_where_three_vote_a_followers_request_is_proof_enough() -> None:
    """It was in the leader's term after it was asked, and so was the leader: nobody else was elected by then."""
    cluster, leader = led()
    rounds = leader.counters["read_rounds"]
    read = get()
    cluster.submit(3, read)
    cluster.hand(3, 1)
    cluster.hand(1, 3)
    assert cluster.result(read) is not None
    assert leader.counters["read_rounds"] == rounds


def test_where_five_vote_it_is_not() -> None:
    cluster, _ = led(5)
    read = get()
    cluster.submit(3, read)
    cluster.hand(3, 1)
    cluster.hand(1, 3)
    assert cluster.result(read) is None
    cluster.exchange(1, 3, 4)
    assert cluster.result(read) is not None


def test_a_follower_waits_until_it_has_applied_what_the_leader_had_committed() -> None:
    cluster, _ = led()
    cluster.submit(1, put(b"y"))
    cluster.exchange(1, 3)
    read = get()
    cluster.submit(2, read)
    cluster.hand(2, 1)
    cluster.hand(1, 2, messages.ReadIndex)
    assert cluster.result(read) is None
    cluster.settle(until=lambda: cluster.result(read) is not None)
    result = cluster.result(read)
    assert result is not None
    assert result.value == b"y"


def test_a_new_leader_answers_no_read_before_an_entry_of_its_term_is_committed() -> None:
    """Section 6.4, step 1: until then it does not know what is."""
    cluster, _ = led(5)
    cluster.submit(1, put(b"y"))
    cluster.exchange(1, 2, 3)
    assert cluster.answers[-1][0].argument == b"y"
    cluster.crash(1)
    while cluster.leader() != 2:
        cluster.tick(0.05, 2)
        cluster.hand(2, 3, messages.VoteRequest)
        cluster.hand(2, 4, messages.VoteRequest)
        for number in (2, 3, 4):
            cluster.commit(number)
        cluster.hand(3, 2)
        cluster.hand(4, 2)
    read = get()
    cluster.submit(2, read)
    assert cluster.result(read) is None
    cluster.settle(until=lambda: cluster.result(read) is not None)
    result = cluster.result(read)
    assert result is not None
    assert result.value == b"y"


def test_a_read_goes_again_to_whoever_leads_next() -> None:
    cluster, _ = led()
    read = get()
    cluster.submit(1, read)
    cluster.packets.clear()
    cluster.crash(3)
    cluster.restart(3)
    while cluster.leader() != 2:
        cluster.tick(0.05, 2, 3)
        cluster.exchange(2, 3)
    cluster.settle(until=lambda: cluster.result(read) is not None)
    result = cluster.result(read)
    assert result is not None
    assert result.status == operations.OK


def test_without_a_leader_a_read_waits_for_as_long_as_it_may_and_certainly_did_nothing() -> None:
    cluster, _ = led()
    cluster.crash(2)
    cluster.crash(3)
    read = get(cluster.now + 0.3)
    cluster.submit(1, read)
    while cluster.result(read) is None:
        assert cluster.now < 10
        cluster.tick(0.05, 1)
    result = cluster.result(read)
    assert result is not None
    assert result.status == 18, "unavailable: definite"


# Leases, 6.4.1.


def test_a_lease_answers_by_itself_until_it_ends() -> None:
    cluster, leader = led(lease_reads=True)
    beat(cluster, 1, 2)
    rounds = leader.counters["leases_used"]
    read = get()
    cluster.submit(1, read)
    assert cluster.result(read) is not None
    assert leader.counters["leases_used"] == rounds + 1
    timing = cluster.engine(1).context.timing
    end = cluster.now + timing.election_s / (1 + timing.clock_drift)
    while cluster.now < end:
        cluster.tick(0.05, 1)
        cluster.packets.clear()
    late = get()
    cluster.submit(1, late)
    assert cluster.result(late) is None


def test_without_the_option_there_are_no_leases() -> None:
    cluster, leader = led()
    beat(cluster, 1, 2)
    cluster.submit(1, get())
    assert leader.counters["leases_used"] == 0


def test_who_promised_not_to_vote_keeps_to_it_though_the_connection_breaks_or_it_restarts() -> None:
    """A lease stands on nobody being elected for an election time-out after a majority answered."""
    cluster, _ = led(lease_reads=True)
    beat(cluster, 1, 2)
    cluster.crash(2, notice=False)
    cluster.restart(2)
    cluster.engine(3).peer_lost(1, cluster.now)
    last = cluster.engine(2).log
    request = messages.VoteRequest(9, last.last_index, last.last_term, False, False)
    [answer] = cluster.say(3, 2, request)
    assert isinstance(answer, messages.Vote)
    assert not answer.granted
    election_s = cluster.engine(2).context.timing.election_s
    trials = cluster.engine(2).election.counters["trials"]
    end = cluster.now + election_s
    while cluster.now + 0.051 < end:
        cluster.tick(0.05, 2)
        assert cluster.engine(2).election.counters["trials"] == trials, "nor does it stand itself"
    cluster.tick(0.1, 2)
    assert cluster.say(3, 2, request) == [], "from then on it may; the vote waits for the disk"


def test_a_handover_ends_the_lease() -> None:
    """Whoever is told to stand is elected in spite of what the others promised."""
    cluster, _ = led(lease_reads=True)
    beat(cluster, 1, 2, 3)
    cluster.engine(1).command("raft-transfer", 2, cluster.now)
    cluster.turn(1)
    read = get()
    cluster.submit(1, read)
    assert cluster.result(read) is None


def test_an_answer_to_a_former_incarnation_is_no_answer_to_the_new_one() -> None:
    """Both counted their requests from 1, and a leader that cannot answer yet keeps what it was asked: a read that
    began after a write was acknowledged missed it."""
    cluster = Cluster(3)
    cluster.elect(2)
    cluster.run(2, Operation(operations.PUT, b"x", b"old"))
    cluster.settle(0.3)
    # Node 1 comes to lead, and the others' disks are slow to take its first entry.
    while cluster.engine(1).election.counters["trials"] == 0:
        cluster.tick(0.05, 1)
    for _ in range(50):
        if cluster.leader() == 1:
            break
        for packet in cluster.packets[:]:
            if packet in cluster.packets and not isinstance(packet.message, messages.Append):
                cluster.deliver(packet)
        for number in cluster.nodes:
            cluster.commit(number)
    assert cluster.leader() == 1
    cluster.packets = [packet for packet in cluster.packets if packet.source == 1]
    cluster.hand(1, 2)
    cluster.hand(1, 3)
    cluster.submit(3, Operation(operations.GET, b"x"))
    cluster.hand(3, 1, messages.ReadRequest)
    assert cluster.engine(1).leader is not None
    cluster.crash(3, committed=len(cluster.nodes[3].disk.queued))
    cluster.packets = [packet for packet in cluster.packets if 3 not in (packet.source, packet.target)]
    cluster.restart(3)
    cluster.tick(0.06, 1)
    cluster.hand(1, 3)
    cluster.packets = [packet for packet in cluster.packets if (packet.source, packet.target) != (3, 1)]
    cluster.commit(2)
    cluster.hand(2, 1)
    cluster.commit(1)
    [late] = cluster.of(1, 3, messages.ReadIndex)
    for packet in cluster.of(1, 3):
        if packet is late:
            break
        cluster.deliver(packet)
    put = Operation(operations.PUT, b"x", b"new")
    cluster.submit(1, put)
    for _ in range(5):
        cluster.hand(1, 2)
        cluster.commit(2)
        cluster.commit(1)
        cluster.hand(2, 1)
    assert cluster.result(put) is not None
    read = Operation(operations.GET, b"x")
    cluster.submit(3, read)
    cluster.deliver(late)
    cluster.load(3)
    assert cluster.result(read) is None
    cluster.settle(1.0)
    result = cluster.result(read)
    assert result is not None
    assert result.value == b"new"
