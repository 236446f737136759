"""What the leaderless engine costs without a network and without a disk.

Three engines in one process take turns as nodes do: what came in, then what they make of it. Whatever is journaled is
on disk in the node's next turn. Messages are passed on twice: as bytes, packed and parsed as on the wire and for the
journal, and as the objects that they are; the difference is the codec's.

Not measured: sockets, client frames, the disk, and the fights of its thread for the interpreter's lock.
"""

import itertools
import random
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgpack

from bench import measuring
from bench.measuring import BATCHES, Figures
from paxoskv.core import operations
from paxoskv.core.operations import Operation
from paxoskv.core.placement import EveryNode, home_index
from paxoskv.paxos.engine import PaxosEngine
from paxoskv.wire import framing, paxos, peer

NODES: Final = 3
VALUE_BYTES: Final = 64
ROUNDS: Final = 5
OPERATIONS: Final = 4096
OPERATIONS_QUICK: Final = 32
TURNS_MAX: Final = 400
MEMORY_KEYS: Final = 10_000
FRAME_BYTES_MAX: Final = 3 << 20
# Too little for anything to be waited for in vain.
TURN_S: Final = 1e-6
TIMEOUT_S: Final = 5.0


class Node:
    """One engine, what has come in for it, and the time that it took."""

    def __init__(self, number: int, packed: bool) -> None:
        placement = EveryNode(tuple(range(1, NODES + 1)))
        self.number = number
        self.engine = PaxosEngine(number, 1, placement, random.Random(number), empty=True)
        self.packed = packed
        self.operations: list[Operation] = []
        self.received: list[tuple[int, Any]] = []
        self.committed = 0
        self.seconds = 0.0
        self.frames = framing.FrameBuffer(FRAME_BYTES_MAX)

    @property
    def busy(self) -> bool:
        return bool(self.operations or self.received or self.committed)

    def turn(self, now: float) -> Iterable[tuple[int, Any]]:
        """What `server.node` does in a turn; answers what goes to whom."""
        engine = self.engine
        if self.committed:
            committed, self.committed = self.committed, 0
            engine.committed(committed, now)
        if self.received:
            received, self.received = self.received, []
            for sender, message in received:
                engine.receive(sender, self._unpack(message) if self.packed else message, now)
        if self.operations:
            submitted, self.operations = self.operations, []
            engine.submit(submitted, now)
        effects = engine.take_effects()
        engine.deadline()  # A node asks in every turn, so it belongs to what a turn costs.
        self.committed = effects.sequence
        if not self.packed:
            return effects.sends.items()
        sends = [(target, frame) for target, messages in effects.sends.items() for frame in self._pack(messages)]
        if effects.journal:
            msgpack.packb([paxos.CODEC.encode(message) for message in effects.journal])
        return sends

    def _pack(self, messages: list[Any]) -> list[bytes]:
        header = peer.Header("bench", 1, self.number, 1, 1)
        return peer.pack_frames(header, [paxos.CODEC.encode(message) for message in messages], FRAME_BYTES_MAX)

    def _unpack(self, frame: bytes) -> list[Any]:
        [body] = self.frames.feed(frame)
        _, encoded = peer.parse_frame(framing.unpack(body))
        return [paxos.CODEC.decode(message) for message in encoded]


class Cluster:
    """Nodes that know no loss, no delay and no disk."""

    def __init__(self, packed: bool) -> None:
        self.now = 0.0
        self.nodes = {number: Node(number, packed) for number in range(1, NODES + 1)}
        for node, other in itertools.permutations(self.nodes.values(), 2):
            node.engine.peer_up(other.number, 1, self.now)

    def submit(self, number: int, requests: list[Operation]) -> None:
        """Hand a node what its clients ask, for its next turn."""
        self.nodes[number].operations = requests

    def settle(self) -> None:
        """Until nobody has anything to say."""
        self.now += TURN_S
        nodes = self.nodes
        busy = True
        began = time.perf_counter()
        while busy:
            busy = False
            for node in nodes.values():
                if node.busy:
                    busy = True
                    for target, message in node.turn(self.now):
                        nodes[target].received.append((node.number, message))
                    ended = time.perf_counter()
                    node.seconds += ended - began
                    began = ended

    def counters(self, number: int) -> dict[str, int]:
        found: dict[str, int] = self.nodes[number].engine.status()["engine"]
        return found


