"""What distinguishes one explored state of the log engine from another.

Times count from now on, and what is longer ago than any time-out is alike; so are all turns that are on disk. The past
that the properties are held against is a part of the state, or a violation that takes two visits to one state of the
engines, with different pasts, would be missed.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgpack

from paxoskv.raft import messages
from paxoskv.raft.engine import RaftEngine
from paxoskv.raft.entry import Batch, Entry
from paxoskv.sim.canonical import Walk, attribute_names, digest, history
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
_HELD: Final = frozenset(("_appended", "_stored"))


class _Walk(Walk):
    """Through a log engine."""

    def __init__(self, engine: RaftEngine, now: float) -> None:
        super().__init__()
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
        return [self._field(name, getattr(value, name)) for name in _fields(kind, value)]

    def mapping(self, value: dict[Any, Any]) -> Any:
        return tuple([(key, self.of(item)) for key, item in sorted(value.items())])

    def _field(self, name: str, value: Any) -> Any:
        if name in _TIMES:
            return self._time(value)
        if name in _TURNS:
            return self._turn(value)
        if name in _HELD:
            return tuple([(self._turn(sequence), *map(self.of, rest)) for sequence, *rest in value])
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


def find_form(world: "RaftWorld", number: int) -> bytes:
    """Of a node's engine as it is now."""
    node = world.nodes[number]
    if node.form is None or node.form[0] != world.now:
        engine = node.peek()
        node.form = world.now, digest(_Walk(engine, world.now).of(engine))
    form = node.form[1]
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
    header, encoded = peer.parse_frame(framing.unpack(frame[framing.LENGTH_BYTES :]))
    said = [raft.CODEC.decode(message) for message in encoded]
    bounded = all(isinstance(message, _OF_ONE_TERM) for message in said)
    return header.incarnation, header.recipient_incarnation, max(message.term for message in said) if bounded else None


def identity(world: "RaftWorld") -> bytes:
    """A digest of the state: equal for states that differ in nothing that matters."""
    nodes = []
    for number, node in sorted(world.nodes.items()):
        nodes.append(
            (
                node.incarnation,
                tuple(sorted(node.seen.items())),
                _recovered(node.rows) if world.crashes else b"",
                tuple([_recovered((row,)) for _, row in node.queued]),
                find_form(world, number),
            )
        )
    rest = (world.losses, world.duplicates, world.crashes, world.ticks, world.timeouts, sorted(world.next.items()))
    return digest((rest, history(world.events), nodes, sorted(world.frames), _known(world.watch)))


def _known(properties: Properties) -> Any:
    """The past, as far as anything is still held against it.

    Of what was journaled, an engine and its disk tell; how long a leader's log was, its log tells.
    """
    nodes = []
    for number, node in sorted(properties._nodes.items()):
        disk = node.disk
        led = None if node.led is None else node.led[0]
        nodes.append((number, disk.base, disk.term, disk.vote, disk._terms, led, node.committed, node.applied))
    return (
        nodes,
        [(term, sorted(votes.items())) for term, votes in sorted(properties._votes.items())],
        [(trial, sorted(voters)) for trial, voters in sorted(properties._trials.items())],
        sorted(properties._leaders.items()),
        [(place, entry[:2]) for place, entry in sorted(properties._entries.items())],
        sorted(properties._chosen.items()),
        sorted(properties._states.items()),
    )


@lru_cache(maxsize=100_000)
def _recovered(rows: tuple[bytes, ...]) -> bytes:
    """What an engine finds that starts on these rows."""
    engine = RaftEngine(1, 1, (1,), FIRST, empty=True)
    for row in rows:
        engine.recover([raft.CODEC.decode(encoded) for encoded in msgpack.unpackb(row, use_list=False)])
    return digest(_Walk(engine, 0.0).of(engine))
