"""Floor and horizon, by which tombstones can be forgotten one day (docs/protocol.md, sections 5 and 6), rule by rule.

Nothing raises a floor yet: here the test does, or says in a peer's name that it has one.
"""

import random

import pytest
from harness.cluster import Cluster

from paxoskv.core import errors, operations
from paxoskv.core.operations import Operation, Result
from paxoskv.core.placement import EveryNode, ReplicaSet
from paxoskv.paxos import ballot as ballots
from paxoskv.paxos import register as registers
from paxoskv.paxos.acceptor import Acceptor
from paxoskv.paxos.chain import Chain, enter, lapse
from paxoskv.paxos.engine import PaxosEngine
from paxoskv.paxos.messages import (
    Accepted,
    Message,
    Promised,
    Proposals,
    Reads,
    Refusal,
    Refused,
    RelayAnswer,
    RelayAnswers,
    RelayedOperation,
    RelayItem,
    Relays,
    Versions,
)
from paxoskv.paxos.records import Records
from paxoskv.paxos.register import Register

PLACEMENT = EveryNode((1, 2, 3))
UNKNOWN = errors.OutcomeUnknown.status
# One that node 1 prepares, and one that it may begin.
KEY = next(key for key in (b"k%d" % number for number in range(20)) if PLACEMENT.home(key) == 2)
OWN_KEY = next(key for key in (b"k%d" % number for number in range(20)) if PLACEMENT.home(key) == 1)


def version(round_: int, node: int, step: int) -> int:
    return ballots.make_ballot(round_, node) << ballots.STEP_BITS | step


FLOOR = version(5, 2, 7)
FLOOR_BALLOT = ballots.ballot_of(FLOOR)


def made(value: bytes | None, horizon: int = 0) -> bytes:
    register = Register()
    register.value, register.horizon = value, horizon
    return registers.encode(register)


def incr(key: bytes = KEY) -> Operation:
    return Operation(operations.INCR, key, 1)


# The acceptor.


@pytest.fixture
def acceptor() -> Acceptor:
    records = Records(1 << 20)
    records.complete = True
    records.get(KEY)
    acceptor = Acceptor(records)
    acceptor.floor = FLOOR
    return acceptor


@pytest.mark.parametrize(
    ("ballot", "is_refused"),
    [
        (ballots.initial_ballot(3), True),
        (ballots.make_ballot(5, 1), True),
        (FLOOR_BALLOT, True),
        (ballots.make_ballot(5, 3), False),
        (ballots.make_ballot(6, 1), False),
    ],
)
def test_a_key_without_a_record_is_promised_to_ballots_above_the_floors(
    acceptor: Acceptor, ballot: int, is_refused: bool
) -> None:
    _, _, refusals, wait = acceptor.prepare([KEY], [ballot], [0])
    assert refusals == ([Refusal(KEY, FLOOR_BALLOT, True)] if is_refused else [])
    assert wait == (0 if is_refused else acceptor.sequence), "a refusal need not wait for the disk"
    assert acceptor.records.resident[KEY].promised == (0 if is_refused else ballot)


@pytest.mark.parametrize(
    ("wanted", "is_refused"),
    [(version(5, 1, 9), True), (version(5, 2, 6), True), (FLOOR, True), (version(5, 2, 8), False)],
)
def test_a_key_without_a_record_accepts_versions_above_the_floor(
    acceptor: Acceptor, wanted: int, is_refused: bool
) -> None:
    refusals, wait = acceptor.accept([KEY], [wanted], [made(b"v")])
    assert refusals == ([Refusal(KEY, FLOOR_BALLOT, True)] if is_refused else [])
    assert wait == (0 if is_refused else acceptor.sequence)
    assert acceptor.records.resident[KEY].accepted == (0 if is_refused else wanted)


