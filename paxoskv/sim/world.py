"""One state of an exhaustive search: a whole cluster, its engines, its disks, and the frames in flight.

What is special about an engine, `sim.paxos_world` and `sim.raft_world` know.
"""

import copy
import pickle
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple, cast

import msgpack

from paxoskv.core.engine import Engine
from paxoskv.core.operations import Operation, Result
from paxoskv.sim.canonical import Naming, namings
from paxoskv.sim.mode import Watch
from paxoskv.wire import framing, peer
from paxoskv.workload import Request

_CLUSTER: Final = "explored"
_FRAME_BYTES_MAX: Final = 1 << 20
_DEADLINE_S: Final = 1e6
SETTLE_TICKS: Final = 200


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is explored. `operations`: (node, request) in the order in which each node's client asks them."""

    operations: tuple[tuple[int, Request], ...]
    nodes: int = 3
    losses: int = 0
    duplicates: int = 0
    crashes: int = 0
    ticks: int = 0
    """How often time may pass: paxos: for everybody, by enough for everything that waits; raft: by a heartbeat."""
    slow_disks: bool = False
    """A commit is a step of its own. Otherwise a row is on the disk at the end of its turn."""
    states_max: int = 200_000
    mode: str = "paxos"
    timeouts: int = 0
    """Raft: how often nothing is heard of a leader for so long that one of the nodes stands for election."""
    reduced: bool = True
    """A delivery that changes nothing but that the frame is gone is not gone on from."""
    symmetric: bool = True
    """States that differ only in which is which of the nodes that no client asks are one."""
    begin: str = "elected"
    """Raft: where the search begins, see `sim.raft_world.BEGINNINGS`."""


class Ignored(dict[str, int]):
    """Counters that do not count: states that differ in them are the same."""

    def __getitem__(self, name: str) -> int:
        return 0

    def __setitem__(self, name: str, value: int) -> None:
        pass


class _First:
    """Chance without a state: always the least, always the first; of nodes, the first by their names."""

    def __init__(self, names: Naming | None = None) -> None:
        self._names = names

    def uniform(self, least: float, most: float) -> float:
        return least

    def choice(self, among: Sequence[int]) -> int:
        return among[0] if self._names is None else min(among, key=self._names.__getitem__)


FIRST: Final = cast(random.Random, _First())


class Node:
    """An engine and its disk. The engine is kept as bytes, which copies of the node share, until somebody uses it."""

    __slots__ = ("_engine", "_packed", "form", "incarnation", "queued", "rows", "seen")

    def __init__(self) -> None:
        self.incarnation = 0
        self.rows: tuple[bytes, ...] = ()
        self.queued: tuple[tuple[int, bytes], ...] = ()
        self.seen: dict[int, int] = {}
        self.form: Any = None
        """What identifies the engine's state, None when that has to be found out again."""
        self._engine: Any = None
        self._packed = b""

    @property
    def engine(self) -> Any:
        """The engine, which may change from now on."""
        self.form = None
        return self.peek()

    @engine.setter
    def engine(self, engine: Engine[Any]) -> None:
        self.form = None
        self._engine = engine

    def peek(self) -> Any:
        """The engine, to look at and not to change."""
        if self._engine is None:
            self._engine = pickle.loads(self._packed)
        return self._engine

    def seal(self) -> None:
        """It changes no more; whoever wants to go on from here takes a copy."""
        if self._engine is not None:
            self._packed = pickle.dumps(self._engine, protocol=5)
            self._engine = None

    def copy(self) -> "Node":
        """Of a sealed one."""
        node = Node()
        node.incarnation, node.rows, node.queued = self.incarnation, self.rows, self.queued
        node.seen, node.form, node._packed = self.seen.copy(), self.form, self._packed
        return node


Act = Callable[["World"], None]


class Step(NamedTuple):
    """Something that can happen."""

    text: str
    act: Act
    """Does it to a copy."""
    target: int = 0
    """The node that is reached, if all that happens is that a frame arrives."""


