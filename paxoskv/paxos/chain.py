"""The proposer's state for one key while something is in flight on it, and how operations enter a chain."""

from typing import Final

from paxoskv.core import errors, operations
from paxoskv.core.operations import Operation, Result
from paxoskv.core.placement import ReplicaSet
from paxoskv.paxos import ballot as ballots
from paxoskv.paxos.records import Record
from paxoskv.paxos.register import Register

# Phases of a chain.
IDLE: Final = 0  # nothing asked for yet, or lost: wants the key
PREPARING: Final = 1
HOLDING: Final = 2
RELAYING: Final = 3
BACKING_OFF: Final = 4

UNKNOWN: Final = errors.OutcomeUnknown.status


class RelayJob:
    """A list of another node's operations that was relayed to this one, which holds the key."""

    __slots__ = ("number", "operations", "origin", "results")

    def __init__(self, origin: int, number: int, operations: list[Operation]) -> None:
        self.origin = origin
        self.number = number
        self.operations = operations
        self.results: list[Result] = []


class Flight:
    """One Accept of a chain on its way: the step that it carries, and who is answered when that is chosen."""

    __slots__ = ("answers", "chain", "jobs", "key", "register", "version")

    def __init__(
        self,
        chain: "Chain",
        version: int,
        register: bytes,
        answers: list[tuple[Operation, Result]],
        jobs: list[RelayJob],
    ) -> None:
        self.chain: Chain | None = chain
        """None once the step is chosen, or the chain was lost."""
        self.key = chain.key
        self.version = version
        self.register = register
        self.answers = answers
        self.jobs = jobs


class Chain:
    """One key in the hands of this proposer, from its first operation until nothing is in flight any more.

    Operations are in one of three places: `flights` (in an Accept that is not chosen yet), `unresolved` (exposed, in
    doubt, ascending by number; they enter again before anything new) and `waiting` (never exposed).
    """

    __slots__ = (
        "attempt",
        "ballot",
        "base_register",
        "base_version",
        "deadline",
        "flights",
        "floor",
        "group",
        "identity_wanted",
        "key",
        "known_register",
        "own_first",
        "phase",
        "promises",
        "record",
        "relay_ballot",
        "relay_checks",
        "relay_number",
        "relayed",
        "round_seen",
        "step",
        "tail",
        "touched",
        "unresolved",
        "waiting",
        "wake",
    )

    def __init__(self, key: bytes, group: ReplicaSet, record: Record | None) -> None:
        self.key = key
        self.group = group
        self.record = record
        """The own acceptor's record; None where this node does not vote on the key, or could not read it in time."""
        self.phase = IDLE
        self.ballot = 0
        self.step = 0
        self.tail: Register | None = None
        """Where it holds the key and there is none, `base_register` is the tail, not decoded yet."""
        self.own_first = False
        """It holds the key at the initial ballot, and the own vote is not known to be on disk."""
        self.flights: list[Flight] = []
        self.unresolved: list[Operation] = []
        self.waiting: list[Operation] = []
        self.relayed: list[RelayJob] = []
        self.touched = False
        self.attempt = 0
        self.round_seen = 0
        self.wake = 0.0
        self.deadline = float("inf")
        self.identity_wanted = False
        """A read has to be settled by a step of our own, since finishing what it saw failed repeatedly."""
        self.relay_ballot = 0
        self.relay_number = 0
        self.relay_checks = 0
        self.promises = 0
        """Bits by node."""
        self.base_version = 0
        self.base_register = b""
        self.known_register = b""
        self.floor = 0

    def is_quiet(self) -> bool:
        """There is nothing to be done on it."""
        return not (self.waiting or self.flights or self.unresolved or self.relayed)

    def take_flights(self) -> list[Flight]:
        """Close all flights and answer them; they belong to the chain no more."""
        flights = self.flights
        self.flights = []
        for flight in flights:
            flight.chain = None
        return flights


