"""What distinguishes one explored state of the log engine from another.

Times count from now on, and what is longer ago than any time-out is alike; so are all turns that are on disk. The past
that the properties are held against is a part of the state, or a violation that takes two visits to one state of the
engines, with different pasts, would be missed.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgpack

from paxoskv.raft import messages
from paxoskv.raft.election import CANDIDATE, TRYING, Election
from paxoskv.raft.engine import RaftEngine
from paxoskv.raft.entry import Batch, Entry
from paxoskv.sim.canonical import Naming, Walk, attribute_names, digest, history
from paxoskv.sim.properties import Properties
from paxoskv.sim.world import FIRST
from paxoskv.wire import framing, peer, raft

if TYPE_CHECKING:
    from paxoskv.sim.raft_world import RaftWorld

# No time-out is longer than an election's, so that all that lies further back is past alike.
_PAST_S: Final = 4.0

# Words of a leader, or for one, which nobody listens to who is in a later term.
_OF_ONE_TERM: Final = (
    messages.Appended,
    messages.Rejected,
    messages.Vote,
    messages.Campaign,
    messages.Expected,
    messages.ReadIndex,
    messages.Stored,
)

# Nothing that can still happen depends on them: the parts of an engine know each other, counters count, effects are
# empty between turns, memory is large enough, nobody scans, makes checkpoints or needs a snapshot, all others can be
# reached, and `sent_at` of a follower lies a heartbeat back whenever somebody looks at it, since time passes first.
_IGNORED: Final = frozenset(
    (
        "_backlog",
        "_backlog_bytes",
        "_built",
        "_clock",
        "_context",
        "_counters",
        "_earliest",
        "_effects",
        "_folding",
        "_handlers",
        "_load",
        "_log",
        "_machine",
        "_on_change",
        "_origin",
        "_past",
        "_pending_bytes",
        "_runs",
        "_scratch",
        "_ticked_at",
        "_turn_bytes",
        "_unordered",
        "applied_operations",
        "bytes",
        "context",
        "counters",
        "dirty",
        "evictions",
        "loads",
        "node",
        "on_scan",
        "order",
        "pages",
        "scanner",
        "sent_at",
        "sweep",
        "truncations",
        "unapplied_bytes",
        "used",
        "writing",
    )
)
_TIMES: Final = frozenset(
    (
        "_campaign_sent_at",
        "_checked_at",
        "_lease_until",
        "_rewound_at",
        "_stand_at",
        "_transfer_since",
        "heard_at",
    )
)
_TURNS: Final = frozenset(("_durable_sequence", "_journaled", "_sequence"))
# Nodes; of `leader`, an engine's is an object.
_NODE: Final = frozenset(("vote", "leader", "target"))
_NODES: Final = frozenset(("_voters", "_notify"))
_BY_NODE: Final = frozenset(("_incarnations", "followers", "sessions", "_sessions"))
# Tuples that begin with one.
_OF_NODES: Final = frozenset(("_held", "_early", "_requests", "requests"))


class _Walk(Walk):
    """Through a log engine."""

    def __init__(self, engine: RaftEngine, now: float, names: Naming) -> None:
        super().__init__(names)
        self._durable = engine._durable_sequence
        self._now = now

    def of(self, value: Any) -> Any:
        kind = type(value)
        if kind is float:
            return self._time(value)
        if kind is Entry or kind is Batch:
            return value.encoded
        return super().of(value)

    def attributes(self, kind: type, value: Any) -> Iterable[Any]:
        if kind is Election and value.role not in (TRYING, CANDIDATE):
            # Nobody asks any more who has voted.
            return [self._field(name, getattr(value, name)) for name in _fields(kind, value) if name != "_voters"]
        return [self._field(name, getattr(value, name)) for name in _fields(kind, value)]

    def mapping(self, value: dict[Any, Any]) -> Any:
        return tuple([(key, self.of(item)) for key, item in sorted(value.items())])

    def _field(self, name: str, value: Any) -> Any:
        if name in _TIMES:
            return self._time(value)
        if name in _TURNS:
            return self._turn(value)
        if name == "_appended":
            return tuple([(self._turn(sequence), index) for sequence, index in value])
        if name == "_stored":
            return tuple(
                [(self._turn(sequence), self.names[peer], self.of(answer)) for sequence, peer, answer in value]
            )
        if name in _NODE and type(value) is int:
            return self.names[value]
        if name in _NODES:
            return self.nodes(value)
        if name in _BY_NODE:
            return self.by_node(value)
        if name in _OF_NODES and type(value) is not dict:
            return tuple([(self.names[node], *map(self.of, rest)) for node, *rest in value])
        return self.of(value)

    def _time(self, at: float) -> float:
        return max(at - self._now, -_PAST_S)

    def _turn(self, sequence: int) -> int:
        """How many turns from being durable; all that are, are alike."""
        return max(0, sequence - self._durable)


_FIELDS: Final[dict[type, list[str]]] = {}


def _fields(kind: type, value: Any) -> list[str]:
    fields = _FIELDS.get(kind)
    if fields is None:
        fields = _FIELDS[kind] = attribute_names(kind, value, _IGNORED)
    return fields


def find_form(world: "RaftWorld", number: int, names: Naming | None = None) -> bytes:
    """Of a node's engine as it is now; with the nodes' own names, if no others are given."""
    node = world.nodes[number]
    if names is None:
        names = world.namings[0]
    if node.form is None or node.form[0] != world.now:
        node.form = world.now, {}
    form = node.form[1].get(names)
    if form is None:
        engine = node.peek()
        form = node.form[1][names] = digest(_Walk(engine, world.now, names).of(engine))
    assert type(form) is bytes
    return form


def prune(world: "RaftWorld") -> None:
    """Take frames out that nobody takes any more: for a former incarnation, or words of a term that is past."""
    kept = []
    for source, target, frame in world.frames:
        incarnation, recipient, term = _envelope(frame)
        node = world.nodes[target]
        if recipient != node.incarnation or node.seen.get(source, 0) > incarnation:
            continue
        if term is not None and term < node.peek().election.term:
            continue
        kept.append((source, target, frame))
    world.frames = kept


@lru_cache(maxsize=100_000)
def _envelope(frame: bytes) -> tuple[int, int, int | None]:
    """From and for which incarnation it is, and the term beyond which nobody listens, None if somebody always does."""
    header, encoded = _opened(frame)
    said = [raft.CODEC.decode(message) for message in encoded]
    bounded = all(isinstance(message, _OF_ONE_TERM) for message in said)
    return header.incarnation, header.recipient_incarnation, max(message.term for message in said) if bounded else None


def _opened(frame: bytes) -> tuple[peer.Header, Sequence[bytes]]:
    return peer.parse_frame(framing.unpack(frame[framing.LENGTH_BYTES :]))


@lru_cache(maxsize=100_000)
def _said(frame: bytes) -> tuple[object, ...]:
    """What a frame says, but for whom it is from and for. What messages name are nodes that clients ask, or asked
    before the beginning, and those are not exchanged."""
    header, encoded = _opened(frame)
    return header.incarnation, header.recipient_incarnation, *encoded


def identity(world: "RaftWorld") -> bytes:
    """A digest of the state: equal for states that differ in nothing that matters, be it for who is called what."""
    return min([_named(world, names) for names in world.namings])


def _named(world: "RaftWorld", names: Naming) -> bytes:
    """The digest, if nodes are called so."""
    nodes = []
    for number in sorted(world.nodes, key=names.__getitem__):
        node = world.nodes[number]
        nodes.append(
            (
                node.incarnation,
                tuple(sorted([(names[other], incarnation) for other, incarnation in node.seen.items()])),
                _recovered(node.rows, names) if world.crashes else b"",
                tuple([_recovered((row,), names) for _, row in node.queued]),
                find_form(world, number, names),
            )
        )
    frames = sorted([(names[source], names[target], _said(frame)) for source, target, frame in world.frames])
    rest = (world.losses, world.duplicates, world.crashes, world.ticks, world.timeouts, sorted(world.next.items()))
    return digest((rest, history(world.events), nodes, frames, _known(world.watch, names)))


def _known(properties: Properties, names: Naming) -> Any:
    """The past, as far as anything is still held against it.

    Of what was journaled, an engine and its disk tell; how long a leader's log was, its log tells.
    """
    nodes = []
    for number, node in properties._nodes.items():
        disk = node.disk
        led = None if node.led is None else node.led[0]
        disk_says = (disk.base, disk.term, names[disk.vote], disk._terms)
        nodes.append((names[number], *disk_says, led, node.committed, node.applied))
    trials = properties._trials.items()
    return (
        sorted(nodes),
        [
            (term, sorted([(names[voter], names[vote]) for voter, vote in votes.items()]))
            for term, votes in sorted(properties._votes.items())
        ],
        sorted(
            [
                (names[candidate], term, sorted([names[voter] for voter in voters]))
                for (candidate, term), voters in trials
            ]
        ),
        sorted([(term, names[leader]) for term, leader in properties._leaders.items()]),
        [(place, entry[:2]) for place, entry in sorted(properties._entries.items())],
        sorted(properties._chosen.items()),
        sorted(properties._committed_in.items()),
        sorted(properties._states.items()),
    )


@lru_cache(maxsize=100_000)
def _recovered(rows: tuple[bytes, ...], names: Naming) -> bytes:
    """What an engine finds that starts on these rows."""
    engine = RaftEngine(1, 1, (1,), FIRST, empty=True)
    for row in rows:
        engine.recover([raft.CODEC.decode(encoded) for encoded in msgpack.unpackb(row, use_list=False)])
    return digest(_Walk(engine, 0.0, names).of(engine))
