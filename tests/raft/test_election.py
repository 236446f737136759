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


def test_a_vote_that_waits_for_the_disk_is_not_for_the_candidates_next_incarnation() -> None:
    """B9. That one may lack what the log held that the vote was asked for with, and stand in the same term: with the
    vote it led without an entry that was committed meanwhile, by four of five."""
    cluster = Cluster(5)
    election = cluster.engine(1).election
    while election.role != TRYING:
        cluster.tick(0.05, 1)
    for other in (3, 4):
        cluster.hand(1, other, messages.VoteRequest)
        cluster.hand(other, 1, messages.Vote)
    assert election.role == CANDIDATE
    cluster.hand(1, 3, messages.VoteRequest)
    assert cluster.engine(3).election.vote == 1
    cluster.packets.clear()
    cluster.crash(1, notice=False)
    cluster.restart(1)
    while cluster.commit(3):
        pass
    assert not cluster.of(3, 1, messages.Vote)


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


def test_a_vote_is_given_once_in_a_term() -> None:
    """Figure 2, RequestVote, rule 2: votedFor is null or candidateId."""
    cluster = Cluster()
    assert cluster.say(1, 3, messages.VoteRequest(1, 0, 0, False, False)) == [], "it waits for the disk"
    cluster.commit(3)
    [packet] = cluster.of(3, 1, messages.Vote)
    assert isinstance(packet.message, messages.Vote)
    assert packet.message.granted
    assert granted(cluster.say(2, 3, messages.VoteRequest(1, 0, 0, False, False))) == [False]
    assert granted(cluster.say(1, 3, messages.VoteRequest(1, 0, 0, False, False))) == [True], "again to the same"
    assert granted(cluster.say(2, 3, messages.VoteRequest(0, 0, 0, False, False))) == [False], "rule 1: a past term"


def granted(said: list[messages.Message]) -> list[bool]:
    return [message.granted for message in said if isinstance(message, messages.Vote)]


def test_a_vote_survives_a_crash_and_one_that_is_not_on_the_disk_was_given_to_nobody() -> None:
    cluster = Cluster()
    cluster.say(1, 3, messages.VoteRequest(1, 0, 0, False, False))
    cluster.crash(3)
    cluster.restart(3)
    cluster.say(2, 3, messages.VoteRequest(1, 0, 0, False, False))
    cluster.commit(3)
    assert [packet.message.granted for packet in cluster.of(3, 2, messages.Vote)] == [True]  # type: ignore[union-attr]
    cluster.crash(3)
    cluster.restart(3)
    assert granted(cluster.say(1, 3, messages.VoteRequest(1, 0, 0, False, False))) == [False]


def test_who_lacks_entries_gets_no_vote() -> None:
    """Section 3.6.1: the later last term, and in the same term the longer log."""
    cluster = Cluster()
    cluster.elect(1)
    cluster.run(1, put(b"x"))
    cluster.settle()
    cluster.packets.clear()
    log = cluster.engine(2).log
    index, term = log.last_index, log.last_term
    for number, (last_index, last_term, votes) in enumerate(
        [
            (index - 1, term, [False]),
            (index + 9, term - 1, [False]),
            (index, term, []),
            (index - 1, term + 1, []),
            (index + 1, term, []),
        ]
    ):
        said = cluster.say(3, 2, messages.VoteRequest(term + 1 + number, last_index, last_term, False, True))
        assert granted(said) == votes, "what is granted waits for the disk"
        cluster.commit(2)
        given = [packet.message.granted for packet in cluster.of(2, 3, messages.Vote)]  # type: ignore[union-attr]
        assert given == ([] if votes else [True])
        cluster.packets.clear()


def test_time_outs_are_drawn_anew_each_time_from_one_to_two_election_times() -> None:
    """Section 3.4: so that two nodes that split the votes once do not do so for ever."""
    cluster = Cluster()
    cluster.elect(1)
    election = cluster.engine(2).election
    waits = []
    for _ in range(200):
        cluster.say(1, 2, messages.Append(election.term, 0, 0, 0, 0, []))
        waits.append(election.deadline() - cluster.now)
    election_s = cluster.engine(2).context.timing.election_s
    assert election_s <= min(waits) < 1.1 * election_s
    assert 1.9 * election_s < max(waits) <= 2 * election_s
    assert len(set(waits)) > 190


