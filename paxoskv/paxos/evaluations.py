"""What an operation's origin remembers of it, by ballot, until it is answered; protocol.md section 5 (B5)."""

from paxoskv.core.operations import Operation, Result
from paxoskv.paxos import ballot as ballots
from paxoskv.paxos.chain import UNKNOWN


def remember(operation: Operation, ballot: int, result: Result) -> None:
    """Note what became of the operation in the chain of `ballot`: its result, or, with OutcomeUnknown, that it was
    passed there, and at which version the lineage had it or a later one."""
    if result.status == UNKNOWN and ballots.ballot_of(result.version) >= ballot:
        return  # Put through one chain twice: the first time tells more.
    if operation.evaluations is None:
        operation.evaluations = {}
    known = operation.evaluations.get(ballot)
    if known is None or known.status == UNKNOWN:
        operation.evaluations[ballot] = result


def recall(operation: Operation, result: Result) -> Result:
    """What is known of an operation that was passed, since the lineage had it, or a later one, at `result.version`.

    That version's chain has put it through its tail before, since an origin's operations go together and in order. Its
    result there holds in every history that has gone through that version, whoever held the ballot; a result from any
    other ballot says nothing (B5). If the chain had passed it in its turn, that points to a lower ballot.
    """
    evaluations = operation.evaluations
    while evaluations and result.status == UNKNOWN and result.version:
        found = evaluations.get(ballots.ballot_of(result.version))
        if found is None:
            break
        result = found
    return result
