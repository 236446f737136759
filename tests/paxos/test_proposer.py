"""The proposer, where no random schedule goes often enough."""

import random

from paxoskv.core import operations
from paxoskv.core.placement import EveryNode
from paxoskv.paxos import ballot as ballots
from paxoskv.paxos.engine import PaxosEngine
from paxoskv.paxos.messages import RelayAnswers, RelayedOperation, RelayItem, Relays


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