def test_a_key_with_a_record_does_not_ask_for_the_floor(acceptor: Acceptor) -> None:
    acceptor.floor = 0
    acceptor.prepare([KEY], [ballots.make_ballot(2, 1)], [0])
    acceptor.floor = FLOOR
    assert acceptor.accept([KEY], [version(2, 1, 1)], [made(b"v")])[0] == []
    assert acceptor.prepare([KEY], [ballots.make_ballot(3, 1)], [0])[2] == []
    # What it has promised is no matter of the floor, either.
    [refusal] = acceptor.prepare([KEY], [ballots.make_ballot(2, 3)], [0])[2]
    assert refusal == Refusal(KEY, ballots.make_ballot(3, 1), False)


# What an engine says of its own.


@pytest.fixture
def engine() -> PaxosEngine:
    """Node 1 of three, which can reach the others."""
    engine = PaxosEngine(1, 1, PLACEMENT, random.Random(0), empty=True)
    engine.peer_up(2, 1, 0.0)
    engine.peer_up(3, 1, 0.0)
    engine.take_effects()
    return engine


def said(engine: PaxosEngine, peer: int = 2) -> list[Message]:
    """What a peer is sent, once all is on the disk."""
    messages: list[Message] = []
    for _ in range(3):
        messages += engine.take_effects().sends.get(peer, [])
        engine.committed(engine.acceptor.sequence - 1, engine.context.now)
    return messages


def test_promises_and_versions_name_the_floor(engine: PaxosEngine) -> None:
    engine.acceptor.floor = FLOOR
    high = ballots.make_ballot(9, 2)
    engine.receive(2, [Proposals(1, (KEY,), (high,), (0,), (), (), ()), Reads(2, (OWN_KEY,))], 0.0)
    promised, versions = sorted(said(engine), key=lambda message: message.number)  # type: ignore[union-attr]
    assert isinstance(promised, Promised)
    assert isinstance(versions, Versions)
    assert (promised.floor, versions.floor, versions.versions) == (FLOOR, FLOOR, (0,))


def test_a_home_with_a_floor_asks_before_it_begins_a_key(engine: PaxosEngine) -> None:
    """What was there before may have been forgotten."""
    engine.acceptor.floor = FLOOR
    engine.take_effects()
    engine.submit([incr(OWN_KEY)], 0.0)
    [message] = engine.take_effects().sends[2]
    assert isinstance(message, Proposals)
    assert message.prepare_keys == (OWN_KEY,)
    assert engine.proposer.counters["initial_ballots"] == 0


# The proposer.


def proposals(messages: list[Message]) -> Proposals:
    [message] = [message for message in messages if isinstance(message, Proposals)]
    return message


def held(engine: PaxosEngine, *operations_: Operation, floor: int = 0, base: tuple[int, bytes] = (0, b"")) -> Proposals:
    """The Accept with which the engine begins once node 2 has promised, which has this floor, and accepted that."""
    engine.submit(operations_, 0.0)
    prepare = proposals(said(engine))
    engine.receive(2, [Promised(prepare.number, 0, (base[0],), (base[1],), (), floor)], 0.0)
    return proposals(said(engine))


def accepted(engine: PaxosEngine, accept: Proposals) -> dict[Operation, Result]:
    """The others have accepted it: what that answers."""
    for peer in (2, 3):
        engine.receive(peer, [Accepted(accept.number, ())], engine.context.now)
    return dict(engine.take_effects().answers)


def prepared_next(engine: PaxosEngine, own_disk: bool = True) -> Proposals:
    """What the engine prepares after its pause."""
    for _ in range(100):
        messages = said(engine) if own_disk else engine.take_effects().sends.get(2, [])
        if messages:
            [message] = messages
            assert isinstance(message, Proposals), "nobody is said to hold the key, so nothing is relayed"
            assert message.prepare_keys
            return message
        now = engine.context.now + 0.01
        engine.receive(2, [], now)
        engine.tick(now)
    raise AssertionError("it hangs")


