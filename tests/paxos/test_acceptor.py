"""The acceptor's rules, one at a time; docs/protocol.md, section 2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxoskv.paxos import ballot as ballots
from paxoskv.paxos import register
from paxoskv.paxos.acceptor import Acceptor
from paxoskv.paxos.records import Records
from paxoskv.paxos.register import Register

KEY = b"k"


def acceptor() -> Acceptor:
    records = Records(1 << 20)
    records.complete = True
    records.get(KEY)
    return Acceptor(records)


def value(text: bytes) -> bytes:
    made = Register()
    made.value = text
    return register.encode(made)


def version(round_: int, node: int, step: int) -> int:
    return ballots.make_ballot(round_, node) << ballots.STEP_BITS | step


def test_a_ballot_is_promised_once() -> None:
    """Strictness: a proposer that forgot its rounds in a crash would use one again (B9)."""
    voter = acceptor()
    ballot = ballots.make_ballot(3, 1)
    assert voter.prepare([KEY], [ballot], [0])[2] == []
    [refusal] = voter.prepare([KEY], [ballot], [0])[2]
    assert refusal.promised == ballot
    assert voter.prepare([KEY], [ballots.make_ballot(2, 9)], [0])[2]
    assert voter.prepare([KEY], [ballots.make_ballot(3, 2)], [0])[2] == []


def test_an_accept_below_the_promise_is_refused_and_one_at_it_is_not() -> None:
    voter = acceptor()
    voter.prepare([KEY], [ballots.make_ballot(3, 1)], [0])
    [refusal], _ = voter.accept([KEY], [version(2, 2, 1)], [value(b"old")])
    assert refusal.promised == ballots.make_ballot(3, 1)
    assert voter.accept([KEY], [version(3, 1, 1)], [value(b"new")])[0] == []


def test_an_earlier_step_of_the_same_ballot_changes_nothing_and_waits_for_the_later_ones_commit() -> None:
    voter = acceptor()
    _, first = voter.accept([KEY], [version(1, 1, 2)], [value(b"second")])
    voter.end_turn()
    refusals, wait = voter.accept([KEY], [version(1, 1, 1)], [value(b"first")])
    assert refusals == []
    assert wait == first, "what stands here may still be on its way to the disk (B10)"
    assert voter.records.resident[KEY].register == value(b"second")


def test_a_version_carries_one_register() -> None:
    voter = acceptor()
    voter.accept([KEY], [version(1, 1, 1)], [value(b"one")])
    with pytest.raises(AssertionError, match=r"\(A3\)"):
        voter.accept([KEY], [version(1, 1, 1)], [value(b"another")])


def test_reads_see_what_is_on_the_disk() -> None:
    voter = acceptor()
    seen = []
    for step in (1, 2, 3):
        voter.accept([KEY], [version(1, 1, step)], [value(b"%d" % step)])
        voter.end_turn()
    for durable in (0, 1, 2, 3):
        voter.committed(durable)
        [found], _ = voter.read([KEY])
        seen.append(found)
    assert seen == [0, version(1, 1, 1), version(1, 1, 2), version(1, 1, 3)]


def test_a_promise_names_the_register_unless_its_asker_has_it() -> None:
    voter = acceptor()
    voter.accept([KEY], [version(1, 1, 1)], [value(b"x")])
    _, [lacking], _, _ = voter.prepare([KEY], [ballots.make_ballot(2, 2)], [0])
    _, [having], _, _ = voter.prepare([KEY], [ballots.make_ballot(3, 2)], [version(1, 1, 1)])
    assert (lacking, having) == (value(b"x"), None)


def test_a_key_that_changes_during_every_commit_keeps_no_more_of_its_past_than_the_disk_lacks() -> None:
    voter = acceptor()
    for step in range(1, 101):
        voter.accept([KEY], [version(1, 1, step)], [value(b"%d" % step)])
        voter.end_turn()
        if step > 3:
            voter.committed(voter.sequence - 4)
            assert voter.read([KEY]) == ([version(1, 1, step - 3)], [value(b"%d" % (step - 3))])
    depth, state = 0, voter.records.resident[KEY].shadow
    while state is not None:
        depth, state = depth + 1, state[3]
    assert depth == 3
    voter.committed(voter.sequence - 1)
    assert voter.records.resident[KEY].shadow is None


commands = st.lists(
    st.tuples(st.booleans(), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.booleans()), max_size=40
)


@given(commands)
def test_promises_never_decrease_and_replay_gives_the_same_record(
    script: list[tuple[bool, int, int, int, bool]],
) -> None:
    """(A1), (A2), and what recovery stands on: the journal's messages over any later record change nothing."""
    voter = acceptor()
    journal = []
    promised = 0
    for is_prepare, round_, node, step, ends in script:
        ballot = ballots.make_ballot(round_, node)
        if is_prepare:
            message = ([KEY], [ballot], [0], [], [], [])
        else:
            message = (
                [],
                [],
                [],
                [KEY],
                [ballot << ballots.STEP_BITS | step],
                [value(b"%d.%d.%d" % (round_, node, step))],
            )
        journal.append(message)
        voter.prepare(*message[:3])
        voter.accept(*message[3:])
        record = voter.records.resident[KEY]
        assert record.promised >= promised
        assert ballots.ballot_of(record.accepted) <= record.promised
        promised = record.promised
        if ends:
            voter.end_turn()
    record = voter.records.resident[KEY]
    final = (record.promised, record.accepted, record.register)
    replayed = acceptor()
    for message in journal * 2:
        replayed.prepare(*message[:3])
        replayed.accept(*message[3:])
    again = replayed.records.resident[KEY]
    assert (again.promised, again.accepted, again.register) == final
