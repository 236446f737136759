"""The proposer, where no random schedule goes often enough."""

import random

from paxoskv.core import operations
from paxoskv.core.operations import Operation, Result
from paxoskv.core.placement import EveryNode
from paxoskv.paxos import ballot as ballots
from paxoskv.paxos.engine import PaxosEngine
from paxoskv.paxos.messages import (
    Proposals,
    Refusal,
    Refused,
    RelayAnswer,
    RelayAnswers,
    RelayedOperation,
    RelayItem,
    Relays,
)


def test_who_never_heard_of_a_relays_ballot_is_no_holder_all_the_same() -> None:
    """Its promise can be lost in a crash. An answer that names no ballot would say that the list was taken."""
    engine = PaxosEngine(2, 2, EveryNode((1, 2, 3)), random.Random(0))
    engine.loaded({b"k": None}, 0.0)
    engine.peer_up(1, 1, 0.0)
    ballot = ballots.make_ballot(3, 2)
    operation = RelayedOperation(1, ballot, operations.INCR, 1, None)
    engine.receive(1, [Relays((RelayItem(7, b"k", ballot, (operation,)),))], 0.0)
    [answers] = engine.take_effects().sends[1]
    assert isinstance(answers, RelayAnswers)
    assert answers.items[0].promised == ballot


def test_an_answer_of_a_type_that_the_operation_never_has_is_as_none() -> None:
    """It went to the client: a text for an increment, which the Redis door then failed over."""
    engine = PaxosEngine(1, 1, EveryNode((1, 2, 3)), random.Random(0))
    engine.loaded({b"k": None}, 0.0)
    engine.peer_up(2, 1, 0.0)
    operation = Operation(operations.INCR, b"k", 1, deadline=9.0)
    engine.submit([operation], 0.0)
    [proposals] = engine.take_effects().sends[2]
    assert isinstance(proposals, Proposals)
    held = ballots.make_ballot(3, 2)
    engine.receive(2, [Refused(proposals.number, (Refusal(b"k", held, False),))], 0.0)
    [relays] = engine.take_effects().sends[2]
    assert isinstance(relays, Relays)
    [relay] = relays.items
    for nonsense in (b"1", None):
        # In time; and of a relay that was taken back, whose results are only remembered.
        answer = RelayAnswer(relay.number, 0, 0, ((operations.OK, nonsense, 8, 0),))
        engine.receive(2, [RelayAnswers((answer,))], 0.0)
        assert engine.take_effects().answers == []
        engine.proposer.relaying._given_up[9] = (held, [operation])
        engine.receive(2, [RelayAnswers((RelayAnswer(9, 0, 0, answer.results),))], 0.0)
        assert operation.evaluations is None
    # One result more than there are operations changes nothing.
    results = ((operations.OK, 1, 8, 0), (operations.OK, 2, 9, 0))
    engine.receive(2, [RelayAnswers((RelayAnswer(relay.number, 0, 0, results),))], 0.0)
    assert engine.take_effects().answers == [(operation, Result(operations.OK, 1, 8))]
