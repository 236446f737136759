"""What distinguishes one explored state from another, and nothing else: the same bytes for states that behave the same.

Left out, because nothing that can still happen depends on them: counters, caches of bytes, copies of what is said
elsewhere, frames that nobody takes any more (answers to batches that are forgotten, and what is meant for a former
incarnation), and in what order calls, or returns, of the history followed each other without the other between them.

Renamed, so that only their order tells: the numbers of each node's batches, which its peers repeat and nobody looks
into, and the numbers of turns, of which all that are on disk are alike. A disk is what would be recovered from it.
"""

import hashlib
import marshal
import random
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

import msgpack

from paxoskv.core.placement import EveryNode
from paxoskv.paxos.acceptor import Acceptor
from paxoskv.paxos.chain import Chain, RelayJob
from paxoskv.paxos.directed import Directed
from paxoskv.paxos.engine import PaxosEngine
from paxoskv.paxos.messages import (
    Accepted,
    Fetches,
    Message,
    Promised,
    Proposals,
    Reads,
    Refused,
    Registers,
    RelayAnswers,
    Relays,
    Versions,
)
from paxoskv.paxos.proposer import Batch, Proposer
from paxoskv.paxos.reader import KeyRead, ReadBatch, Reader
from paxoskv.paxos.records import Record
from paxoskv.wire import framing, paxos, peer

if TYPE_CHECKING:
    from paxoskv.sim.explore import World

_REQUESTS: Final = (Proposals, Reads, Fetches, Relays)
_ANSWERS: Final = (Accepted, Promised, Refused, Versions, Registers, RelayAnswers)
_ATOMS: Final = frozenset((int, bytes, bool, float, type(None)))

# Attributes that nothing depends on which can still happen. Batches in flight know their set of replicas, and there is
# only one; effects are empty between turns; memory is large enough, so nothing is ever evicted.
_IGNORED: Final = frozenset(
    (
        "_backlog",
        "_backlog_bytes",
        "_batch_number",
        "_changed",
        "_changes",
        "_clock",
        "_effects",
        "_handlers",
        "_journaled_bytes",
        "bytes",
        "counters",
        "dirty",
        "encoded",
        "evictions",
        "group",
        "journaled_bytes",
        "loads",
        "placement",
        "rng",
        "timing",
        "used",
    )
)
_BY_BATCH: Final = {
    (Proposer, "_batches"),
    (Proposer, "_relays"),
    (Reader, "_batches"),
    (Reader, "_without_own"),
    (Reader, "_fetches"),
    (Directed, "_sent"),
}
"""Dictionaries whose keys are numbers of the node's own batches."""
_BATCH_NUMBERS: Final = {(Batch, "number"), (ReadBatch, "number"), (KeyRead, "fetch"), (Chain, "relay_number")}


def identity(world: "World") -> bytes:
    """A digest of the state: equal for states that differ in nothing that matters."""
    live: dict[int, set[int]] = {number: set() for number in world.nodes}
    for number, node in world.nodes.items():
        if node.engine is not None:
            live[number].update(_own_numbers(node.engine))
    shapes = []
    for source, target, frame in world.frames:
        shape = _shape(source, target, frame)
        recipient = world.nodes[target]
        if shape.recipient != recipient.incarnation or recipient.seen.get(source, 0) > shape.incarnation:
            continue
        if shape.answers is not None and not live[target].intersection(shape.answers):
            continue
        shapes.append(shape)
    for shape in shapes:
        for requester, batch in shape.numbers:
            live[requester].add(batch)
    for node in world.nodes.values():
        if node.engine is not None:
            for requester, batch in _numbers_of_others(node.engine):
                live[requester].add(batch)
    ranks = {
        requester: {batch: rank for rank, batch in enumerate(sorted(batches), 1)} for requester, batches in live.items()
    }
    frames = sorted(marshal.dumps(shape.render(ranks), 2) for shape in shapes)
    nodes = []
    for number, node in sorted(world.nodes.items()):
        engine = node.engine
        durable = engine.acceptor.durable if engine is not None else 0
        nodes.append(
            (
                node.incarnation,
                tuple(sorted(node.seen.items())),
                _recovered(tuple(node.rows)) if world.crashes else (),
                tuple([_recovered((row,)) for _, row in node.queued]),
                tuple([sequence - durable for sequence, _ in node.queued]),
                None if engine is None else _Walk(number, ranks, durable).of(engine),
            )
        )
    rest = (world.now, world.losses, world.duplicates, world.crashes, world.ticks, tuple(sorted(world.next.items())))
    state = (rest, _history(world.events), tuple(nodes), tuple(frames))
    return hashlib.blake2b(marshal.dumps(state, 2), digest_size=16).digest()


