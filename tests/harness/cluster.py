"""A cluster of engines whose network, disks and time are in the hands of a test.

Messages travel as bytes, so engines cannot share objects. A disk keeps what was committed; everything else dies with
its node. Nothing happens by itself: the test delivers, commits, crashes, restarts and lets time pass. Where it asks for
that, every turn is held against the rules that no single node can check (`harness.watch`).
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from harness.watch import Watch
from paxoskv.core.engine import Scan
from paxoskv.core.limits import Capacity
from paxoskv.core.operations import Operation, Result
from paxoskv.core.placement import EveryNode
from paxoskv.core.scan import Inner, ScanOperation
from paxoskv.paxos.context import Timing
from paxoskv.paxos.engine import PaxosEngine
from paxoskv.paxos.messages import Message
from paxoskv.wire import framing, paxos, peer

LIMIT = 1024 * 1024


@dataclass
class Disk:
    """Rows that are committed, rows on their way there, and records that a checkpoint wrote."""

    rows: list[list[bytes]] = field(default_factory=list)
    queued: list[tuple[int, list[bytes]]] = field(default_factory=list)
    records: dict[bytes, bytes] = field(default_factory=dict)
    incarnation: int = 0
    trimmed: int = 0
    """How many rows were forgotten."""


@dataclass(eq=False)
class Packet:
    """One frame in flight, and the message in it, for tests to choose by."""

    source: int
    target: int
    message: Message
    frame: bytes


class Node:
    """One engine with its disk; `engine` is None while it is down."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.disk = Disk()
        self.engine: PaxosEngine | None = None
        self.seen: dict[int, int] = {}
        self.loads: list[bytes] = []
        self.scans: list[Scan] = []
        self.read: dict[bytes, bytes | None] = {}
        """What the disk has read, and the engine not yet been given."""
        self.checkpoint: Iterator[None] | None = None