def key(number: int, home: int = NODES) -> bytes:
    """One that has its home there; where none is named, at a node that is never asked for what is fresh."""
    names = (b"key%08d.%d" % (number, salt) for salt in itertools.count())
    return next(name for name in names if home_index(name, NODES) + 1 == home)


def put(number: int) -> Operation:
    return Operation(operations.PUT, key(number), bytes(VALUE_BYTES), deadline=TIMEOUT_S)


def put_at_home(number: int) -> Operation:
    return Operation(operations.PUT, key(number, 1), bytes(VALUE_BYTES), deadline=TIMEOUT_S)


def get(number: int) -> Operation:
    return Operation(operations.GET, key(number), deadline=TIMEOUT_S)


def increment(_: int) -> Operation:
    return Operation(operations.INCR, b"hot", 1, deadline=TIMEOUT_S)


def all_held_by_one(cluster: Cluster, keys: int) -> None:
    """Node 1 writes every key, and so holds it."""
    cluster.submit(1, [put(number) for number in range(keys)])
    cluster.settle()


def fought_over(cluster: Cluster, keys: int) -> None:
    """Nodes 1 and 2 write every key at once: 2 gets them, 1 relays, and goes on to as long as that is answered."""
    for number in (1, 2):
        cluster.submit(number, [put(number) for number in range(keys)])
    cluster.settle()


def hot_key(cluster: Cluster, _: int) -> None:
    cluster.submit(1, [increment(0)])
    cluster.settle()


@dataclass(frozen=True)
class Scenario:
    """Operations, and how they must go for the figure to mean what it says."""

    draw: Callable[[int], Operation]
    prepare: Callable[[Cluster, int], None] = all_held_by_one
    rotate: bool = False
    """The next node is asked in every sweep."""
    fresh: bool = False
    """Every sweep has keys of its own."""
    per_operation: dict[str, int] = field(default_factory=dict)
    """Counters of the node that is asked: how much each operation adds."""


SCENARIOS: Final = {
    "put, key held": Scenario(put, per_operation={"prepares": 0, "relays_sent": 0, "proposed_steps": 1}),
    "put, key relayed": Scenario(put, fought_over, per_operation={"prepares": 0, "relays_sent": 1}),
    "put, key taken over": Scenario(put, rotate=True, per_operation={"prepares": 1, "relays_sent": 0}),
    "put, fresh key": Scenario(put, fresh=True, per_operation={"prepares": 1, "relays_sent": 0}),
    "put, fresh key at home": Scenario(
        put_at_home, fresh=True, per_operation={"initial_ballots": 1, "prepares": 0, "proposed_steps": 1}
    ),
    "get": Scenario(get, per_operation={"reads": 1, "finished_writes": 0, "fetches": 0}),
    "incr, one hot key": Scenario(increment, hot_key, per_operation={"prepares": 0, "folded_operations": 1}),
}


class Sample(NamedTuple):
    """Microseconds of CPU for one operation."""

    all_us: float
    asked_us: float
    """On the node whose client asked."""
    other_us: float
    """On each of the others, in the mean."""