def _history(events: Iterable[tuple[int, Any]]) -> tuple[Any, ...]:
    """Calls between two returns have no order among them, nor have returns between two calls."""
    runs: list[list[Any]] = []
    last: bool | None = None
    for number, result in events:
        if (result is None) != last:
            last = result is None
            runs.append([])
        runs[-1].append((number, *(() if result is None else result)))
    return tuple([tuple(sorted(run, key=lambda event: event[0])) for run in runs])


@lru_cache(maxsize=100_000)
def _recovered(rows: tuple[bytes, ...]) -> tuple[Any, ...]:
    """What an engine finds that starts on these rows."""
    engine = PaxosEngine(1, 1, EveryNode((1,)), cast(random.Random, None), empty=True)
    for row in rows:
        engine.recover([paxos.decode(encoded) for encoded in msgpack.unpackb(row, use_list=False)])
    resident = engine.records.resident
    return tuple([(key, record.promised, record.accepted, record.register) for key, record in sorted(resident.items())])


# Frames.


class _Shape:
    """A frame, with its batch numbers apart."""

    __slots__ = ("answers", "incarnation", "numbers", "recipient", "source", "target", "template")

    def __init__(self, source: int, target: int, frame: bytes) -> None:
        header, encoded = peer.parse_frame(framing.unpack(frame[framing.LENGTH_BYTES :]))
        self.source = source
        self.target = target
        self.incarnation = header.incarnation
        self.recipient = header.recipient_incarnation
        self.numbers: list[tuple[int, int]] = []
        """(who has given the number, number), in their order in the frame."""
        messages = [paxos.decode(message) for message in encoded]
        self.template = tuple([self._part(message) for message in messages])
        self.answers: frozenset[int] | None = None
        """The batches that are answered, if the frame does nothing else."""
        if all(isinstance(message, _ANSWERS) for message in messages):
            self.answers = frozenset(number for _, number in self.numbers)

    def _part(self, message: Message) -> tuple[Any, ...]:
        requester = self.source if isinstance(message, _REQUESTS) else self.target
        if isinstance(message, Fetches | Registers | Relays | RelayAnswers):
            self.numbers += [(requester, item.number) for item in message.items]
            return (_kind(message), *[_plain(tuple(item)[1:]) for item in message.items])
        assert isinstance(message, Proposals | Reads | Accepted | Promised | Refused | Versions)
        self.numbers.append((requester, message.number))
        fields = [name for name in type(message).__slots__ if name not in ("number", "encoded")]
        return (_kind(message), *[_plain(getattr(message, name)) for name in fields])

    def render(self, ranks: dict[int, dict[int, int]]) -> tuple[Any, ...]:
        """The frame with its numbers renamed."""
        numbers = tuple([ranks[requester][number] for requester, number in self.numbers])
        return self.source, self.target, self.incarnation, numbers, self.template


@lru_cache(maxsize=100_000)
def _shape(source: int, target: int, frame: bytes) -> _Shape:
    return _Shape(source, target, frame)


def _kind(message: Message) -> int:
    return (*_REQUESTS, *_ANSWERS).index(type(message))


def _plain(value: Any) -> Any:
    """Named tuples as plain ones."""
    return tuple([_plain(item) for item in value]) if isinstance(value, tuple) else value


