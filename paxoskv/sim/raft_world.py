"""States of the log engine's exhaustive search, watched by the five safety properties of the paper.

Time is a choice. Between two such choices none passes, and each node's part in one is to find its timer due, or not to
have looked at it yet, as slow nodes do; so nothing but the order of events is decided by it. An entry goes in a message
of its own, so that every prefix of a log can arrive alone.
"""

import pickle
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, ClassVar, Final

from paxoskv.core import operations
from paxoskv.raft import describe
from paxoskv.raft.context import Flow, Timing
from paxoskv.raft.engine import RaftEngine
from paxoskv.sim import raft_canonical
from paxoskv.sim.properties import Properties
from paxoskv.sim.world import FIRST, SETTLE_TICKS, Bounds, Ignored, Step, World
from paxoskv.wire import peer, raft

HEARTBEAT_S: Final = 1.0
ELECTION_S: Final = 4.0
# No disk hangs here, and nobody is thought to have paused: that is a matter of how long, and time has no length.
_TIMING: Final = Timing(heartbeat_s=HEARTBEAT_S, election_s=ELECTION_S, resend_s=ELECTION_S, disk_patience_s=1e9)
_FLOW: Final = Flow(append_bytes=1)


class RaftWorld(World):
    """One state."""

    codec: ClassVar[peer.Codec[Any]] = raft.CODEC

    def __init__(self, bounds: Bounds) -> None:
        self._properties: Properties | None = Properties()
        self._packed = b""
        super().__init__(bounds)
        BEGINNINGS[bounds.begin](self)

    @property
    def watch(self) -> Properties:
        if self._properties is None:
            self._properties = pickle.loads(self._packed)
        assert self._properties is not None
        return self._properties

    def seal(self) -> None:
        super().seal()
        if self._properties is not None:
            self._packed = pickle.dumps(self._properties, protocol=5)
            self._properties = None

    # What happens.

    def build(self, number: int) -> RaftEngine:
        nodes = tuple(self.nodes)
        engine = RaftEngine(
            number, self.nodes[number].incarnation, nodes, FIRST, timing=_TIMING, flow=_FLOW, empty=True
        )
        engine._counters = Ignored()
        engine.election.counters = Ignored()
        engine.origin.counters = Ignored()
        # From its first tick on it waits for a leader.
        engine.tick(self.now)
        return engine

    @staticmethod
    def fixed(bounds: Bounds) -> Collection[int]:
        return {node for node, _ in bounds.operations} | _LED[bounds.begin]

    def passing(self) -> Iterator[Step]:
        for number in self.nodes:
            if self.timeouts:

                def expire(after: World, number: int = number) -> None:
                    assert isinstance(after, RaftWorld)
                    after.timeouts -= 1
                    after.expire(number)

                yield Step(f"node {number}'s election time-out passes", expire)
            if self.ticks and self._engine(number).leader is not None:

                def beat(after: World, number: int = number) -> None:
                    assert isinstance(after, RaftWorld)
                    after.ticks -= 1
                    after.beat(number)

                yield Step(f"node {number}'s heartbeat is due", beat)

    def _engine(self, number: int) -> RaftEngine:
        """To look at."""
        engine = self.nodes[number].peek()
        assert isinstance(engine, RaftEngine)
        return engine

    def expire(self, number: int) -> None:
        """Nothing was heard for an election time-out, and of all nodes this one notices first."""
        self._pass(ELECTION_S, number)

    def beat(self, number: int) -> None:
        """A heartbeat is due at this node."""
        self._pass(HEARTBEAT_S, number)

    def _pass(self, seconds: float, number: int) -> None:
        self.now += seconds
        for node in self.nodes.values():
            # Nobody has paused.
            node.engine.context.advance(self.now)
        self.nodes[number].engine.tick(self.now)
        self.turn(number)

    def settle(self) -> None:
        for passed in range(SETTLE_TICKS):
            self.drain()
            if self._rests():
                return
            # In turn, so that not all stand at once for ever, which in life is up to chance.
            for number in self.nodes:
                if self._engine(number).leader is not None:
                    self.beat(number)
            self.beat(list(self.nodes)[passed % len(self.nodes)])
        raise AssertionError("somebody waits for what will not come")

    def _rests(self) -> bool:
        """There is a leader, everybody has applied its log, and no client waits."""
        engines = [self._engine(number) for number in self.nodes]
        leading = max(engines, key=lambda engine: (engine.leader is not None, engine.election.term))
        last = leading.log.last_index
        return leading.leader is not None and all(
            engine.election.term == leading.election.term
            and engine.machine.applied == engine.log.last_index == last
            and not engine.context.in_flight
            for engine in engines
        )

    def prune(self) -> None:
        raft_canonical.prune(self)

    def identity(self) -> bytes:
        return raft_canonical.identity(self)

    def form(self, number: int) -> object:
        return raft_canonical.find_form(self, number)

    def describe(self, message: Any) -> list[dict[str, Any]]:
        return describe.message(message)

    # Beginnings.

    def elect(self, number: int, voters: Iterable[int]) -> None:
        """The node stands and is elected by those. Of all that was said, only its first words as leader are left."""
        self.frames.clear()
        self.expire(number)
        reached = {number, *voters}
        before = 0
        while self._engine(number).leader is None:
            source, target, frame = self.frames.pop(0)
            before = len(self.frames)
            if {source, target} <= reached:
                self.deliver(source, target, frame)
            for each in self.nodes:
                while self.nodes[each].queued:
                    self.commit_row(each)
                    before = len(self.frames)
                    self.turn(each)
        self.frames = [frame for frame in self.frames[before:] if frame[0] == number]

    def drop_and_commit(self) -> None:
        """What is on its way to disks arrives, and nothing else."""
        for number, node in self.nodes.items():
            while node.queued:
                self.commit_row(number)
                self.turn(number)
        self.frames.clear()


def _cold(world: RaftWorld) -> None:
    """Nobody leads, and every log is empty."""
    world.drain()


def _elected(world: RaftWorld) -> None:
    """Node 1 leads in term 1, and all have the entry that opens it."""
    world.elect(1, world.nodes)
    world.drain()


def _earlier_term(world: RaftWorld) -> None:
    """Figure 3.7 of the dissertation, (c), with three nodes.

    Node 1 led in term 1 and has its second entry alone; node 3 was elected by node 2 in term 2, has another second
    entry alone, and has restarted; node 1 was elected by node 2 in term 3, which has not heard from it yet.
    """
    _elected(world)
    # Not one of the operations that clients are seen to ask.
    world.submit(1, -1, (operations.PUT, b"earlier", b"term", None))
    world.events.clear()
    world.drop_and_commit()
    world.elect(3, (2,))
    world.drop_and_commit()
    world.crash(3, 0)
    world.expire(1)
    world.expire(1)
    while world.frames:
        source, target, frame = world.frames.pop(0)
        if {source, target} == {1, 2}:
            world.deliver(source, target, frame)
    world.elect(1, (2, 3))
    world.frames = [frame for frame in world.frames if frame[1] == 2]


_LED: Final = {"cold": set[int](), "elected": {1}, "earlier-term": {1, 3}}
"""Who led before a beginning, which the properties remember for ever."""

BEGINNINGS: Final[dict[str, Callable[[RaftWorld], None]]] = {
    "cold": _cold,
    "elected": _elected,
    "earlier-term": _earlier_term,
}
