"""A cluster in virtual time: the very engines, with the time that their turns take.

Nodes are what `server.node` makes of an engine: whatever has arrived is one turn's, a turn holds up the next one, and
its frames leave when it ends. The disk commits one row after the other, and what is journaled meanwhile together.
Clients are closed loops in a load generator that works in turns, too. All of them ask for processors: those of the
one machine, or one for each node. What is not here: garbage collection, caches of the processor, checkpoints, loss.
"""

import functools
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

from paxoskv.core import operations
from paxoskv.core.engine import Engine
from paxoskv.core.operations import Operation
from paxoskv.core.placement import EveryNode, ReplicaSet, home_index
from paxoskv.paxos.engine import PaxosEngine
from paxoskv.raft.engine import RaftEngine
from paxoskv.sim.timeline import Timeline
from paxoskv.wire import paxos, peer, raft

_VALUE: Final = bytes(64)
_TIMEOUT_S: Final = 1e6
_CODECS: Final[dict[str, peer.Codec[Any]]] = {"leaderless": paxos.CODEC, "raft": raft.CODEC}
MODES: Final = tuple(_CODECS)


@dataclass(frozen=True, slots=True)
class ServiceTimes:
    """Microseconds of processor time, but for the last."""

    turn: float
    """A turn of an event loop, whatever it does."""
    frame: float
    """A frame sent or received, by a node or by the load generator."""
    operation: float
    """A client's operation, on the node that is asked: parsed, proposed, counted, answered."""
    kilobyte: float
    """1,000 bytes of peers' messages, where they arrive: parsed, voted on, journaled."""
    commit: float
    """One commit of the disk's thread, beside the waiting."""
    client: float
    """An operation in the load generator."""
    sync: float
    """What a commit waits for the disk."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A cluster and its load."""

    mode: str
    nodes: int
    clients: int
    copies: int = 0
    """Of each key in leaderless mode, and of the log in the other; 0: one on every node."""
    processors: int = 0
    """That nodes and the one load generator share; 0: each node has its own, and clients take none of anybody."""
    one_way_s: float = 0.0
    """Between two machines."""
    keys: int = 10_000


@dataclass(slots=True)
class Counts:
    """What happened while it was measured."""

    seconds: float = 0.0
    operations: int = 0
    turns: int = 0
    frames: int = 0
    asked: int = 0
    """Operations that nodes took."""
    peer_bytes: int = 0
    commits: int = 0

    @property
    def ops_per_s(self) -> float:
        return self.operations / self.seconds

    def per_operation(self) -> tuple[float, ...]:
        """In the order of `ServiceTimes`: turns, frames, operations, kilobytes and commits of the nodes."""
        parts = (self.turns, self.frames, self.asked, self.peer_bytes / 1000, self.commits)
        return tuple(part / self.operations for part in parts)


