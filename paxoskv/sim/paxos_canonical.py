"""What distinguishes one explored state of the leaderless engine from another.

Left out, because nothing that can still happen depends on them: counters, caches of bytes, copies of what is said
elsewhere, and in what order calls, or returns, of the history followed each other without the other between them.

Renamed, so that only their order tells: the numbers of each node's batches, which its peers repeat and nobody looks
into, and the numbers of turns, of which all that are on disk are alike. A disk is what would be recovered from it.
"""

import marshal
import random
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

import msgpack

from paxoskv.core.placement import EveryNode
from paxoskv.paxos.acceptor import Acceptor
from paxoskv.paxos.batch import Batch
from paxoskv.paxos.chain import Chain, RelayJob
from paxoskv.paxos.context import Context
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
from paxoskv.paxos.proposer import Proposer
from paxoskv.paxos.reader import KeyRead, ReadBatch, Reader
from paxoskv.paxos.records import Record
from paxoskv.paxos.relaying import Relaying
from paxoskv.paxos.repair import Repair
from paxoskv.sim.canonical import Naming, Walk, attribute_names, digest, history
from paxoskv.wire import framing, paxos, peer

if TYPE_CHECKING:
    from paxoskv.sim.world import World

_REQUESTS: Final = (Proposals, Reads, Fetches, Relays)
_ANSWERS: Final = (Accepted, Promised, Refused, Versions, Registers, RelayAnswers)

# Attributes that nothing depends on which can still happen, and those by which the parts of an engine know each other.
# Batches in flight know their set of replicas, and there is only one; effects are empty between turns; memory is large
# enough, so nothing is ever evicted; nobody scans, and nobody makes checkpoints.
_IGNORED: Final = frozenset(
    (
        "_acceptor",
        "_backlog",
        "_backlog_bytes",
        "_batch_number",
        "_changed",
        "_chains",
        "_changes",
        "_clock",
        "_context",
        "_directed",
        "_effects",
        "_flights_by_key",
        "_folding",
        "_handlers",
        "_load",
        "_parked_bytes",
        "_preparing_by_key",
        "_read",
        "_records",
        "_runs",
        "_settle",
        "_turn_bytes",
        "_unordered",
        "_vote",
        "bytes",
        "counters",
        "dirty",
        "encoded",
        "evictions",
        "group",
        "loads",
        "order",
        "pages",
        "placement",
        "rng",
        "scanner",
        "sweep",
        "timing",
        "used",
        "writing",
    )
)


class Form:
    """One engine's state: what holds of it whatever its and its peers' batch numbers are, and those numbers apart."""

    __slots__ = ("durable", "numbers", "own", "template")

    def __init__(self, number: int, engine: PaxosEngine, names: Naming) -> None:
        self.durable = engine.acceptor.durable
        self.own = frozenset(_own_numbers(engine))
        """Batches of its own that it waits for."""
        walk = _Walk(number, self.durable, names)
        self.template = digest(walk.of(engine))
        self.numbers = walk.numbers
        """(who has given the number, number), in the order of the walk."""

    @property
    def told(self) -> tuple[object, ...]:
        """All of it."""
        return self.template, self.numbers, self.own


def find_form(world: "World", number: int, names: Naming | None = None) -> Form:
    """Of a node's engine as it is now; with the nodes' own names, if no others are given."""
    node = world.nodes[number]
    if names is None:
        names = world.namings[0]
    if node.form is None:
        node.form = {}
    form = node.form.get(names)
    if form is None:
        form = node.form[names] = Form(number, node.peek(), names)
    assert isinstance(form, Form)
    return form


def prune(world: "World") -> None:
    """Take frames out that nobody takes any more: for a former incarnation, or answers to batches that are forgotten.

    Not only does nothing depend on them. What is left tells when nothing is in flight any more.
    """
    kept = []
    for source, target, frame in world.frames:
        shape = _shape(source, target, frame)
        recipient = world.nodes[target]
        if shape.recipient != recipient.incarnation or recipient.seen.get(source, 0) > shape.incarnation:
            continue
        if shape.answers is not None and find_form(world, target).own.isdisjoint(shape.answers):
            continue
        kept.append((source, target, frame))
    world.frames = kept


