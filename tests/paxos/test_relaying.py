"""Relays follow hints: after one was answered, the next operations on the key go the same way at once."""

import random

import pytest

from paxoskv.core import operations
from paxoskv.core.operations import Operation
from paxoskv.core.placement import EveryNode
from paxoskv.paxos import ballot as ballots
from paxoskv.paxos import relaying
from paxoskv.paxos.context import Timing
from paxoskv.paxos.engine import PaxosEngine
from paxoskv.paxos.messages import Message, Proposals, Refusal, Refused, RelayAnswer, RelayAnswers, Relays
from paxoskv.paxos.register import Register, encode

PLACEMENT = EveryNode((1, 2, 3))
HELD = ballots.make_ballot(3, 2)
# Of others' homes, so that node 1 prepares them.
KEYS = [key for key in (b"k%d" % number for number in range(20)) if PLACEMENT.home(key) != 1]
KEY = KEYS[0]


def asked(engine: PaxosEngine, key: bytes, now: float) -> Message:
    """What node 2 is sent when a client asks for something."""
    engine.submit([Operation(operations.INCR, key, 1)], now)
    [message] = engine.take_effects().sends[2]
    return message


def answered_relay(engine: PaxosEngine, *keys: bytes, now: float = 0.0) -> None:
    """Node 2 holds the keys at HELD: it has refused node 1, was relayed what that wanted, and has done it."""
    for key in keys:
        message = asked(engine, key, now)
        assert type(message) is Proposals
        version = HELD << ballots.STEP_BITS | 1
        accept = Proposals(1, (), (), (), (key,), (version,), (encode(Register()),))
        engine.receive(2, [accept, Refused(message.number, (Refusal(key, HELD, False),))], now)
        relays = engine.take_effects().sends[2][0]
        assert type(relays) is Relays
        done = RelayAnswer(relays.items[0].number, 0, 0, ((operations.OK, 1, version, 0),))
        engine.receive(2, [RelayAnswers((done,))], now)
        assert engine.take_effects().answers


@pytest.fixture
def engine() -> PaxosEngine:
    engine = PaxosEngine(1, 1, PLACEMENT, random.Random(0), empty=True)
    engine.peer_up(2, 1, 0.0)
    engine.peer_up(3, 1, 0.0)
    engine.take_effects()
    return engine


def test_the_next_operation_is_relayed_at_once_to_where_the_last_one_was_done(engine: PaxosEngine) -> None:
    answered_relay(engine, KEY)
    relays = asked(engine, KEY, 0.01)
    assert isinstance(relays, Relays)
    assert [(item.key, item.ballot) for item in relays.items] == [(KEY, HELD)]
    assert type(asked(engine, KEYS[1], 0.01)) is Proposals, "that says nothing of other keys"


def test_a_hint_serves_once(engine: PaxosEngine) -> None:
    """Else a holder that does not answer would be asked again and again."""
    answered_relay(engine, KEY)
    engine.submit([Operation(operations.INCR, KEY, 1, deadline=0.05)], 0.01)
    assert type(engine.take_effects().sends[2][0]) is Relays
    engine.receive(2, [], 0.06)  # It is there.
    engine.tick(0.06)
    assert engine.take_effects().answers
    assert type(asked(engine, KEY, 0.06)) is Proposals


@pytest.mark.parametrize(("after_s", "kind"), [(0.5, Relays), (1.5, Proposals)])
def test_a_hint_is_good_for_a_while(engine: PaxosEngine, after_s: float, kind: type) -> None:
    answered_relay(engine, KEY)
    now = after_s * Timing().hint_s
    engine.receive(2, [], now)  # It is there.
    assert type(asked(engine, KEY, now)) is kind


@pytest.mark.parametrize("kind", [operations.INCR, operations.GET])
def test_a_holder_that_is_silent_is_not_followed(engine: PaxosEngine, kind: int) -> None:
    """Nor is a read begun once more that was to be settled."""
    answered_relay(engine, KEY)
    now = 2 * Timing().silence_s
    engine.submit([], now)
    engine._settle(Operation(kind, KEY, 1 if kind == operations.INCR else None))
    [message] = engine.take_effects().sends[2]
    assert type(message) is Proposals


def test_a_key_whose_record_left_memory_and_does_not_come_back_is_prepared(engine: PaxosEngine) -> None:
    """Only the record says who holds it."""
    answered_relay(engine, KEY)
    engine.committed(1, 0.0)
    engine.begin_checkpoint()
    engine.folded([key for key, _ in engine.checkpoint_slice(10)])
    engine.records.cache_bytes = 0
    engine.take_effects()
    engine.take_effects()
    assert not engine.records.resident
    engine.submit([Operation(operations.INCR, KEY, 1)], 0.01)
    assert engine.take_effects().loads == [KEY]
    now = 0.01 + Timing().load_patience_s
    engine.receive(2, [], now)  # It is there.
    engine.tick(now)
    [message] = engine.take_effects().sends[2]
    assert type(message) is Proposals


@pytest.mark.parametrize(("other", "kind"), [(3, Relays), (1, Proposals)])
def test_a_key_that_was_taken_since_is_looked_for_at_who_took_it(engine: PaxosEngine, other: int, kind: type) -> None:
    """Unless that is this node itself, in a ballot that it has given up."""
    answered_relay(engine, KEY)
    ballot = ballots.make_ballot(9, other)
    engine.receive(3, [Proposals(1, (KEY,), (ballot,), (0,), (), (), ())], 0.01)
    engine.take_effects()
    engine.submit([Operation(operations.INCR, KEY, 1)], 0.01)
    [message] = engine.take_effects().sends[3]
    assert type(message) is kind
    if isinstance(message, Relays):
        assert message.items[0].ballot == ballot


def test_so_many_hints_are_kept_and_the_oldest_is_given_up(
    engine: PaxosEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaying, "_HINTS_MAX", 3)
    answered_relay(engine, *KEYS[:5])
    kinds = [type(asked(engine, key, 0.01)) for key in KEYS[:5]]
    assert kinds == [Proposals, Proposals, Relays, Relays, Relays]