class Ring:
    """A placement: each key on so many nodes that follow each other, the first one chosen by its hash."""

    def __init__(self, nodes: int, copies: int) -> None:
        self._sets = [
            ReplicaSet(tuple(sorted((first + step) % nodes + 1 for step in range(copies))), copies // 2 + 1)
            for first in range(nodes)
        ]

    def replicas(self, key: bytes) -> ReplicaSet:
        return self._sets[home_index(key, len(self._sets))]

    def home(self, key: bytes) -> int:
        return home_index(key, len(self._sets)) + 1


class _Processors:
    """Jobs take a processor in the order in which they ask; None: nobody ever waits for one."""

    def __init__(self, timeline: Timeline, count: int | None) -> None:
        self._timeline = timeline
        self._free = count
        self._waiting: deque[tuple[Callable[[], float], Callable[[], None]]] = deque()

    def run(self, work: Callable[[], float], then: Callable[[], None]) -> None:
        """`work` happens when a processor is free, and says how long that takes; `then` is when it has ended."""
        if self._free == 0:
            self._waiting.append((work, then))
            return
        if self._free is not None:
            self._free -= 1

        def ended() -> None:
            if self._free is not None:
                self._free += 1
                if self._waiting:
                    self.run(*self._waiting.popleft())
            then()

        self._timeline.after(work(), ended)


@dataclass(slots=True)
class _Node:
    """One engine, what has come in for it, and its disk."""

    engine: Engine[Any]
    operations: list[Operation] = field(default_factory=list)
    received: list[tuple[int, list[Any], int]] = field(default_factory=list)
    client_frames: int = 0
    committed: int = 0
    tick_due: bool = False
    busy: bool = False
    tick_at: float = float("inf")
    journaled: int = 0
    """The last row that waits for a commit."""
    committing: bool = False

    @property
    def has_work(self) -> bool:
        return bool(self.operations or self.received or self.committed or self.tick_due)


class Model:
    """One setting, from its start."""

    def __init__(self, setting: Setting, times: ServiceTimes, seed: int = 1) -> None:
        self.setting = setting
        self.times = times
        self.timeline = Timeline()
        self.counts = Counts()
        """Of all nodes together."""
        self.leading = Counts()
        """Of the node that leads, where one does; its operations and seconds are those of all."""
        self._rng = random.Random(seed)
        self._shared = _Processors(self.timeline, setting.processors or None)
        self._codec = _CODECS[setting.mode]
        voters = setting.nodes if setting.mode == "leaderless" else setting.copies or setting.nodes
        self._nodes = {number: _Node(self._engine(number, voters)) for number in range(1, voters + 1)}
        self._keys = [b"bench/%d" % number for number in range(setting.keys)]
        self._untouched = iter(self._keys)
        self._wanting = 0
        """Clients that were answered, and have not asked again."""
        self._answered: list[int] = []
        """Frames of answers that the load generator has not read: how many operations each holds."""
        self._generating = False

    def _engine(self, number: int, voters: int) -> Engine[Any]:
        rng, every = random.Random(f"{number}"), tuple(range(1, voters + 1))
        if self.setting.mode == "raft":
            return RaftEngine(number, 1, every, rng, empty=True)
        copies = self.setting.copies
        return PaxosEngine(number, 1, Ring(voters, copies) if copies else EveryNode(every), rng, empty=True)

    def measure(self, operations_min: int) -> Counts:
        """Write every key once, let the clients fill the queues, and count so many operations."""
        for number, node in self._nodes.items():
            node.engine.recover([])
            for other in self._nodes:
                if other != number:
                    node.engine.peer_up(other, 1, self.timeline.now)
            node.tick_due = True
            self._schedule(number)
        if self.setting.mode == "raft":
            self.timeline.run(math.inf, lambda: self._nodes[1].engine.writes_to != 0)
        self._wanting = self.setting.clients
        self._generate()
        self._run(self.setting.keys + 2 * self.setting.clients)
        self.counts, self.leading = Counts(), Counts()
        began = self.timeline.now
        self._run(operations_min)
        self.counts.seconds = self.leading.seconds = self.timeline.now - began
        self.leading.operations = self.counts.operations
        return self.counts

    def _run(self, operations: int) -> None:
        self.timeline.run(math.inf, lambda: self.counts.operations >= operations)

    # Nodes.

    def _schedule(self, number: int) -> None:
        node = self._nodes[number]
        if not node.busy and node.has_work:
            node.busy = True
            effects: list[Any] = []
            self._shared.run(lambda: self._turn(number, effects), lambda: self._ended(number, effects[0]))

    def _turn(self, number: int, out: list[Any]) -> float:
        """One turn of `server.node`; how long it takes."""
        node = self._nodes[number]
        engine, now, times = node.engine, self.timeline.now, self.times
        frames, arrived, asked = node.client_frames, 0, len(node.operations)
        node.client_frames = 0
        if node.committed:
            engine.committed(node.committed, now)
            node.committed = 0
        received, node.received = node.received, []
        for sender, messages, size in received:
            engine.receive(sender, messages, now)
            frames += 1
            arrived += size
        if node.operations:
            submitted, node.operations = node.operations, []
            engine.submit(submitted, now)
        if node.tick_due:
            node.tick_due = False
            engine.tick(now)
        effects = engine.take_effects()
        frames += len(effects.sends) + bool(effects.answers)
        out.append(effects)
        for counts in self._counting(number):
            counts.turns += 1
            counts.frames += frames
            counts.asked += asked
            counts.peer_bytes += arrived
        used = times.turn + times.frame * frames + times.operation * asked + times.kilobyte * arrived / 1000
        return used * 1e-6

    def _counting(self, number: int) -> list[Counts]:
        """Where what a node does is counted."""
        return [self.counts, self.leading] if self._nodes[number].engine.writes_to == number else [self.counts]

    def _ended(self, number: int, effects: Any) -> None:
        node = self._nodes[number]
        node.busy = False
        sizes: dict[int, int] = {}
        for target, messages in effects.sends.items():
            size = sum(self._size(message, sizes) for message in messages)
            self.timeline.after(
                self.setting.one_way_s, functools.partial(self._receive, target, number, messages, size)
            )
        if effects.journal:
            node.journaled = effects.sequence
            self._commit(number)
        if effects.answers:
            self.counts.operations += len(effects.answers)
            self.timeline.after(self.setting.one_way_s, functools.partial(self._answer, len(effects.answers)))
        deadline = node.engine.deadline()
        if deadline is not None and (node.tick_at <= self.timeline.now or deadline < node.tick_at):
            node.tick_at = max(deadline, self.timeline.now)
            self.timeline.after(node.tick_at - self.timeline.now, functools.partial(self._tick, number, node.tick_at))
        self._schedule(number)

    def _size(self, message: Any, known: dict[int, int]) -> int:
        """The same message for several peers is packed once."""
        size = known.get(id(message))
        if size is None:
            size = known[id(message)] = len(msgpack.packb(self._codec.encode(message)))
        return size

    def _receive(self, target: int, sender: int, messages: list[Any], size: int) -> None:
        self._nodes[target].received.append((sender, messages, size))
        self._schedule(target)

    def _tick(self, number: int, at: float) -> None:
        node = self._nodes[number]
        if node.tick_at == at:
            node.tick_due = True
            self._schedule(number)

    # Disks.

    def _commit(self, number: int) -> None:
        node = self._nodes[number]
        if node.committing or not node.journaled:
            return
        node.committing = True
        rows: list[int] = []

        def work() -> float:
            rows.append(node.journaled)
            node.journaled = 0
            for counts in self._counting(number):
                counts.commits += 1
            return self.times.commit * 1e-6

        def written() -> None:
            node.committing = False
            node.committed = rows[0]
            self._schedule(number)
            self._commit(number)

        self._shared.run(work, lambda: self.timeline.after(self.times.sync * 1e-6, written))

    # Clients.

    def _answer(self, count: int) -> None:
        self._answered.append(count)
        self._generate()

    def _generate(self) -> None:
        if self._generating:
            return
        self._generating = True
        batches: dict[int, list[Operation]] = {}

        def work() -> float:
            frames = len(self._answered)
            count = sum(self._answered) + self._wanting
            self._answered, self._wanting = [], 0
            for _ in range(count):
                key = next(self._untouched, None) or self._rng.choice(self._keys)
                operation = Operation(operations.PUT, key, _VALUE, deadline=_TIMEOUT_S)
                batches.setdefault(self._home(key), []).append(operation)
            if not self.setting.processors:
                return 0.0
            times = self.times
            return (times.turn + times.frame * (frames + len(batches)) + times.client * count) * 1e-6

        def ended() -> None:
            self._generating = False
            for number, batch in batches.items():
                self.timeline.after(self.setting.one_way_s, functools.partial(self._ask, number, batch))
            if self._answered:
                self._generate()

        self._shared.run(work, ended)

    def _home(self, key: bytes) -> int:
        if self.setting.mode == "raft":
            return self._nodes[1].engine.writes_to or 1
        return home_index(key, len(self._nodes)) + 1

    def _ask(self, number: int, batch: list[Operation]) -> None:
        node = self._nodes[number]
        node.operations.extend(batch)
        node.client_frames += 1
        self._schedule(number)


def measure(setting: Setting, times: ServiceTimes, operations_min: int) -> tuple[Counts, Counts]:
    """A cluster of its own for it: what all nodes did, and what the leader did of it, where there is one."""
    run = Model(setting, times)
    return run.measure(operations_min), run.leading