def identity(world: "World") -> bytes:
    """A digest of the state: equal for states that differ in nothing that matters, be it for who is called what."""
    forms = {number: find_form(world, number) for number in sorted(world.nodes)}
    live: dict[int, set[int]] = {number: set(form.own) for number, form in forms.items()}
    shapes = [_shape(*frame) for frame in world.frames]
    for numbers in (*[shape.numbers for shape in shapes], *[form.numbers for form in forms.values()]):
        for requester, batch in numbers:
            live[requester].add(batch)
    ranks = {requester: {batch: rank for rank, batch in enumerate(sorted(live[requester]), 1)} for requester in live}
    return min([_named(world, names, shapes, ranks) for names in world.namings])


def _named(world: "World", names: Naming, shapes: list["_Shape"], ranks: dict[int, dict[int, int]]) -> bytes:
    """The digest, if nodes are called so. `ranks` are the numbers of batches, by who has given them."""
    nodes = []
    for number in sorted(world.nodes, key=names.__getitem__):
        node, form = world.nodes[number], find_form(world, number, names)
        nodes.append(
            (
                node.incarnation,
                tuple(sorted([(names[other], incarnation) for other, incarnation in node.seen.items()])),
                _recovered(node.rows) if world.crashes else (),
                tuple([(sequence - form.durable, _recovered((row,))) for sequence, row in node.queued]),
                form.template,
                tuple([ranks[requester][batch] for requester, batch in form.numbers]),
            )
        )
    frames = sorted([marshal.dumps(shape.render(ranks, names), 2) for shape in shapes])
    rest = (world.now, world.losses, world.duplicates, world.crashes, world.ticks, tuple(sorted(world.next.items())))
    return digest((rest, history(world.events), tuple(nodes), tuple(frames)))


@lru_cache(maxsize=100_000)
def _recovered(rows: tuple[bytes, ...]) -> tuple[Any, ...]:
    """What an engine finds that starts on these rows."""
    engine = PaxosEngine(1, 1, EveryNode((1,)), cast(random.Random, None), empty=True)
    for row in rows:
        engine.recover([paxos.CODEC.decode(encoded) for encoded in msgpack.unpackb(row, use_list=False)])
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
        messages = [paxos.CODEC.decode(message) for message in encoded]
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

    def render(self, ranks: dict[int, dict[int, int]], names: Naming) -> tuple[Any, ...]:
        """The frame with its numbers and nodes renamed."""
        numbers = tuple([ranks[requester][number] for requester, number in self.numbers])
        return names[self.source], names[self.target], self.incarnation, numbers, self.template


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
    yield from proposer.relaying.numbers
    yield from reader._batches
    yield from reader._fetches
    yield from engine.directed._sent


class _Walk(Walk):
    """Through a leaderless engine."""

    def __init__(self, node: int, durable: int, names: Naming) -> None:
        super().__init__(names)
        self.numbers: list[tuple[int, int]] = []
        self._node = node
        self._durable = durable

    def attributes(self, kind: type, value: Any) -> Iterable[Any]:
        return [
            self.of(getattr(value, name)) if special is None else special(self, value, getattr(value, name))
            for name, special in _plan(kind, value)
        ]

    def mapping(self, value: dict[Any, Any]) -> Any:
        return tuple([(self.of(key), self.of(item)) for key, item in value.items()])

    def batch(self, number: int) -> int:
        """One of the node's own numbers; what stands for it is its place among the numbers."""
        self.numbers.append((self._node, number))
        return -len(self.numbers)

    def batches(self, by_number: dict[int, Any]) -> Any:
        """A dictionary whose keys are such numbers."""
        return tuple([(self.batch(number), self.of(item)) for number, item in by_number.items()])

    def job(self, job: RelayJob) -> int:
        """A number of the node that relayed it."""
        self.numbers.append((job.origin, job.number))
        return -len(self.numbers)

    def late(self, sequence: int) -> int:
        """How many turns from being durable; all that are, are alike."""
        return max(0, sequence - self._durable)

    def shadow(self, shadow: Any) -> Any:
        """What a record was, as far as it may still be asked."""
        states = []
        while shadow is not None:
            sequence, accepted, register, shadow = shadow
            states.append((self.late(sequence), accepted, register))
        return tuple(states)

    def held(self, held: Iterable[tuple[int, int, Sequence[Any]]]) -> Any:
        """Answers that wait for the disk."""
        found = []
        for wait, target, messages in held:
            for message in messages:
                self.numbers.append((target, message.number))
                fields = [name for name in type(message).__slots__ if name != "number"]
                rest = tuple([_plain(getattr(message, name)) for name in fields])
                found.append((self.late(wait), self.names[target], _kind(message), rest))
        return tuple(found)