class Cluster:
    """Nodes 1 to n. `trace` is called with a line for everything that happens, if given."""

    def __init__(
        self,
        nodes: int = 3,
        seed: int = 0,
        timing: Timing | None = None,
        trace: Callable[[str], None] | None = None,
        cache_bytes: int = 1 << 28,
        value_bytes_max: int = 1 << 20,
        watched: bool = False,
        sweeps: bool = False,
        capacity: Capacity | None = None,
    ) -> None:
        self.now = 0.0
        self.rng = random.Random(seed)
        self.timing = timing
        self.trace = trace or (lambda line: None)
        self.cache_bytes = cache_bytes
        self.sweeps = sweeps
        self.capacity = capacity
        self.value_bytes_max = value_bytes_max
        self.scan_records = 3
        """As many a disk reads in the order of their keys at a time."""
        self.packets: list[Packet] = []
        self.answers: list[tuple[Operation, Result]] = []
        self.watch = Watch(nodes) if watched else None
        self.nodes = {number: Node(number) for number in range(1, nodes + 1)}
        for number in self.nodes:
            self.restart(number)

    def engine(self, number: int) -> PaxosEngine:
        engine = self.nodes[number].engine
        assert engine is not None, f"node {number} is down"
        return engine

    @property
    def up(self) -> list[int]:
        return [number for number, node in self.nodes.items() if node.engine is not None]

    # The life of a node.

    def restart(self, number: int) -> None:
        node = self.nodes[number]
        assert node.engine is None
        disk = node.disk
        disk.incarnation += 1
        engine = PaxosEngine(
            number,
            disk.incarnation,
            EveryNode(tuple(self.nodes)),
            random.Random(self.rng.getrandbits(64)),
            timing=self.timing,
            cache_bytes=self.cache_bytes,
            value_bytes_max=self.value_bytes_max,
            empty=not disk.records,
            sweeps=self.sweeps,
            capacity=self.capacity,
        )
        for row in disk.rows:
            journal = [paxos.CODEC.decode(encoded) for encoded in row]
            while missing := engine.recover(journal):
                engine.loaded({key: disk.records.get(key) for key in missing}, self.now)
        node.engine = engine
        node.seen = {}
        self.trace(f"restart {number}")
        for other in self.nodes.values():
            if other.engine is not None and other is not node:
                engine.peer_up(other.number, other.disk.incarnation, self.now)
                node.seen[other.number] = other.disk.incarnation
                other.engine.peer_up(number, disk.incarnation, self.now)
                other.seen[number] = disk.incarnation
                self.turn(other.number)
        self.turn(number)

    def crash(self, number: int, committed: int = 0) -> None:
        """Kill a node. Of the rows on their way to its disk, the first `committed` arrive all the same."""
        node = self.nodes[number]
        assert node.engine is not None
        for _ in range(committed):
            self._commit_row(node)
        node.disk.queued.clear()
        node.loads.clear()
        node.scans.clear()
        node.read.clear()
        node.checkpoint = None
        node.engine = None
        self.trace(f"crash {number}")
        for other in self.nodes.values():
            if other.engine is not None:
                other.engine.peer_lost(number, self.now)
                self.turn(other.number)

    def cut(self, one: int, other: int) -> None:
        """The connection between two nodes breaks, and what was on it is lost. Both notice."""
        self.packets = [packet for packet in self.packets if {packet.source, packet.target} != {one, other}]
        for here, there in ((one, other), (other, one)):
            engine = self.nodes[here].engine
            if engine is not None:
                engine.peer_lost(there, self.now)
                self.turn(here)

    def connect(self, one: int, other: int) -> None:
        """There is a connection between two nodes again, if both are up."""
        for here, there in ((one, other), (other, one)):
            engine = self.nodes[here].engine
            if engine is not None and self.nodes[there].engine is not None:
                engine.peer_up(there, self.nodes[there].disk.incarnation, self.now)
                self.turn(here)

    # Turns.

    def turn(self, number: int) -> None:
        """End a node's turn: send, queue for its disk, collect answers."""
        node = self.nodes[number]
        assert node.engine is not None
        effects = node.engine.take_effects()
        if self.watch is not None:
            self.watch.turn(number, effects)
        for target in sorted(effects.sends):
            header = peer.Header("test", 1, number, node.disk.incarnation, node.seen.get(target, 0))
            for message in effects.sends[target]:
                for frame in peer.pack_frames(header, [paxos.CODEC.encode(message)], LIMIT * 4):
                    self.packets.append(Packet(number, target, message, frame))
                    self.trace(f"{number}->{target} {message}")
        if effects.journal:
            node.disk.queued.append((effects.sequence, [paxos.CODEC.encode(message) for message in effects.journal]))
        for operation, result in effects.answers:
            assert type(operation.reply) is not Inner, "what the engine asked itself, it answers to itself"
            self.answers.append((operation, result))
            self.trace(f"{number} answers {operation} {result}")
        assert not node.engine.records.resident.keys() & set(effects.loads), "what is in memory is newer than storage"
        node.loads.extend(effects.loads)
        node.scans.extend(effects.scans)

    def scan(self, number: int, operation: ScanOperation) -> None:
        """Submit a scan."""
        self.trace(f"submit {number} {operation}")
        self.engine(number).scan(operation, self.now)
        self.turn(number)

    def submit(self, number: int, *operations: Operation) -> None:
        for operation in operations:
            self.trace(f"submit {number} {operation}")
        self.engine(number).submit(operations, self.now)
        self.turn(number)

    def deliver(self, packet: Packet, keep: bool = False) -> None:
        """Hand a packet over; `keep` leaves a duplicate in flight."""
        if self.receive(packet, keep):
            self.turn(packet.target)

    def receive(self, packet: Packet, keep: bool = False) -> bool:
        """The same, without the end of the turn; False when nobody takes it."""
        if not keep:
            self.packets.remove(packet)
        node = self.nodes[packet.target]
        if node.engine is None:
            return False
        header, encoded = peer.parse_frame(framing.unpack(packet.frame[framing.LENGTH_BYTES :]))
        if header.recipient_incarnation != node.disk.incarnation:
            return False
        if node.seen.get(header.sender, 0) > header.incarnation:
            return False
        if node.seen.get(header.sender) != header.incarnation:
            node.seen[header.sender] = header.incarnation
            node.engine.peer_up(header.sender, header.incarnation, self.now)
        node.engine.receive(header.sender, [paxos.CODEC.decode(message) for message in encoded], self.now)
        self.trace(f"{packet.target} has {packet.source}'s {packet.message}")
        return True

    def commit(self, number: int) -> bool:
        """The node's disk finishes the oldest group it was given."""
        node = self.nodes[number]
        if node.engine is None or not node.disk.queued:
            return False
        sequence = self._commit_row(node)
        self.trace(f"{number} committed {sequence}")
        node.engine.committed(sequence, self.now)
        self.turn(number)
        return True

    def _commit_row(self, node: Node) -> int:
        sequence, row = node.disk.queued.pop(0)
        node.disk.rows.append(row)
        if self.watch is not None:
            self.watch.committed(node.number, [paxos.CODEC.decode(message) for message in row])
        return sequence

    def read(self, number: int) -> bool:
        """The node's disk reads what was asked of it. It stays under way until `load`."""
        node = self.nodes[number]
        if node.engine is None or not node.loads:
            return False
        node.read.update({key: node.disk.records.get(key) for key in node.loads})
        node.loads = []
        return True

    def load(self, number: int) -> bool:
        """The node is given what its disk has read; if that is nothing yet, it reads."""
        node = self.nodes[number]
        if node.engine is None or not (node.read or self.read(number) or node.scans):
            return False
        found, node.read = node.read, {}
        node.engine.loaded(found, self.now)
        scans, node.scans = node.scans, []
        for scan in scans:
            beyond = sorted(
                key for key in node.disk.records if key >= scan.start and (scan.end is None or key < scan.end)
            )
            looked = beyond[: min(self.scan_records, scan.limit or self.scan_records)]
            last = looked[-1] if len(looked) < len(beyond) else None
            node.engine.scanned(scan.number, [(key, node.disk.records[key]) for key in looked], last, self.now)
        self.turn(number)
        return True

    def step_checkpoint(self, number: int) -> None:
        """Begin a checkpoint, or do one step of the one that has begun: take a slice, or write it."""
        node = self.nodes[number]
        assert node.engine is not None
        if node.checkpoint is None:
            node.checkpoint = self._checkpoint(node, node.engine)
        try:
            next(node.checkpoint)
        except StopIteration:
            node.checkpoint = None

    def _checkpoint(self, node: Node, engine: PaxosEngine) -> Iterator[None]:
        disk = node.disk
        boundary = disk.trimmed + len(disk.rows)
        engine.begin_checkpoint()
        while records := engine.checkpoint_slice(2):
            yield
            disk.records.update(records)
            if self.watch is not None:
                self.watch.folded(node.number, records)
            engine.folded([key for key, _ in records])
            self.turn(node.number)
        del disk.rows[: boundary - disk.trimmed]
        disk.trimmed = boundary
        if self.watch is not None:
            rows = [[paxos.CODEC.decode(encoded) for encoded in row] for row in disk.rows]
            self.watch.trimmed(node.number, disk.records, rows)
        self.trace(f"{node.number} ends a checkpoint")

    def checkpoint(self, number: int) -> None:
        """Fold everything, and forget the journal rows that are committed."""
        node = self.nodes[number]
        self.step_checkpoint(number)
        while node.checkpoint is not None:
            self.step_checkpoint(number)

    def tick(self, seconds: float, *only: int) -> None:
        """Let time pass, for everybody; `only` those nodes see to what is due."""
        self.now += seconds
        for number, node in self.nodes.items():
            if node.engine is not None and (not only or number in only):
                deadline = node.engine.deadline()
                if deadline is not None and deadline <= self.now:
                    node.engine.tick(self.now)
                    self.turn(number)

    def settle(self, seconds: float = 30.0) -> None:
        """Everything works and time passes, until nothing happens any more, or for so long."""
        end = self.now + seconds
        while self.now < end:
            busy = False
            while self.packets:
                self.deliver(self.packets[0])
                busy = True
            for number in self.nodes:
                busy = self.commit(number) or self.load(number) or busy
            if busy:
                continue
            deadlines = [
                deadline
                for node in self.nodes.values()
                if node.engine is not None and (deadline := node.engine.deadline()) is not None
            ]
            if not deadlines:
                return
            self.tick(max(min(deadlines) - self.now, 0.0001))

    def result(self, operation: Operation) -> Result | None:
        """The answer to an operation, None as long as there is none."""
        found = [result for answered, result in self.answers if answered is operation]
        assert len(found) <= 1, "an operation is answered once"
        return found[0] if found else None

    def run(self, number: int, operation: Operation) -> Result:
        """Submit, and let everything happen until it is answered."""
        self.submit(number, operation)
        self.settle()
        result = self.result(operation)
        assert result is not None, f"{operation} was never answered"
        return result

    def of(self, source: int, target: int, kind: type | None = None) -> list[Packet]:
        """What is in flight on one link, oldest first."""
        return [
            packet
            for packet in self.packets
            if (packet.source, packet.target) == (source, target) and kind in (None, type(packet.message))
        ]

    def exchange(self, *numbers: int) -> None:
        """Deliver and commit among these nodes, and drop what goes to and comes from others, until nothing happens."""
        busy = True
        while busy:
            busy = False
            while self.packets:
                packet = self.packets[0]
                if packet.source in numbers and packet.target in numbers:
                    self.deliver(packet)
                else:
                    self.packets.remove(packet)
                busy = True
            for number in numbers:
                busy = self.commit(number) or self.load(number) or busy