class Sweep:
    """One scenario at one size of batch, on a cluster of its own. A call measures it once."""

    def __init__(self, name: str, batch: int, count: int, packed: bool) -> None:
        self.name = name
        self.scenario = SCENARIOS[name]
        self.batch = batch
        self.turns = min(TURNS_MAX, -(-count // batch))
        self.cluster = Cluster(packed)
        self.asked = 1
        self.first = 0
        self.scenario.prepare(self.cluster, self.turns * batch)

    def __call__(self) -> Sample:
        scenario, cluster, batch = self.scenario, self.cluster, self.batch
        count = self.turns * batch
        if scenario.rotate:
            self.asked = self.asked % NODES + 1
        if scenario.fresh:
            self.first += count
        numbers = range(self.first, self.first + count)
        drawn = [scenario.draw(number) for number in numbers]
        turns = [drawn[begin : begin + batch] for begin in range(0, count, batch)]
        before = cluster.counters(self.asked)
        for node in cluster.nodes.values():
            node.seconds = 0.0
        began = time.process_time()
        for requests in turns:
            cluster.submit(self.asked, requests)
            cluster.settle()
        taken = time.process_time() - began
        assert all(operation.done for operation in drawn)
        after = cluster.counters(self.asked)
        for counter, times in scenario.per_operation.items():
            assert after[counter] - before[counter] == times * count, (self.name, batch, counter)
        # The process's clock is exact and dear to read, so it gives the sum alone. The wall's clock divides it.
        total = taken * 1e6 / count
        asked = total * cluster.nodes[self.asked].seconds / sum(node.seconds for node in cluster.nodes.values())
        return Sample(total, asked, (total - asked) / (NODES - 1))


def times(quick: bool) -> Figures:
    """Of every scenario by size of batch, messages passed as bytes and as objects in turns."""
    count, rounds = (OPERATIONS_QUICK, 1) if quick else (OPERATIONS, ROUNDS)
    figures: Figures = {}
    for name in SCENARIOS:
        figures[name] = {}
        for batch in BATCHES:
            samples = measuring.in_turns(
                {"bytes": Sweep(name, batch, count, True), "objects": Sweep(name, batch, count, False)}, rounds
            )
            packed, plain = samples["bytes"], samples["objects"]
            ratio = measuring.median_ratio([s.all_us for s in plain], [s.all_us for s in packed])
            figures[name][str(batch)] = {
                "all_us": statistics.median(s.all_us for s in packed),
                "asked_us": statistics.median(s.asked_us for s in packed),
                "other_us": statistics.median(s.other_us for s in packed),
                "all_without_codec_us": statistics.median(s.all_us for s in plain),
                "codec_percent": 100 * (1 - ratio),
            }
    return figures


def memory(quick: bool) -> Figures:
    """Bytes that a cached key costs a node beyond key and value: while no checkpoint has written it, and afterwards.

    Dictionaries grow by doubling, so that the figure depends on the number of keys: the mean is over a doubling of
    that.
    """
    keys = 500 if quick else MEMORY_KEYS
    batch = keys // 20
    cluster = Cluster(packed=True)
    samples = []
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()

        def beyond_key_and_value(count: int) -> float:
            used, _ = tracemalloc.get_traced_memory()
            return (used - before) / NODES / count - len(key(0)) - VALUE_BYTES

        for begin in range(0, 2 * keys, batch):
            cluster.submit(1, [put(number) for number in range(begin, begin + batch)])
            cluster.settle()
            if begin >= keys:
                samples.append(beyond_key_and_value(begin + batch))
        for node in cluster.nodes.values():
            engine = node.engine
            engine.begin_checkpoint()
            while records := engine.checkpoint_slice(256):
                engine.folded([record[0] for record in records])
        after_checkpoint = beyond_key_and_value(2 * keys)
    finally:
        tracemalloc.stop()
    return {
        "a cached key": {
            "dirty, mean": {"bytes": statistics.mean(samples)},
            "dirty, most": {"bytes": max(samples)},
            f"clean, {2 * keys} keys": {"bytes": after_checkpoint},
        }
    }


def run(quick: bool) -> Figures:
    """All of it. Raises AssertionError when an operation went another way than its scenario says."""
    return {**times(quick), **memory(quick)}


def show(figures: Figures) -> None:
    """Print the tables."""
    measuring.show(figures, "Engine: us of CPU for an operation, all three nodes, by operations in a turn", "all_us")
    measuring.show(figures, "Of it the node that is asked", "asked_us")
    measuring.show(figures, "Of it each of the other two, in the mean", "other_us")
    measuring.show(figures, "Of it packing and parsing, in percent", "codec_percent", 0)
    measuring.show(figures, "Memory: bytes beyond key and value, on each node", "bytes", 0)


main = measuring.command(__doc__, run, show)

if __name__ == "__main__":
    main()