def test_a_candidate_that_hears_of_a_leader_of_its_term_follows_it() -> None:
    cluster = Cluster()
    stand(cluster, 1, 3)
    cluster.say(2, 1, messages.Append(1, 0, 0, 0, 0, []))
    assert (cluster.engine(1).election.role, cluster.engine(1).election.leader) == ("follower", 2)


def test_split_votes_end() -> None:
    for seed in range(20):
        cluster = Cluster(nodes=4, seed=seed)
        cluster.settle(10.0, until=lambda cluster=cluster: bool(cluster.leader()))  # type: ignore[misc]


def test_a_leader_that_hears_of_no_majority_leads_no_more_and_one_that_does_leads_on() -> None:
    """Section 6.2, check-quorum: else its clients would wait for it though another leads."""
    cluster = Cluster(nodes=5)
    cluster.elect(1)
    for _ in range(20):
        cluster.tick(0.05)
        cluster.exchange(1, 2, 3)
    assert cluster.engine(1).election.role == LEADER
    for _ in range(20):
        cluster.tick(0.05, 1, 2)
        cluster.exchange(1, 2)
    assert cluster.engine(1).election.role != LEADER


def test_who_has_slept_asks_for_no_votes_before_it_has_heard_what_was_said_meanwhile() -> None:
    cluster = Cluster()
    cluster.elect(1)
    trials = cluster.engine(3).election.counters["trials"]
    for _ in range(40):
        cluster.tick(0.05, 1, 2)
        cluster.exchange(1, 2)
    cluster.tick(0.001, 3)
    assert cluster.engine(3).election.counters["trials"] == trials
    cluster.settle(1.0)
    assert cluster.engine(3).election.counters["trials"] == trials
    assert cluster.leader() == 1


def test_a_node_that_stops_hands_over_and_stands_no_more() -> None:
    """Section 3.10: a leader that is stopped costs its clients a round trip or two, not an election time-out."""
    cluster = Cluster()
    cluster.elect(1)
    began = cluster.now
    cluster.engine(1).retire(cluster.now)
    cluster.turn(1)
    cluster.settle(until=lambda: cluster.leader() not in (0, 1))
    assert cluster.now - began < 0.1
    assert cluster.engine(1).retired
    term = cluster.engine(cluster.leader()).election.term
    cluster.engine(1).election.on_campaign(messages.Campaign(term))
    assert cluster.engine(1).election.role == "follower"


def test_a_handover_that_comes_to_nothing_is_given_up_and_the_leader_goes_on() -> None:
    cluster = Cluster()
    cluster.elect(1)
    assert cluster.engine(1).command("raft-transfer", 3, cluster.now) == ""
    cluster.turn(1)
    waits = put(b"waits")
    cluster.submit(1, waits)
    for _ in range(20):
        cluster.tick(0.05, 1, 2)
        cluster.exchange(1, 2)
    assert cluster.engine(1).election.role == LEADER
    assert cluster.result(waits) is not None


def test_what_cannot_be_handed_over_is_said() -> None:
    cluster = Cluster()
    cluster.elect(1)
    now = cluster.now
    assert "does not lead; node 1 does" in cluster.engine(2).command("raft-transfer", 3, now)
    assert "one of the nodes 2, 3, not 9" in cluster.engine(1).command("raft-transfer", 9, now)
    assert "one of the nodes 2, 3, not '2'" in cluster.engine(1).command("raft-transfer", "2", now)
    assert "unknown command" in cluster.engine(1).command("compact", None, now)
    assert cluster.engine(1).command("raft-transfer", 1, now) == "", "it does already"
    cluster.crash(3)
    assert "cannot be reached" in cluster.engine(1).command("raft-transfer", 3, cluster.now)