# Engines.


def _own_numbers(engine: PaxosEngine) -> Iterable[int]:
    proposer, reader = engine.proposer, engine.reader
    yield from proposer._batches
    yield from proposer._relays
    yield from reader._batches
    yield from reader._fetches
    yield from engine.directed._sent


def _numbers_of_others(engine: PaxosEngine) -> Iterable[tuple[int, int]]:
    """Batches of other nodes that this one still has to answer."""
    for _, target, messages in engine._held:
        for message in messages:
            assert isinstance(message, Accepted | Promised | Refused)
            yield target, message.number
    for chain in engine.proposer.chains.values():
        for job in [*chain.relayed, *[job for flight in chain.flights for job in flight.jobs]]:
            yield job.origin, job.number


class _Walk:
    """From an engine through everything that it holds, each object once."""

    def __init__(self, node: int, ranks: dict[int, dict[int, int]], durable: int) -> None:
        self._ranks = ranks
        self._own = ranks[node]
        self._durable = durable
        self._met: dict[int, int] = {}

    def of(self, value: Any) -> Any:
        kind = type(value)
        if kind in _ATOMS:
            return value
        if isinstance(value, tuple | list | deque):
            return tuple([self.of(item) for item in value])
        if kind is dict:
            return tuple([(self.of(key), self.of(item)) for key, item in value.items()])
        if isinstance(value, set | frozenset):
            return tuple(sorted(value))
        if isinstance(value, str):
            return value.encode()
        if callable(value):
            return None
        met = self._met.get(id(value))
        if met is not None:
            return b"again", met
        self._met[id(value)] = len(self._met)
        return (kind.__name__.encode(), *[self._attribute(value, name) for name in _names(value)])

    def _attribute(self, owner: Any, name: str) -> Any:
        value = getattr(owner, name)
        kind = type(owner)
        if (kind, name) in _BY_BATCH:
            return tuple([(self._own[number], self.of(item)) for number, item in value.items()])
        if (kind, name) in _BATCH_NUMBERS:
            return self._own.get(value, 0)
        special = _SPECIAL.get((kind, name))
        return self.of(value) if special is None else special(self, owner, value)

    def _late(self, sequence: int) -> int:
        """How many turns from being durable; all that are, are alike."""
        return max(0, sequence - self._durable)

    def _shadow(self, shadow: Any) -> Any:
        states = []
        while shadow is not None:
            sequence, accepted, register, shadow = shadow
            states.append((self._late(sequence), accepted, register))
        return tuple(states)

    def _held(self, held: Iterable[tuple[int, int, Sequence[Any]]]) -> Any:
        found = []
        for wait, target, messages in held:
            for message in messages:
                fields = [name for name in type(message).__slots__ if name != "number"]
                rest = tuple([_plain(getattr(message, name)) for name in fields])
                found.append((self._late(wait), target, _kind(message), self._ranks[target][message.number], rest))
        return tuple(found)


_SPECIAL: Final[dict[tuple[type, str], Callable[[_Walk, Any, Any], Any]]] = {
    (Acceptor, "sequence"): lambda walk, owner, value: walk._late(value),
    (Acceptor, "durable"): lambda walk, owner, value: 0,
    (Record, "sequence"): lambda walk, owner, value: walk._late(value),
    (Record, "shadow"): lambda walk, owner, value: walk._shadow(value),
    (PaxosEngine, "_held"): lambda walk, owner, value: walk._held(value),
    (RelayJob, "number"): lambda walk, owner, value: walk._ranks[owner.origin][value],
}


@cache
def _slots(kind: Any) -> tuple[str, ...]:
    names = [name for parent in kind.__mro__ for name in getattr(parent, "__slots__", ())]
    return tuple(sorted(set(names) - _IGNORED))


def _names(value: Any) -> Iterable[str]:
    """Its attributes that matter, in an order that does not depend on its past."""
    slots = _slots(cast(Hashable, type(value)))
    return slots or sorted(set(value.__dict__) - _IGNORED)