@pytest.mark.parametrize("node", [1, 2])
@pytest.mark.parametrize("phase", ["prepare", "accept"])
def test_who_is_refused_by_a_floor_goes_above_it_and_relays_to_nobody(
    engine: PaxosEngine, phase: str, node: int
) -> None:
    """Also where that has the very ballot that was refused: it was ignored, and the operation hung (B11)."""
    engine.submit([incr()], 0.0)
    message = proposals(said(engine))
    own = message.prepare_ballots[0]
    if phase == "accept":
        engine.receive(2, [Promised(message.number, 0, (0,), (b"",), (), 0)], 0.0)
        message = proposals(said(engine))
        assert message.accept_keys == (KEY,)
    floor = own if node == 1 else ballots.make_ballot(4, 2)
    engine.receive(2, [Refused(message.number, (Refusal(KEY, floor, True),))], 0.0)
    assert prepared_next(engine).prepare_ballots[0] > floor
    assert engine.proposer.counters["prepare_retries"] == 0, "that is not left to a time-out"


def test_a_refusal_at_its_own_ballot_that_is_no_floors_means_nothing(engine: PaxosEngine) -> None:
    """It answers a duplicate of the Prepare."""
    engine.submit([incr()], 0.0)
    message = proposals(said(engine))
    engine.receive(2, [Refused(message.number, (Refusal(KEY, message.prepare_ballots[0], False),))], 0.0)
    assert said(engine) == []
    assert engine.proposer.counters["preemptions"] == 0


def test_what_was_relayed_here_is_given_back_without_a_word_of_who_might_hold_the_key(engine: PaxosEngine) -> None:
    """Its origin would relay it to the node of the floor's ballot, which holds nothing."""
    accept = held(engine, incr())
    ballot = ballots.ballot_of(accept.accept_versions[0])
    relayed = RelayedOperation(1, ballot, operations.INCR, 1, None)
    engine.receive(3, [Relays((RelayItem(7, KEY, ballot, (relayed,)),))], 0.0)
    assert said(engine, 3)
    engine.receive(2, [Refused(accept.number, (Refusal(KEY, ballots.make_ballot(4, 2), True),))], 0.0)
    [answers] = [message for message in said(engine, 3) if isinstance(message, RelayAnswers)]
    [answer] = answers.items
    assert isinstance(answer, RelayAnswer)
    assert answer.promised == ballot


# Floors at initial ballots, since any other node's first Prepare is above those.
LOW, HIGH = (ballots.initial_ballot(node) << ballots.STEP_BITS | 7 for node in (2, 3))


def promised(engine: PaxosEngine, number: int, *promises: tuple[int, int, int, bytes]) -> list[Message]:
    """Peers promise: each with its floor, and what it has accepted. What node 2 is sent then."""
    for peer, floor, accepted_version, register in promises:
        engine.receive(peer, [Promised(number, 0, (accepted_version,), (register,), (), floor)], 0.0)
    # The own disk is behind, so that its vote does not count.
    return engine.take_effects().sends.get(2, [])


@pytest.mark.parametrize(("two", "three"), [(LOW, HIGH), (HIGH, LOW)])
def test_what_begins_from_absent_has_the_highest_floor_of_the_promises_as_its_horizon(
    engine: PaxosEngine, two: int, three: int
) -> None:
    engine.submit([incr()], 0.0)
    prepare = proposals(engine.take_effects().sends[2])
    accept = proposals(promised(engine, prepare.number, (2, two, 0, b""), (3, three, 0, b"")))
    register = registers.decode(accept.accept_registers[0])
    assert (register.value, register.horizon) == (b"1", HIGH)


def test_what_begins_from_something_keeps_the_horizon_of_that(engine: PaxosEngine) -> None:
    engine.submit([incr()], 0.0)
    prepare = proposals(engine.take_effects().sends[2])
    base = ballots.initial_ballot(2) << ballots.STEP_BITS | 9
    accept = proposals(promised(engine, prepare.number, (2, HIGH, 0, b""), (3, HIGH, base, made(b"4", LOW))))
    register = registers.decode(accept.accept_registers[0])
    assert (register.value, register.horizon) == (b"5", LOW)