def lapse(chain: Chain, wall_ms: int) -> None:
    """Let the tail's value cease to exist if its time has passed: a change like any other, at a step of its own.

    It is judged on the tail and nowhere else. A tombstone for what some reader saw could fall on a later write (B8).
    It needs no lineage: it belongs to no operation, and done twice it does nothing.
    """
    tail = chain.tail
    assert tail is not None
    if tail.expires_at and tail.expires_at <= wall_ms:
        chain.step += 1
        tail.value = None
        tail.modified = chain.ballot << ballots.STEP_BITS | chain.step
        tail.expires_at = 0


def enter(chain: Chain, origin: int, operation: Operation, value_bytes_max: int, wall_ms: int) -> Result:
    """Evaluate one operation on the chain's tail, recording it in the lineage at a step of its own.

    Every operation that is recorded gets its own step, also when it changes nothing; so `modified` equals the
    lineage's version exactly when that operation took effect, which `_passed` stands on. protocol.md section 5.
    """
    tail = chain.tail
    assert tail is not None
    last = tail.lineage.get(origin)
    number = operation.number
    if last is not None and number <= last[0]:
        return _passed(tail, operation, last, value_bytes_max)
    if tail.horizon and operation.exposed <= ballots.ballot_of(tail.horizon):
        # Lineage from before the horizon is lost: it may have been applied, and forgotten with its tombstone (B6).
        return Result(UNKNOWN, None, 0)
    if tail.expires_at:
        lapse(chain, wall_ms)
    chain.step += 1
    version = chain.ballot << ballots.STEP_BITS | chain.step
    tail.lineage[origin] = (number, version)
    if operation.kind == operations.PUT and operation.condition is None and operation.expiry is None:
        # As `evaluate` has it, without its two objects: most of what a cluster does is this.
        argument = operation.argument
        assert type(argument) is bytes
        tail.value = argument
        tail.modified = version
        tail.expires_at = 0
        return Result(operations.OK, None, version)
    value = tail.value
    expires_at = tail.expires_at
    evaluation = operations.evaluate(
        operation, value, 0 if value is None else tail.modified, expires_at, value_bytes_max
    )
    if evaluation.effect:
        tail.value = evaluation.value
        tail.modified = version
        tail.expires_at = expires_at = evaluation.expires_at
        return Result(evaluation.status, evaluation.result, 0 if evaluation.value is None else version, expires_at)
    return Result(evaluation.status, evaluation.result, 0 if value is None else tail.modified, expires_at)


def _passed(tail: Register, operation: Operation, last: tuple[int, int], value_bytes_max: int) -> Result:
    """The result of an operation that this history has evaluated already; never applied again.

    Where the register tells no more, OutcomeUnknown, with the lineage's version for the origin, which may remember
    its own evaluation at that ballot.
    """
    number, version = last
    unknown = Result(UNKNOWN, None, version)
    if number != operation.number:
        return unknown
    if version == tail.modified:
        # Its effect is what stands here. Only a value that it replaced or deleted is gone.
        kind = operation.kind
        result: bytes | int | None = None
        if kind in (operations.SWAP, operations.TAKE):
            return unknown
        if kind not in (operations.PUT, operations.CAS, operations.DELETE):
            value = tail.value
            assert value is not None
            if kind == operations.INCR:
                result = int(value)
            elif kind in (operations.APPEND, operations.SETRANGE):
                result = len(value)
            elif kind in (operations.RENEW, operations.INCRFLOAT):
                result = value
        return Result(operations.OK, result, tail.version, tail.expires_at)
    if version > tail.modified:
        # It changed nothing, and nothing has changed since: it fails on this value as it did then.
        evaluation = operations.evaluate(operation, tail.value, tail.version, tail.expires_at, value_bytes_max)
        if evaluation.effect:  # evaluated by a node with another limit on values
            return unknown
        return Result(evaluation.status, evaluation.result, tail.version, tail.expires_at)
    if operation.kind == operations.PUT and operation.condition is None and (operation.expiry or 0) <= 0:
        # With an expiry, the same step may have deleted it again.
        return Result(operations.OK, None, version)
    return unknown
