"""The log: dissertation, section 3.5, and the paper's figure 2, AppendEntries."""

import random
from collections.abc import Sequence

import pytest
from harness.raft import Cluster

from paxoskv.raft import messages
from paxoskv.raft.entry import Entry
from paxoskv.raft.log import ENTRY_BYTES, Log


def entry(term: int) -> Entry:
    return Entry(term, 1 << 20, 0, ())


def log_of(*terms: int) -> Log:
    log = Log()
    for term in terms:
        log.append(entry(term))
    return log


def terms_of(log: Log) -> list[int | None]:
    return [log.term_at(index) for index in range(log.base_index + 1, log.last_index + 1)]


# As data: AppendEntries, receiver implementation, rules 2 to 4.


def test_it_goes_on_from_an_entry_that_is_there_and_from_no_other() -> None:
    """Rule 2: reply false if log does not contain an entry at prevLogIndex whose term matches prevLogTerm."""
    log = log_of(1, 1, 2)
    assert log.fits(3, 2, [])
    assert log.fits(0, 0, [])
    assert not log.fits(3, 1, []), "another term"
    assert not log.fits(4, 2, []), "beyond the end: an entry from the future"


@pytest.mark.parametrize(
    ("there", "previous", "new", "after"),
    [
        ((1, 1), 2, (2, 2), [1, 1, 2, 2]),
        ((1, 1, 1), 1, (2,), [1, 2]),
        ((1, 1, 1), 0, (1, 1), [1, 1, 1]),
        ((1, 1, 2, 2), 2, (2, 3), [1, 1, 2, 3]),
        ((1, 1, 2, 2), 1, (), [1, 1, 2, 2]),
    ],
    ids=["at the end", "a conflict", "known already", "a conflict behind what is known", "nothing new"],
)
def test_new_entries_take_the_place_of_those_that_conflict_and_of_nothing_else(
    there: Sequence[int], previous: int, new: Sequence[int], after: list[int]
) -> None:
    """Rules 3 and 4. What follows entries that are there already stays: the message may have come late."""
    log = log_of(*there)
    log.merge(previous, [entry(term) for term in new])
    assert terms_of(log) == after


def test_merging_tells_where_the_first_new_entry_is() -> None:
    assert log_of(1, 1).merge(1, [entry(1), entry(1), entry(1)]) == 3
    assert log_of(1, 1).merge(0, [entry(1), entry(2)]) == 2
    assert log_of(1, 1).merge(0, [entry(1)]) == 0


def test_a_committed_entry_is_never_truncated() -> None:
    log = log_of(1, 1, 1)
    log.committed = 2
    with pytest.raises(AssertionError, match="L2"):
        log.merge(1, [entry(2)])
    log.merge(2, [entry(2)])
    assert terms_of(log) == [1, 1, 2]


def test_terms_never_decrease_along_the_log() -> None:
    with pytest.raises(AssertionError, match="L1"):
        log_of(2, 1)


def test_entries_before_the_base_are_in_the_records_and_those_after_it_are_taken() -> None:
    log = log_of(1, 1, 2, 2)
    log.committed = 3
    log.compact(0, 3)
    assert (log.base_index, log.base_term, terms_of(log)) == (3, 2, [2])
    assert log.fits(1, 1, [entry(1), entry(2), entry(2)])
    assert not log.fits(1, 1, [entry(1), entry(3)]), "another entry than what the records hold"
    assert log.merge(1, [entry(1), entry(2), entry(2), entry(3)]) == 5
    assert terms_of(log) == [2, 3]


def test_a_snapshot_keeps_what_follows_its_last_entry_and_drops_what_does_not() -> None:
    """Figure 13 of the paper, rules 6 and 7."""
    log = log_of(1, 1, 2)
    assert log.rebase(2, 1)
    assert (log.base_index, terms_of(log)) == (2, [2])
    log = log_of(1, 1, 1)
    assert not log.rebase(2, 2)
    assert (log.base_index, terms_of(log), log.committed) == (2, [], 2)


def test_compaction_forgets_the_oldest_down_to_its_bound_and_nothing_that_is_needed() -> None:
    log = log_of(*[1] * 10)
    size = len(entry(1).encoded) + ENTRY_BYTES
    assert log.bytes == 10 * size
    log.compact(4 * size, 8)
    assert (log.base_index, log.last_index, log.bytes) == (6, 10, 4 * size)
    log.compact(0, 8)
    assert (log.base_index, log.bytes) == (8, 2 * size)


def test_sizes_are_those_of_what_is_there_whatever_happens() -> None:
    rng = random.Random(1)
    log = Log()
    applied = 0
    for _ in range(2000):
        action = rng.randrange(5)
        if action == 0 or log.last_index < 3:
            log.append(entry(log.last_term + rng.randrange(2) or 1))
        elif action == 1 and log.last_index > log.committed:
            log.truncate(rng.randint(log.committed + 1, log.last_index))
        elif action == 2:
            log.committed = rng.randint(log.committed, log.last_index)
            while applied < log.committed:
                applied += 1
                log.applied(applied)
        elif action == 3:
            log.compact(rng.randrange(1000), applied)
        elif action == 4 and log.committed > log.base_index:
            log.rebase(log.committed, log.term_at(log.committed) or 0)
            applied = log.committed
        entries = [log.at(index) for index in range(log.base_index + 1, log.last_index + 1)]
        assert log.bytes == sum(len(e.encoded) + ENTRY_BYTES for e in entries)
        assert log.unapplied_bytes == sum(len(e.encoded) + ENTRY_BYTES for e in entries[applied - log.base_index :])