_Special = Callable[[_Walk, Any, Any], Any]


def _batches(walk: _Walk, owner: Any, value: Any) -> Any:
    return walk.batches(value)


def _batch(walk: _Walk, owner: Any, value: Any) -> Any:
    return walk.batch(value) if value else 0


def _late(walk: _Walk, owner: Any, value: Any) -> Any:
    return walk.late(value)


def _node(walk: _Walk, owner: Any, value: Any) -> Any:
    return walk.names[value]


def _bits(walk: _Walk, owner: Any, value: Any) -> Any:
    return walk.bits(value)


def _nodes(walk: _Walk, owner: Any, value: Any) -> Any:
    return walk.nodes(value)


def _by_node(walk: _Walk, owner: Any, value: Any) -> Any:
    return walk.by_node(value)


def _sent(walk: _Walk, owner: Any, value: Any) -> Any:
    return walk.batches({number: (walk.names[node], *rest) for number, (node, *rest) in value.items()})


_SPECIAL: Final[dict[tuple[type, str], _Special]] = {
    (Proposer, "_batches"): _batches,
    (Relaying, "_relays"): _batches,
    (Relaying, "_given_up"): _batches,
    (Reader, "_batches"): _batches,
    (Reader, "_without_own"): _batches,
    (Reader, "_fetches"): _batches,
    (Directed, "_sent"): _sent,
    (Batch, "number"): _batch,
    (ReadBatch, "number"): _batch,
    (KeyRead, "fetch"): _batch,
    (Chain, "relay_number"): _batch,
    (RelayJob, "number"): lambda walk, owner, value: walk.job(owner),
    (Acceptor, "sequence"): _late,
    (Acceptor, "durable"): lambda walk, owner, value: 0,
    (Record, "sequence"): _late,
    (Record, "shadow"): lambda walk, owner, value: walk.shadow(value),
    (PaxosEngine, "_held"): lambda walk, owner, value: walk.held(value),
    (PaxosEngine, "node"): _node,
    (PaxosEngine, "_incarnations"): _by_node,
    (Context, "node"): _node,
    (Context, "heard"): _by_node,
    (Context, "up"): _nodes,
    (Batch, "acks"): _bits,
    (Chain, "promises"): _bits,
    (ReadBatch, "answers"): _by_node,
    (KeyRead, "holders"): _bits,
    (KeyRead, "asked"): _bits,
    (Repair, "_behind"): _by_node,
    (Repair, "_on_its_way"): _by_node,
    (Repair, "_wake"): _by_node,
}
_PLANS: Final[dict[type, list[tuple[str, _Special | None]]]] = {}


def _plan(kind: type, value: Any) -> list[tuple[str, _Special | None]]:
    """The attributes that matter, in an order that does not depend on the past, and what is special about them."""
    plan = _PLANS.get(kind)
    if plan is None:
        names = attribute_names(kind, value, _IGNORED)
        plan = _PLANS[kind] = [(name, _SPECIAL.get((kind, name))) for name in names]
    return plan
