"""Random schedules of a cluster of log engines: everything that can happen, in any order, then an end to all trouble.

Safety is asserted all along by `harness.raft`; in the end everything must be answered, all replicas must hold the same,
and what clients saw must have an order.
"""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from harness.linear import Event, is_linearizable
from harness.raft import Build, Cluster
from paxoskv.core import operations
from paxoskv.core.operations import Argument, Operation
from paxoskv.raft.context import Timing
from paxoskv.raft.engine import RaftEngine

STEPS_MAX = 2500
_MIXED = (
    operations.GET,
    operations.GET,
    operations.PUT,
    operations.DELETE,
    operations.CAS,
    operations.INCR,
    operations.INCR,
    operations.INCR,
    operations.APPEND,
    operations.SWAP,
)
_HOT = (operations.INCR, operations.INCR, operations.CAS, operations.GET, operations.PUT, operations.SWAP)


class Illegal(AssertionError):
    """No order explains what clients saw."""


class Schedule:
    """One seed's worth of trouble."""

    def __init__(
        self, seed: int, build: Build = RaftEngine, trace: Callable[[str], None] | None = None, **options: Any
    ) -> None:
        rng = self.rng = random.Random(seed)
        self.clock = 0
        self.events: dict[int, Event] = {}
        self.nodes_of: dict[int, int] = {}
        self.lost = 0
        self.undecided = 0
        self._answers = 0
        self._drawn = 0
        drawn = {
            "nodes": rng.choice((3, 3, 3, 3, 5, 1, 2)),
            "cache_bytes": rng.choice((1 << 28, 1 << 28, 900)),
            "log_bytes": rng.choice((1 << 25, 400, 0)),
            "timing": Timing(),
        }
        self.cluster = Cluster(seed=seed, trace=trace, build=build, **{**drawn, **options})
        self.keys = [b"a", b"b", b"c", b"d", b"e"][: rng.choice((1, 1, 2, 5))]
        self._kinds = rng.choice((_MIXED, _HOT))
        self._cut: set[tuple[int, int]] = set()
        self._weights = {
            self._submit: rng.choice((1, 2, 4)),
            self._deliver: 12,
            self._deliver_oldest: rng.choice((0, 20)),
            self._duplicate: rng.choice((0, 0.5, 2)),
            self._drop: rng.choice((0, 0.3, 2)),
            self._commit: rng.choice((1, 4, 8)),
            self._load: 3,
            self._crash: rng.choice((0, 0.1, 0.3)),
            self._restart: 0.5,
            self._tick: rng.choice((0.5, 1, 3)),
            self._checkpoint: rng.choice((0, 0.2, 1)),
            self._blink: rng.choice((0, 0.1)),
            self._partition: rng.choice((0, 0.05, 0.2)),
            self._heal: 0.1,
            self._transfer: rng.choice((0, 0, 0.1)),
            self._stand: rng.choice((0, 0.1, 0.4)),
        }
        self._wanted = rng.choice((8, 12, 25, 40))
        self._stalled = rng.choice((0, 0, *self.cluster.nodes))
        """A node whose disk commits nothing before the end of all trouble."""

    def run(self) -> Counter[str]:
        """Raises what is found. Answers how the operations ended."""
        if self.rng.random() < 0.8:
            self.cluster.settle(until=lambda: bool(self.cluster.leader()))
        actions, weights = list(self._weights), list(self._weights.values())
        for _ in range(STEPS_MAX):
            if self._drawn >= self._wanted and self.rng.random() < 0.01:
                break
            self.clock += 1
            self.rng.choices(actions, weights)[0]()
            self._collect()
        self._end()
        return Counter(
            "failed" if event.failed else "ok" if event.outcome else "unknown" for event in self.events.values()
        )

    # What can happen.

    def _submit(self) -> None:
        up = self.cluster.up
        if not up or self._drawn >= self._wanted:
            return
        number = self.rng.choice(up)
        for _ in range(self.rng.choice((1, 1, 2, 4))):
            self._ask(number, self._draw())

    def _draw(self) -> Operation:
        rng = self.rng
        self._drawn += 1
        serial = self._drawn
        kind = rng.choice(self._kinds)
        argument: Argument = None
        condition: Argument = None
        if kind in (operations.PUT, operations.SWAP):
            argument = rng.choice((b"%d" % serial, b"v%d" % serial))
        elif kind == operations.CAS:
            argument, condition = b"%d" % (1000 + serial), rng.choice((None, b"1", b"2", b"%d" % (serial - 1)))
        elif kind == operations.INCR:
            argument = 1
        elif kind == operations.APPEND:
            argument = b"%d" % (serial % 10)
        deadline = self.cluster.now + rng.choice((0.1, 1, 3, 30))
        return Operation(kind, rng.choice(self.keys), argument, condition, deadline)

    def _ask(self, number: int, operation: Operation) -> Event:
        event = self.events[id(operation)] = Event(operation, self.clock)
        self.nodes_of[id(operation)] = number
        self.cluster.submit(number, operation)
        self.clock += 1
        self._collect()
        return event

    def _collect(self) -> None:
        answers = self.cluster.answers
        while self._answers < len(answers):
            operation, result = answers[self._answers]
            self._answers += 1
            self.events[id(operation)].answered(result, self.clock + 0.5)

    def _deliver(self) -> None:
        packets = self.cluster.packets
        if packets:
            self._deliver_one(self.rng.choice(packets[: self.rng.choice((1, 3, 100))]))

    def _deliver_oldest(self) -> None:
        if self.cluster.packets:
            self._deliver_one(self.cluster.packets[0])

    def _deliver_one(self, packet: Any) -> None:
        if (packet.source, packet.target) in self._cut:
            self.cluster.packets.remove(packet)
        else:
            self.cluster.deliver(packet)

    def _duplicate(self) -> None:
        packets = self.cluster.packets
        if packets:
            packet = self.rng.choice(packets)
            if (packet.source, packet.target) not in self._cut:
                self.cluster.deliver(packet, keep=True)

    def _drop(self) -> None:
        packets = self.cluster.packets
        if packets:
            packets.remove(self.rng.choice(packets))

    def _commit(self) -> None:
        number = self.rng.choice(list(self.cluster.nodes))
        if number != self._stalled:
            self.cluster.commit(number)

    def _load(self) -> None:
        self.cluster.load(self.rng.choice(list(self.cluster.nodes)))

    def _crash(self) -> None:
        cluster = self.cluster
        number = self.rng.choice(list(cluster.nodes))
        node = cluster.nodes[number]
        if node.engine is None or len(cluster.nodes) - len(cluster.up) > len(cluster.nodes) // 2:
            return
        cluster.crash(number, self.rng.randint(0, len(node.disk.queued)), notice=self.rng.random() < 0.7)
        self._collect()
        for identity, event in self.events.items():
            if event.ended is None and self.nodes_of[identity] == number:
                event.ended = float("inf")
                self.lost += 1

    def _restart(self) -> None:
        down = [number for number in self.cluster.nodes if number not in self.cluster.up]
        if down:
            self.cluster.restart(self.rng.choice(down))

    def _tick(self) -> None:
        seconds = self.rng.choice((0.001, 0.01, 0.05, 0.3, 1.0))
        # A node whose process is paused does not tick.
        awake = [number for number in self.cluster.nodes if self.rng.random() < 0.9]
        self.cluster.tick(seconds, *awake or [0])

    def _checkpoint(self) -> None:
        up = self.cluster.up
        if up:
            self.cluster.step_checkpoint(self.rng.choice(up))

    def _blink(self) -> None:
        """A connection breaks and is made again."""
        up = self.cluster.up
        if len(up) > 1:
            one, other = self.rng.sample(up, 2)
            cluster = self.cluster
            cluster.engine(one).peer_lost(other, cluster.now)
            cluster.turn(one)
            if (one, other) not in self._cut:
                cluster.engine(one).peer_up(other, cluster.nodes[other].disk.incarnation, cluster.now)
                cluster.turn(one)

    def _partition(self) -> None:
        cluster = self.cluster
        numbers = list(cluster.nodes)
        apart = set(self.rng.sample(numbers, self.rng.randint(1, len(numbers) - 1))) if len(numbers) > 1 else set()
        one_way = self.rng.random() < 0.3
        noticed = self.rng.random() < 0.5
        for source in numbers:
            for target in numbers:
                if source != target and (source in apart) > (target in apart) - (not one_way and 2 * (target in apart)):
                    self._sever(source, target, noticed)

    def _sever(self, source: int, target: int, noticed: bool) -> None:
        self._cut.add((source, target))
        engine = self.cluster.nodes[source].engine
        if noticed and engine is not None:
            engine.peer_lost(target, self.cluster.now)
            self.cluster.turn(source)

    def _heal(self) -> None:
        cluster = self.cluster
        cut, self._cut = sorted(self._cut), set()
        for source, target in cut:
            engine = cluster.nodes[source].engine
            if engine is not None and target in cluster.up:
                engine.peer_up(target, cluster.nodes[target].disk.incarnation, cluster.now)
                cluster.turn(source)

    def _transfer(self) -> None:
        number = self.cluster.leader()
        if number:
            engine = self.cluster.engine(number)
            engine.command("raft-transfer", self.rng.choice(list(self.cluster.nodes)), self.cluster.now)
            self.cluster.turn(number)

    def _stand(self) -> None:
        """A node finds that it has heard of no leader for long, and so do the others."""
        up = self.cluster.up
        if up:
            self.cluster.tick(1.0, self.rng.choice(up))

    # The end.

    def _end(self) -> None:
        cluster = self.cluster
        self._heal()
        for number in cluster.nodes:
            if cluster.nodes[number].engine is None:
                cluster.restart(number)
        for number in cluster.nodes:
            # Whatever was cut, or dropped, or not noticed: every connection is made anew.
            for other in cluster.nodes:
                if other != number:
                    cluster.engine(number).peer_up(other, cluster.nodes[other].disk.incarnation, cluster.now)
            cluster.turn(number)
        self.clock += 1
        cluster.settle(40.0, until=self._is_quiet)
        self._collect()
        for event in self.events.values():
            assert event.ended is not None, f"{event.operation} was never answered"
        for key in self.keys:
            for number in cluster.nodes:
                self.clock += 1
                event = self._ask(number, Operation(operations.GET, key, deadline=cluster.now + 20))
                cluster.settle(20.0, until=lambda event=event: cluster.result(event.operation) is not None)  # type: ignore[misc]
                self.clock += 1
                self._collect()
                assert event.outcome is not None, f"node {number} does not read: {cluster.result(event.operation)}"
        cluster.settle(5.0, until=self._is_converged)
        for key in self.keys:
            found = is_linearizable([event for event in self.events.values() if event.operation.key == key])
            if found is False:
                raise Illegal(self._story(key))
            self.undecided += found is None

    def _is_quiet(self) -> bool:
        cluster = self.cluster
        if any(node.disk.queued for node in cluster.nodes.values()):
            return False
        return bool(cluster.leader()) and all(cluster.engine(number).context.in_flight == 0 for number in cluster.nodes)

    def _is_converged(self) -> bool:
        cluster = self.cluster
        engines = [cluster.engine(number) for number in cluster.nodes]
        if len({(engine.machine.applied, engine.log.last_index, engine.election.term) for engine in engines}) > 1:
            return False
        assert len({tuple(sorted(engine.machine.sessions.items())) for engine in engines}) == 1, "sessions differ"
        for key in self.keys:
            states = set()
            for number, engine in zip(cluster.nodes, engines, strict=True):
                record = engine.records.resident.get(key)
                if record is not None:
                    states.add(record.to_blob())
                else:
                    states.add(cluster.nodes[number].disk.records.get(key, bytes(9)))
            assert len(states) == 1, f"the replicas of {key!r} differ: {states}"
        return True

    def _story(self, key: bytes) -> str:
        events = [event for event in self.events.values() if event.operation.key == key and not event.failed]
        lines = [
            f"  {event.began}..{event.ended} node {self.nodes_of[id(event.operation)]} "
            f"{event.operation}: {event.outcome}"
            for event in sorted(events, key=lambda event: event.began)
        ]
        return f"no order explains what was seen of {key!r}:\n" + "\n".join(lines)
