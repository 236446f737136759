"""Exhaustive search: every interleaving of a few operations, for small bounds, over the engine that serves.

A state is a whole cluster: its engines, its disks, the frames in flight, and what clients were told. A step changes one
engine, mostly, and the others are shared; what identifies a state is in `sim.canonical`. Breadth first, so the first
violation found is a shortest one.
"""

import copy
import pickle
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import msgpack

from paxoskv import check
from paxoskv.check.history import History
from paxoskv.check.history import Operation as Checked
from paxoskv.core import errors, operations
from paxoskv.core.operations import Operation, Result
from paxoskv.core.placement import EveryNode
from paxoskv.core.text import shown
from paxoskv.paxos import describe
from paxoskv.paxos.engine import PaxosEngine
from paxoskv.sim.canonical import Form, identity, prune
from paxoskv.wire import framing, paxos, peer
from paxoskv.workload import Request

_CLUSTER: Final = "explored"
_FRAME_BYTES_MAX: Final = 1 << 20
_TICK_S: Final = 0.25
_SETTLE_TICKS: Final = 200
_DEADLINE_S: Final = 1e6
_OK_MAX: Final = operations.ERROR_STATUS_MIN
_OUTCOMES: Final = {
    operations.CONDITION_FAILED: "condition-failed",
    operations.NOT_AN_INTEGER: "not-an-integer",
    operations.INTEGER_OVERFLOW: "integer-overflow",
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is explored. `operations`: (node, request) in the order in which each node's client asks them."""

    operations: tuple[tuple[int, Request], ...]
    nodes: int = 3
    losses: int = 0
    duplicates: int = 0
    crashes: int = 0
    ticks: int = 0
    """How often time may pass, for everybody, by enough for everything that waits."""
    slow_disks: bool = False
    """A commit is a step of its own. Otherwise a row is on the disk at the end of its turn."""
    states_max: int = 200_000


@dataclass(frozen=True, slots=True)
class Exploration:
    """What came of it."""

    states: int
    transitions: int
    depth: int
    complete: bool
    """Every state within the bounds was seen."""
    violation: str
    trace: list[str]
    """The steps that lead to the violation."""
    seconds: float


class _Ignored(dict[str, int]):
    """Counters that do not count: states that differ in them are the same."""

    def __getitem__(self, name: str) -> int:
        return 0

    def __setitem__(self, name: str, value: int) -> None:
        pass


class _First:
    """Chance without a state: always the least, always the first."""

    def uniform(self, least: float, most: float) -> float:
        return least

    def choice(self, among: Sequence[Any]) -> Any:
        return among[0]


class Node:
    """An engine and its disk. The engine is kept as bytes, which copies of the node share, until somebody uses it."""

    __slots__ = ("_engine", "_packed", "form", "incarnation", "queued", "rows", "seen")

    def __init__(self) -> None:
        self.incarnation = 0
        self.rows: tuple[bytes, ...] = ()
        self.queued: tuple[tuple[int, bytes], ...] = ()
        self.seen: dict[int, int] = {}
        self.form: Form | None = None
        """What identifies the engine's state, None when that has to be found out again."""
        self._engine: PaxosEngine | None = None
        self._packed = b""

    @property
    def engine(self) -> PaxosEngine:
        """The engine, which may change from now on."""
        self.form = None
        if self._engine is None:
            self._engine = pickle.loads(self._packed)
        return self._engine

    @engine.setter
    def engine(self, engine: PaxosEngine) -> None:
        self.form = None
        self._engine = engine

    def find_form(self, number: int) -> Form:
        """Of the engine as it is now."""
        if self.form is None:
            assert self._engine is not None
            self.form = Form(number, self._engine)
        return self.form

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


class World:
    """One state."""

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
        self.events: list[tuple[int, Result | None]] = []
        """(number of the operation, its result, None for its call), in order."""
        self.slow_disks = bounds.slow_disks
        for number in self.nodes:
            self.nodes[number].engine = self._new_engine(number)
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

    # What happens.

    def _new_engine(self, number: int) -> PaxosEngine:
        node = self.nodes[number]
        node.incarnation += 1
        placement = EveryNode(tuple(self.nodes))
        engine = PaxosEngine(number, node.incarnation, placement, cast(random.Random, _First()), empty=True)
        engine.counters = _Ignored()
        engine.proposer.counters = _Ignored()
        engine.reader.counters = _Ignored()
        engine.repair.counters = _Ignored()
        for row in node.rows:
            assert not engine.recover([paxos.CODEC.decode(encoded) for encoded in msgpack.unpackb(row, use_list=False)])
        node.seen = {}
        return engine

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
        node = self.nodes[number]
        if node.seen.get(other) != incarnation:
            node.seen[other] = incarnation
            node.engine.peer_up(other, incarnation, self.now)

    def turn(self, number: int) -> None:
        node = self.nodes[number]
        engine = node.engine
        while True:
            effects = engine.take_effects()
            for target, messages in effects.sends.items():
                header = peer.Header(_CLUSTER, 1, number, node.incarnation, node.seen.get(target, 0))
                encoded = [paxos.CODEC.encode(message) for message in messages]
                self.frames += [
                    (number, target, frame) for frame in peer.pack_frames(header, encoded, _FRAME_BYTES_MAX)
                ]
            for operation, result in effects.answers:
                reply = operation.reply
                assert isinstance(reply, int)
                self.events.append((reply, result))
            if not effects.journal:
                return
            row: bytes = msgpack.packb([paxos.CODEC.encode(message) for message in effects.journal])
            node.queued = (*node.queued, (effects.sequence, row))
            if self.slow_disks:
                return
            self.commit_row(node)

    def commit_row(self, node: Node) -> None:
        (sequence, row), *rest = node.queued
        node.queued = tuple(rest)
        node.rows = (*node.rows, row)
        node.engine.committed(sequence, self.now)

    def deliver(self, source: int, target: int, frame: bytes) -> None:
        node = self.nodes[target]
        header, encoded = peer.parse_frame(framing.unpack(frame[framing.LENGTH_BYTES :]))
        if header.recipient_incarnation != node.incarnation or node.seen.get(source, 0) > header.incarnation:
            return
        self.introduce(target, source, header.incarnation)
        node.engine.receive(source, [paxos.CODEC.decode(message) for message in encoded], self.now)
        self.turn(target)

    def submit(self, node: int, number: int, request: Request) -> None:
        kind, key, argument, condition = request
        self.events.append((number, None))
        operation = Operation(kind, key, argument, condition, self.now + _DEADLINE_S, reply=number)
        self.nodes[node].engine.submit([operation], self.now)
        self.turn(node)

    def crash(self, number: int, keeping: int) -> None:
        node = self.nodes[number]
        node.rows += tuple([row for _, row in node.queued[:keeping]])
        node.queued = ()
        for other in self.nodes.values():
            if other is not node:
                other.engine.peer_lost(number, self.now)
        node.engine = self._new_engine(number)
        self._meet(number)

    def tick(self) -> None:
        self.now += _TICK_S
        for number, node in self.nodes.items():
            node.engine.tick(self.now)
            self.turn(number)

    def settle(self) -> None:
        """Everything arrives, is committed, and is tried again, until nobody waits for anything."""
        for _ in range(_SETTLE_TICKS):
            busy = True
            while busy:
                busy = False
                while self.frames:
                    self.deliver(*self.frames.pop(0))
                    busy = True
                for number, node in self.nodes.items():
                    while node.queued:
                        self.commit_row(node)
                        self.turn(number)
                        busy = True
            if all(node.engine.deadline() is None for node in self.nodes.values()):
                return
            self.tick()
        raise AssertionError("somebody waits for what will not come")


Step = tuple[str, Callable[[World], None]]


def steps(world: World, bounds: Bounds) -> Iterator[Step]:
    """Everything that can happen next."""
    scripts: dict[int, list[tuple[int, Request]]] = {}
    for number, (node, request) in enumerate(bounds.operations):
        scripts.setdefault(node, []).append((number, request))
    for node, script in scripts.items():
        position = world.next.get(node, 0)
        if position < len(script):
            number, request = script[position]

            def ask(after: World, node: int = node, number: int = number, request: Request = request) -> None:
                after.next[node] = after.next.get(node, 0) + 1
                after.submit(node, number, request)

            yield f"a client asks node {node}: {_show(request)}", ask
    for index, (source, target, frame) in enumerate(world.frames):
        if frame in [other for _, _, other in world.frames[:index]]:
            continue  # The same bytes: its copy was tried.
        text = _describe(source, target, frame)

        def take(after: World, index: int = index) -> None:
            after.deliver(*after.frames.pop(index))

        yield text, take
        if world.losses:

            def lose(after: World, index: int = index) -> None:
                after.losses -= 1
                after.frames.pop(index)

            yield f"{text}: lost", lose
        if world.duplicates:

            def double(after: World, index: int = index) -> None:
                after.duplicates -= 1
                after.deliver(*after.frames[index])

            yield f"{text}, and once more later", double
    for number, there in world.nodes.items():
        if there.queued:

            def commit(after: World, number: int = number) -> None:
                after.commit_row(after.nodes[number])
                after.turn(number)

            yield f"node {number}'s disk commits", commit
        if world.crashes:
            for keeping in range(len(there.queued) + 1):

                def crash(after: World, number: int = number, keeping: int = keeping) -> None:
                    after.crashes -= 1
                    after.crash(number, keeping)

                yield f"node {number} crashes and starts again", crash
    if world.ticks:

        def tick(after: World) -> None:
            after.ticks -= 1
            after.tick()

        yield "time passes", tick


def explore(bounds: Bounds, progress: Callable[[int, int], object] = lambda states, depth: None) -> Exploration:
    """Visit every state within the bounds, or stop at the first violation. `progress` hears of each new depth."""
    began = time.perf_counter()
    world = World(bounds)
    begin = identity(world)
    parents: dict[bytes, tuple[bytes, str]] = {begin: (b"", "")}
    world.seal()
    layer = [(begin, world)]
    depth = transitions = 0

    def result(violation: str, last: bytes, step: str, complete: bool) -> Exploration:
        trace = [step] if step else []
        while last:
            last, step = parents[last]
            if step:
                trace.append(step)
        return Exploration(
            len(parents), transitions, depth, complete, violation, trace[::-1], time.perf_counter() - began
        )

    while layer:
        progress(len(parents), depth)
        following: list[tuple[bytes, World]] = []
        for here, world in layer:
            quiet = True
            for text, act in steps(world, bounds):
                quiet = False
                after = world.copy()
                told = len(after.events)
                transitions += 1
                try:
                    act(after)
                except AssertionError as error:
                    return result(f"assertion: {error}", here, text, False)
                if any(answer is not None for _, answer in after.events[told:]) and (
                    illegal := _judge(after.events, bounds)
                ):
                    return result(illegal, here, text, False)
                prune(after)
                found = identity(after)
                if found not in parents:
                    parents[found] = (here, text)
                    after.seal()
                    following.append((found, after))
            if (quiet or not world.frames) and (illegal := _end(world.copy(), bounds)):
                return result(illegal, here, "everything arrives, and every node is asked", False)
            if len(parents) >= bounds.states_max:
                return result("", b"", "", False)
        layer = following
        depth += bool(following)
    return result("", b"", "", True)


def _end(world: World, bounds: Bounds) -> str:
    """From here, everything comes to rest, and every node reads every key: is that legal, too?"""
    try:
        world.settle()
        number = len(bounds.operations)
        for key in sorted({request[1] for _, request in bounds.operations}):
            for node in world.nodes:
                world.submit(node, number, (operations.GET, key, None, None))
                world.settle()
                number += 1
    except AssertionError as error:
        return f"assertion: {error}"
    return _judge(world.events, bounds)


def _judge(events: list[tuple[int, Result | None]], bounds: Bounds) -> str:
    """What is impossible about what clients were told, or nothing."""
    calls: dict[int, int] = {}
    returns: dict[int, tuple[int, Result]] = {}
    for moment, (number, result) in enumerate(events):
        if result is None:
            calls[number] = moment
        else:
            assert number not in returns, "an operation is answered once"
            returns[number] = (moment, result)
    history = History()
    keys = sorted({request[1] for _, request in bounds.operations})
    for number, start in calls.items():
        if number < len(bounds.operations):
            kind, key, argument, condition = bounds.operations[number][1]
        else:
            kind, argument, condition = operations.GET, None, None
            key = keys[(number - len(bounds.operations)) // bounds.nodes]
        finish, result = returns.get(number, (None, None))
        outcome, value, version = "unknown", None, None
        if result is not None:
            if result.status < _OK_MAX:
                outcome = _OUTCOMES.get(result.status, "ok")
                value, version = result.value, result.version
                if kind == operations.DELETE and outcome == "ok":
                    value = result.status == operations.OK
            elif errors.BY_STATUS[result.status].definite:
                outcome = "failed"
        history.add(
            Checked(
                number + 1,
                number + 1,
                operations.KIND_NAMES[kind],
                key,
                float(start),
                None if finish is None or outcome == "unknown" else float(finish),
                outcome,
                argument,
                condition,
                value,
                version,
            )
        )
    violations = check.check(history).violations
    return violations[0].sentence if violations else ""


def _describe(source: int, target: int, frame: bytes) -> str:
    _, encoded = peer.parse_frame(framing.unpack(frame[framing.LENGTH_BYTES :]))
    said = [one for message in encoded for one in describe.message(paxos.CODEC.decode(message))]
    words = [
        " ".join([one["kind"], *[f"{value}" for name, value in one.items() if name not in ("kind", "batch", "index")]])
        for one in said
    ]
    return f"{source} to {target}: {'; '.join(words)}"


def _show(request: Request) -> str:
    kind, key, argument, condition = request
    words = [operations.KIND_NAMES[kind], f"{shown(key)}"]
    for value, before in ((argument, ""), (condition, "if ")):
        if value is not None:
            words.append(f"{before}{shown(value)}")
    return " ".join(words)
