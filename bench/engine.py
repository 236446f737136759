"""What the leaderless engine costs without a network or a disk: `python bench/engine.py [--json] [--quick]`.

Three engines in one process hand each other their messages, packed as on the wire, and every journal row is committed
at once. Printed is the CPU time of all three for one operation, by the number of operations that arrive together. Not
measured: sockets, the disk and its thread, client frames.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from paxoskv.core import operations
from paxoskv.core.operations import Operation
from paxoskv.core.placement import EveryNode
from paxoskv.paxos.engine import PaxosEngine
from paxoskv.wire import paxos

NODES = 3
KEYS = 4_000
VALUE = bytes(64)
BATCHES = (1, 16, 64, 256, 1000)
OPERATIONS = 20_000
ROUNDS = 3


class Cluster:
    """Engines that know no loss, no delay and no disk."""

    def __init__(self) -> None:
        self.now = 0.0
        placement = EveryNode(tuple(range(1, NODES + 1)))
        self.engines = {
            node: PaxosEngine(node, 1, placement, random.Random(node), empty=True)
            for node in placement.replicas(b"").nodes
        }
        for node, engine in self.engines.items():
            for other in self.engines:
                if other != node:
                    engine.peer_up(other, 1, self.now)
        self.run()

    def submit(self, node: int, requests: Sequence[Operation]) -> None:
        """One turn's operations of one node, until all are answered."""
        self.now += 0.0001
        self.engines[node].submit(requests, self.now)
        self.run()
        assert all(request.done for request in requests)

    def run(self) -> None:
        """Until nobody has anything to say."""
        busy = True
        while busy:
            busy = False
            for node, engine in self.engines.items():
                effects = engine.take_effects()
                for target, messages in effects.sends.items():
                    encoded = [paxos.encode(message) for message in messages]
                    self.engines[target].receive(node, [paxos.decode(message) for message in encoded], self.now)
                    busy = True
                if effects.journal:
                    for message in effects.journal:
                        paxos.encode(message)
                    engine.committed(effects.sequence, self.now)
                    busy = True


Draw = Callable[[int], Operation]


def put(number: int) -> Operation:
    return Operation(operations.PUT, b"key%06d" % (number % KEYS), VALUE)


def get(number: int) -> Operation:
    return Operation(operations.GET, b"key%06d" % (number % KEYS))


def fresh(number: int) -> Operation:
    return Operation(operations.PUT, b"fresh%08d" % number, VALUE)


def hot(number: int) -> Operation:
    return Operation(operations.INCR, b"hot", 1)


def measure(batch: int, draw: Draw, nodes: Sequence[int], count: int) -> float:
    """Microseconds of CPU for one operation."""
    cluster = Cluster()
    cluster.submit(1, [put(number) for number in range(KEYS)])
    cluster.submit(1, [hot(0)])
    turns = max(1, count // batch)
    prepared = [[draw(turn * batch + index) for index in range(batch)] for turn in range(turns)]
    began = time.process_time()
    for turn, requests in enumerate(prepared):
        cluster.submit(nodes[turn % len(nodes)], requests)
    return (time.process_time() - began) * 1e6 / (turns * batch)


SCENARIOS: dict[str, tuple[Draw, Sequence[int]]] = {
    "puts on held keys": (put, (1,)),
    "puts on keys that change hands": (put, (1, 2, 3)),
    "first touches": (fresh, (1,)),
    "reads": (get, (1,)),
    "one hot key": (hot, (1,)),
}


def run(quick: bool) -> dict[str, dict[str, float]]:
    """Microseconds by scenario and batch size: the least of the rounds, which noise can only add to."""
    count, rounds = (1_000, 1) if quick else (OPERATIONS, ROUNDS)
    found: dict[str, dict[str, float]] = {}
    for name, (draw, nodes) in SCENARIOS.items():
        found[name] = {}
        for batch in BATCHES:
            # Smaller batches take longer, and need fewer operations for a stable figure.
            part = min(count, 2_000 + 20 * batch)
            found[name][str(batch)] = round(min(measure(batch, draw, nodes, part) for _ in range(rounds)), 1)
    return found


def show(found: dict[str, Any]) -> None:
    print(f"{'us of CPU for an operation, all nodes':36}" + "".join(f"{batch:>8}" for batch in BATCHES))
    for name, row in found.items():
        print(f"{name:36}" + "".join(f"{row[str(batch)]:8.1f}" for batch in BATCHES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer operations, one round")
    arguments = parser.parse_args()
    found = run(arguments.quick)
    print(json.dumps(found)) if arguments.json else show(found)


if __name__ == "__main__":
    main()