def test_the_last_entry_of_a_term_is_found_by_both_sides() -> None:
    log = log_of(1, 1, 4, 4, 5)
    assert log.last_with_term_up_to(9, 9) == 5
    assert log.last_with_term_up_to(5, 4) == 4
    assert log.last_with_term_up_to(5, 3) == 2
    assert log.last_with_term_up_to(1, 4) == 1


def _back_offs(leader: Sequence[int], follower: Sequence[int]) -> int:
    """How many rejections it takes until a leader with one log knows where a follower's departs."""
    ours, theirs = log_of(*leader), log_of(*follower)
    count, previous = 0, ours.last_index
    while not theirs.fits(previous, ours.term_at(previous) or 0, []):
        count += 1
        hint = theirs.last_with_term_up_to(previous, ours.term_at(previous) or 0)
        previous = ours.last_with_term_up_to(hint, theirs.term_at(hint) or 0)
    return count


# Figure 3.6 of the dissertation: the leader of term 8, and followers that may be met then.
FIGURE_LEADER = (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)
FIGURE_FOLLOWERS = {
    "a": (1, 1, 1, 4, 4, 5, 5, 6, 6),
    "b": (1, 1, 1, 4),
    "c": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
    "d": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
    "e": (1, 1, 1, 4, 4, 4, 4),
    "f": (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
}


@pytest.mark.parametrize("name", FIGURE_FOLLOWERS)
def test_each_round_skips_a_whole_term(name: str) -> None:
    """Section 3.5, fast back-off: at most one rejection for each term in which the logs differ."""
    assert _back_offs(FIGURE_LEADER, FIGURE_FOLLOWERS[name]) <= {"c": 0, "d": 0}.get(name, 2)


def test_ten_thousand_entries_of_one_term_are_skipped_at_once() -> None:
    assert _back_offs([1] * 10 + [3] * 10_000, [1] * 10 + [2] * 10_000) <= 2


# As messages, to a node that follows.


def follower() -> tuple[Cluster, int, int]:
    """Node 2 follows node 1; the term, and the last index."""
    cluster = Cluster()
    cluster.elect(1)
    cluster.packets.clear()
    engine = cluster.engine(2)
    return cluster, engine.election.term, engine.log.last_index


def test_a_message_of_a_past_term_is_refused_with_the_term() -> None:
    """Rule 1: reply false if term < currentTerm."""
    cluster, term, last = follower()
    cluster.say(3, 2, messages.VoteRequest(term + 5, last, term, False, True))
    cluster.commit(2)
    [answer] = cluster.say(1, 2, messages.Append(term, last, term, 0, 0, [entry(term)]))
    assert isinstance(answer, messages.Rejected)
    assert answer.term == term + 5
    assert cluster.engine(2).log.last_index == last


def test_a_gap_is_refused_and_the_last_entry_named() -> None:
    """Rule 2, and an entry from the future: it is not kept for later."""
    cluster, term, last = follower()
    [answer] = cluster.say(1, 2, messages.Append(term, last + 7, term, 0, 0, [entry(term)]))
    assert isinstance(answer, messages.Rejected)
    assert (answer.hint_index, answer.hint_term) == (last, term)
    assert cluster.engine(2).log.last_index == last


def test_nothing_is_acknowledged_before_it_is_on_the_disk() -> None:
    """Figure 2, state: updated on stable storage before responding."""
    cluster, term, last = follower()
    assert cluster.say(1, 2, messages.Append(term, last, term, 0, 0, [entry(term)])) == []
    cluster.commit(2)
    [packet] = cluster.of(2, 1, messages.Appended)
    assert isinstance(packet.message, messages.Appended)
    assert packet.message.match == last + 1


def test_a_follower_commits_at_most_what_it_was_sent() -> None:
    """Rule 5: commitIndex = min(leaderCommit, index of last new entry). What it has beyond that may be another's."""
    cluster, term, last = follower()
    cluster.say(1, 2, messages.Append(term, last, term, 0, 0, [entry(term), entry(term)]))
    cluster.say(3, 2, messages.Append(term + 1, last + 1, term, last + 2, 0, []))
    assert cluster.engine(2).log.committed == last + 1


def test_a_later_term_makes_a_follower_of_whoever_hears_of_it() -> None:
    """Rules for all servers: if term > currentTerm, set currentTerm, convert to follower."""
    cluster, term, last = follower()
    cluster.say(3, 1, messages.Append(term + 1, last, term, 0, 0, []))
    assert (cluster.engine(1).election.term, cluster.engine(1).election.leader) == (term + 1, 3)
    assert cluster.engine(1).leader is None


def test_a_follower_whose_log_is_longer_than_the_leaders_is_cut_back() -> None:
    """Figure 3.6, (c) and (d): entries that were never committed, of a leader that is gone."""
    cluster, term, last = follower()
    cluster.say(1, 2, messages.Append(term, last, term, 0, 0, [entry(term)] * 5))
    cluster.commit(2)
    cluster.packets.clear()
    cluster.crash(1)
    cluster.packets.clear()
    # Node 3 is elected by node 1, which has restarted.
    cluster.restart(1)
    while cluster.leader() != 3:
        cluster.tick(0.05, 3)
        cluster.exchange(1, 3)
    cluster.settle(until=lambda: cluster.engine(2).log.last_term == cluster.engine(3).election.term)
    assert cluster.engine(2).log.last_index == cluster.engine(3).log.last_index == last + 1