def test_promises_of_another_ballot_say_nothing_of_the_horizon(engine: PaxosEngine) -> None:
    engine.submit([incr()], 0.0)
    first = proposals(engine.take_effects().sends[2])
    promised(engine, first.number, (2, HIGH, 0, b""))
    engine.receive(3, [Refused(first.number, (Refusal(KEY, LOW >> ballots.STEP_BITS, True),))], 0.0)
    again = prepared_next(engine, own_disk=False)
    accept = proposals(promised(engine, again.number, (3, LOW, 0, b""), (2, 0, 0, b"")))
    assert registers.decode(accept.accept_registers[0]).horizon == LOW


# Steps.


def chain_at(ballot: int, tail: Register) -> Chain:
    chain = Chain(KEY, ReplicaSet((1, 2, 3), 2), None)
    chain.ballot, chain.tail = ballot, tail
    return chain


def exposed(ballot: int, number: int = 5, kind: int = operations.PUT) -> Operation:
    operation = Operation(kind, KEY, b"new" if kind == operations.PUT else None)
    operation.number, operation.exposed = number, ballot
    return operation


def below(value: bytes | None = b"old") -> Register:
    """A register of which the lineage from before FLOOR is lost."""
    tail = Register()
    tail.value, tail.modified, tail.horizon = value, version(6, 3, 1), FLOOR
    tail.lineage = {3: (9, version(6, 3, 1))}
    return tail


@pytest.mark.parametrize("origin", [1, 3])
@pytest.mark.parametrize(
    ("ballot", "is_known"),
    [
        (ballots.make_ballot(4, 9), False),
        (FLOOR_BALLOT, False),
        (ballots.make_ballot(5, 3), True),
        (ballots.make_ballot(7, 1), True),
    ],
)
def test_what_was_exposed_before_the_horizon_and_is_not_in_the_lineage_is_unknown(
    origin: int, ballot: int, is_known: bool
) -> None:
    """It may have happened, and been forgotten with the tombstone that came next: it happened twice (B6)."""
    tail = below()
    chain = chain_at(ballots.make_ballot(7, 1), tail)
    before = registers.encode(tail)
    result = enter(chain, origin, exposed(ballot, number=10), 1000, wall_ms=0)
    if is_known:
        assert result == Result(operations.OK, None, version(7, 1, 1))
        assert (tail.value, tail.lineage[origin]) == (b"new", (10, version(7, 1, 1)))
    else:
        assert result == Result(UNKNOWN, None, 0)
        assert (chain.step, registers.encode(tail)) == (0, before), "nothing is recorded"


def test_what_the_lineage_knows_was_not_lost_behind_the_horizon() -> None:
    tail = below()
    chain = chain_at(ballots.make_ballot(7, 1), tail)
    result = enter(chain, 3, exposed(FLOOR_BALLOT, number=9), 1000, wall_ms=0)
    assert result == Result(operations.OK, None, version(6, 3, 1))


def test_every_step_inherits_the_horizon() -> None:
    chain = chain_at(ballots.make_ballot(7, 1), below())
    tail = chain.tail
    assert tail is not None
    put, delete = exposed(chain.ballot, 1), exposed(chain.ballot, 2, operations.DELETE)
    for operation in (put, delete):
        enter(chain, 1, operation, 1000, wall_ms=0)
        assert registers.decode(registers.encode(tail)).horizon == FLOOR
    tail.value, tail.expires_at = b"v", 1
    lapse(chain, wall_ms=1)
    assert registers.decode(registers.encode(tail)).horizon == FLOOR


def test_a_plain_put_on_a_held_key_inherits_it_too(engine: PaxosEngine) -> None:
    """It is made of bytes, without a Register in between."""
    operations_ = [Operation(operations.PUT, KEY, b"%d" % number) for number in range(3)]
    accept = held(engine, operations_[0], base=(LOW, made(b"old", LOW)))
    for operation in operations_[1:]:
        assert accepted(engine, accept)
        engine.submit([operation], 0.0)
        accept = proposals(said(engine))
        register = registers.decode(accept.accept_registers[0])
        assert (register.value, register.horizon) == (operation.argument, LOW)


# What a client is told.


