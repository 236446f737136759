"""Operations that enter a chain once more; docs/protocol.md, section 5."""

from paxoskv.core import errors, operations
from paxoskv.core.operations import Operation, Result
from paxoskv.core.placement import ReplicaSet
from paxoskv.paxos import ballot as ballots
from paxoskv.paxos.chain import Chain, enter
from paxoskv.paxos.register import Register


def test_what_was_too_large_is_not_taken_for_done_by_a_node_with_another_limit() -> None:
    """There it would have taken effect, so what it would have been answered is not what happened."""
    tail = Register()
    tail.value = b"1234"
    chain = Chain(b"k", ReplicaSet((1, 2, 3), 2), None)
    chain.ballot, chain.tail = ballots.make_ballot(1, 1), tail
    append = Operation(operations.APPEND, b"k", b"5")
    append.number, append.exposed = 1, chain.ballot
    too_large = enter(chain, 1, append, 4, wall_ms=0)
    assert too_large.status == operations.VALUE_TOO_LARGE
    assert enter(chain, 1, append, 4, wall_ms=0) == too_large
    version = chain.ballot << ballots.STEP_BITS | 1
    assert enter(chain, 1, append, 1000, wall_ms=0) == Result(errors.OutcomeUnknown.status, None, version)
    assert tail.value == b"1234"
