"""States of the leaderless engine's exhaustive search."""

from collections.abc import Collection, Iterator
from typing import Any, ClassVar, Final

from paxoskv.core import operations
from paxoskv.core.placement import EveryNode
from paxoskv.paxos import describe
from paxoskv.paxos.engine import PaxosEngine
from paxoskv.sim import paxos_canonical
from paxoskv.sim.world import FIRST, SETTLE_TICKS, Bounds, Ignored, Step, World
from paxoskv.wire import paxos, peer

_TICK_S: Final = 0.25


class PaxosWorld(World):
    """One state."""

    codec: ClassVar[peer.Codec[Any]] = paxos.CODEC

    def build(self, number: int) -> PaxosEngine:
        placement = EveryNode(tuple(self.nodes))
        engine = PaxosEngine(number, self.nodes[number].incarnation, placement, FIRST, empty=True)
        engine.counters = Ignored()
        engine.proposer.counters = Ignored()
        engine.reader.counters = Ignored()
        engine.repair.counters = Ignored()
        return engine

    @staticmethod
    def fixed(bounds: Bounds) -> Collection[int]:
        if any(request[0] == operations.GET for _, request in bounds.operations):
            # A reader chooses one of several nodes to fetch a value from, and on its way chance always takes the first.
            return range(1, bounds.nodes + 1)
        return {node for node, _ in bounds.operations}

    def passing(self) -> Iterator[Step]:
        if self.ticks:

            def tick(after: World) -> None:
                assert isinstance(after, PaxosWorld)
                after.ticks -= 1
                after.tick()

            yield Step("time passes", tick)

    def tick(self) -> None:
        """Time passes, for everybody, by enough for everything that waits."""
        self.now += _TICK_S
        for number, node in self.nodes.items():
            node.engine.tick(self.now)
            self.turn(number)

    def settle(self) -> None:
        for _ in range(SETTLE_TICKS):
            self.drain()
            if all(node.engine.deadline() is None for node in self.nodes.values()):
                return
            self.tick()
        raise AssertionError("somebody waits for what will not come")

    def prune(self) -> None:
        paxos_canonical.prune(self)

    def identity(self) -> bytes:
        return paxos_canonical.identity(self)

    def form(self, number: int) -> object:
        return paxos_canonical.find_form(self, number).told

    def describe(self, message: Any) -> list[dict[str, Any]]:
        return describe.message(message)