class World(ABC):
    """One state."""

    codec: ClassVar[peer.Codec[Any]]

    def __init__(self, bounds: Bounds) -> None:
        self.now = 1.0
        self.nodes = {number: Node() for number in range(1, bounds.nodes + 1)}
        self.frames: list[tuple[int, int, bytes]] = []
        self.next: dict[int, int] = {}
        """By node, how many of its operations were submitted."""
        self.losses = bounds.losses
        self.duplicates = bounds.duplicates
        self.crashes = bounds.crashes
        self.ticks = bounds.ticks
        self.timeouts = bounds.timeouts
        self.events: list[tuple[int, Result | None]] = []
        """(number of the operation, its result, None for its call), in order."""
        self.slow_disks = bounds.slow_disks
        everybody = range(1, bounds.nodes + 1)
        self.namings = namings(bounds.nodes, self.fixed(bounds) if bounds.symmetric else everybody)
        """What nodes may be called without a difference."""
        self.order = self.namings[0]
        """By these names nodes take their turns, and are sent to, where something happens to all in one step."""
        for number in self.nodes:
            self._start(number)
        for number in self.nodes:
            self._meet(number)

    def copy(self) -> "World":
        """Of a sealed one: what happens to it happens to it alone."""
        world = copy.copy(self)
        world.nodes = {number: node.copy() for number, node in self.nodes.items()}
        world.frames, world.next, world.events = self.frames.copy(), self.next.copy(), self.events.copy()
        return world

    def seal(self) -> None:
        """It changes no more."""
        for node in self.nodes.values():
            node.seal()

    # What an engine's kind decides.

    @staticmethod
    @abstractmethod
    def fixed(bounds: Bounds) -> Collection[int]:
        """Nodes that are not to be exchanged for others: those that clients ask, at least."""

    @abstractmethod
    def build(self, number: int) -> Engine[Any]:
        """An engine that has recovered nothing yet."""

    @abstractmethod
    def passing(self) -> Iterator[Step]:
        """The ways in which time can pass next."""

    @abstractmethod
    def settle(self) -> None:
        """Everything arrives, is committed, and is tried again, until nobody waits for anything.

        Raises AssertionError when somebody waits for what will not come.
        """

    @abstractmethod
    def prune(self) -> None:
        """Take frames out that nobody takes any more."""

    @abstractmethod
    def identity(self) -> bytes:
        """A digest of the state: equal for states that differ in nothing that matters."""

    @abstractmethod
    def form(self, number: int) -> object:
        """What identifies the state of a node's engine now: equal for those that behave the same from now on."""

    def is_but_for_a_frame(self, before: "World", target: int) -> bool:
        """Since `before` a frame was delivered to the target, and nothing came of it."""
        node, then = self.nodes[target], before.nodes[target]
        return (
            len(self.frames) == len(before.frames) - 1
            and len(self.events) == len(before.events)
            and node.rows is then.rows
            and node.queued is then.queued
            and node.seen == then.seen
            and self.form(target) == before.form(target)
        )

    @abstractmethod
    def describe(self, message: Any) -> list[dict[str, Any]]:
        """What a message says."""

    @property
    def watch(self) -> Watch | None:
        """Who holds the properties of the whole cluster against all that happens."""
        return None

    # What happens.

    def _start(self, number: int) -> None:
        node = self.nodes[number]
        node.incarnation += 1
        engine = self.build(number)
        for row in node.rows:
            decode = self.codec.decode
            assert not engine.recover([decode(encoded) for encoded in msgpack.unpackb(row, use_list=False)])
        node.seen = {}
        node.engine = engine
        if self.watch is not None:
            self.watch.started(number, engine)

    def _meet(self, number: int) -> None:
        """The node and all others hear of each other."""
        node = self.nodes[number]
        for other, peer_node in self.nodes.items():
            if other != number:
                self.introduce(number, other, peer_node.incarnation)
                self.introduce(other, number, node.incarnation)
                self.turn(other)
        self.turn(number)

    def introduce(self, number: int, other: int, incarnation: int) -> None:
        """The node hears of the other's incarnation."""
        node = self.nodes[number]
        if node.seen.get(other) != incarnation:
            node.seen[other] = incarnation
            node.engine.peer_up(other, incarnation, self.now)

    def turn(self, number: int) -> None:
        """Carry out what the engine has decided."""
        node = self.nodes[number]
        engine = node.engine
        while True:
            effects = engine.take_effects()
            if self.watch is not None:
                self.watch.turn(number, engine, effects)
                if effects.journal:
                    self.watch.journaled(number, effects.sequence, effects.journal)
            for target in sorted(effects.sends, key=self.order.__getitem__):
                messages = effects.sends[target]
                header = peer.Header(_CLUSTER, 1, number, node.incarnation, node.seen.get(target, 0))
                encoded = [self.codec.encode(message) for message in messages]
                self.frames += [
                    (number, target, frame) for frame in peer.pack_frames(header, encoded, _FRAME_BYTES_MAX)
                ]
            for operation, result in effects.answers:
                reply = operation.reply
                assert isinstance(reply, int)
                self.events.append((reply, result))
            if not effects.journal:
                return
            row: bytes = msgpack.packb([self.codec.encode(message) for message in effects.journal])
            node.queued = (*node.queued, (effects.sequence, row))
            if self.slow_disks:
                return
            self.commit_row(number)

    def commit_row(self, number: int) -> None:
        """The node's disk has its oldest row."""
        node = self.nodes[number]
        (sequence, row), *rest = node.queued
        node.queued = tuple(rest)
        node.rows = (*node.rows, row)
        if self.watch is not None:
            self.watch.committed(number, sequence)
        node.engine.committed(sequence, self.now)

    def deliver(self, source: int, target: int, frame: bytes) -> None:
        """A frame arrives."""
        node = self.nodes[target]
        header, encoded = peer.parse_frame(framing.unpack(frame[framing.LENGTH_BYTES :]))
        if header.recipient_incarnation != node.incarnation or node.seen.get(source, 0) > header.incarnation:
            return
        self.introduce(target, source, header.incarnation)
        node.engine.receive(source, [self.codec.decode(message) for message in encoded], self.now)
        self.turn(target)

    def submit(self, node: int, number: int, request: Request) -> None:
        """A client of the node asks."""
        kind, key, argument, condition = request
        self.events.append((number, None))
        operation = Operation(kind, key, argument, condition, _DEADLINE_S, reply=number)
        self.nodes[node].engine.submit([operation], self.now)
        self.turn(node)

    def crash(self, number: int, keeping: int) -> None:
        """The process dies, so many of its uncommitted rows get to the disk, and it starts again."""
        node = self.nodes[number]
        if keeping:
            node.rows += tuple([row for _, row in node.queued[:keeping]])
            if self.watch is not None:
                self.watch.committed(number, node.queued[keeping - 1][0])
        node.queued = ()
        for other in self.nodes.values():
            if other is not node:
                other.engine.peer_lost(number, self.now)
        self._start(number)
        self._meet(number)

    def call(self, names: Naming) -> None:
        """From now on all that happens to several nodes at once happens in the order of these names."""
        self.order = names
        self.frames.sort(key=lambda frame: (names[frame[0]], names[frame[1]]))
        self.nodes = {number: self.nodes[number] for number in sorted(self.nodes, key=names.__getitem__)}
        for node in self.nodes.values():
            node.engine.context.rng = cast(random.Random, _First(names))

    def drain(self) -> None:
        """Everything that is on its way arrives, to the disks as well, until nothing is."""
        busy = True
        while busy:
            busy = False
            while self.frames:
                self.deliver(*self.frames.pop(0))
                busy = True
            for number, node in self.nodes.items():
                while node.queued:
                    self.commit_row(number)
                    self.turn(number)
                    busy = True