def begun_in_vain(engine: PaxosEngine) -> tuple[Operation, Proposals]:
    """An increment that its key's home, node 1, has proposed at (0, 1), which the floors of the others refuse; and the
    Prepare that follows."""
    operation = incr(OWN_KEY)
    engine.submit([operation], 0.0)
    accept = proposals(said(engine))
    assert accept.accept_versions == (ballots.initial_ballot(1) << ballots.STEP_BITS | 1,)
    engine.receive(2, [Refused(accept.number, (Refusal(OWN_KEY, HIGH >> ballots.STEP_BITS, True),))], 0.0)
    return operation, proposals(engine.take_effects().sends[2])


def test_an_operation_from_before_the_horizon_is_unknown_and_the_next_is_not(engine: PaxosEngine) -> None:
    old, prepare = begun_in_vain(engine)
    new = incr(OWN_KEY)
    engine.submit([new], 0.0)
    accept = proposals(promised(engine, prepare.number, (2, HIGH, 0, b""), (3, 0, 0, b"")))
    assert registers.decode(accept.accept_registers[0]).value == b"1"
    answers = accepted(engine, accept)
    assert answers[old].status == UNKNOWN
    assert answers[new] == Result(operations.OK, 1, accept.accept_versions[0])


def test_what_was_unknown_is_not_taken_for_done_when_a_later_one_is_in_the_lineage(engine: PaxosEngine) -> None:
    """The step that skipped the one and recorded the other is adopted by a higher ballot (B14)."""
    old, prepare = begun_in_vain(engine)
    new = incr(OWN_KEY)
    engine.submit([new], 0.0)
    accept = proposals(promised(engine, prepare.number, (2, HIGH, 0, b""), (3, 0, 0, b"")))
    # The key is lost to node 3 before the step is chosen, which is silent from then on.
    engine.peer_lost(3, 0.0)
    engine.receive(2, [Refused(accept.number, (Refusal(OWN_KEY, ballots.make_ballot(3, 3), False),))], 0.0)
    again = prepared_next(engine)
    engine.receive(2, [Promised(again.number, 0, accept.accept_versions, accept.accept_registers, (), HIGH)], 0.1)
    accept = proposals(said(engine))
    register = registers.decode(accept.accept_registers[0])
    assert (register.value, register.horizon) == (b"1", HIGH), "neither is done again"
    answers = accepted(engine, accept)
    assert answers[old].status == UNKNOWN
    assert answers[new].status == operations.OK


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_cluster_whose_nodes_have_floors_goes_on(number: int) -> None:
    """Keys that were never heard of are read, written and counted, none of it lost or unknown."""
    cluster = Cluster(watched=True)
    for node, floor in ((1, version(3, 3, 3)), (2, FLOOR), (3, version(4, 1, 1))):
        cluster.engine(node).acceptor.floor = floor
    cluster.settle()
    for key in (KEY, OWN_KEY):
        assert cluster.run(number, Operation(operations.GET, key)).value is None
        for count in (1, 2, 3):
            assert cluster.run(number, incr(key)).value == count
        for node in cluster.nodes:
            assert cluster.run(node, Operation(operations.GET, key)).value == b"3"
            record = cluster.engine(node).records.resident[key]
            assert registers.decode(record.register).horizon in (FLOOR, version(4, 1, 1), version(3, 3, 3))


def test_a_read_that_a_floor_keeps_from_finishing_what_it_saw_has_a_step_say_so() -> None:
    cluster = Cluster()
    cluster.settle()
    # Node 3 alone has it, from before there was a floor.
    old = ballots.initial_ballot(2) << ballots.STEP_BITS | 1
    cluster.engine(3).receive(2, [Proposals(99, (), (), (), (KEY,), (old,), (made(b"1"),))], cluster.now)
    cluster.turn(3)
    cluster.commit(3)
    for node in cluster.nodes:
        cluster.engine(node).acceptor.floor = FLOOR
    assert cluster.run(3, Operation(operations.GET, KEY)).value == b"1"
    assert cluster.engine(3).reader.counters["settled_reads"] == 1
    for node in cluster.nodes:
        assert cluster.engine(node).records.resident[KEY].accepted > FLOOR
