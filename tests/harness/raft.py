"""A cluster of log engines whose network, disks and time are in the hands of a test, and whose safety is watched.

As in `harness.cluster`, messages travel as bytes, a disk keeps what was committed, and nothing happens by itself. After
every turn the five properties of the paper (dissertation, figure 3.2) are asserted, and whatever leaves a node is held
against what is on its disk.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from paxoskv.core.engine import Effects, Scan
from paxoskv.core.operations import OK, Operation, Result
from paxoskv.raft import messages
from paxoskv.raft.context import Timing
from paxoskv.raft.election import LEADER
from paxoskv.raft.engine import BASE_KEY, RaftEngine
from paxoskv.raft.entry import POSITION_BITS, decode_entry, unpack
from paxoskv.raft.messages import Message
from paxoskv.wire import framing, peer, raft

LIMIT = 1024 * 1024


class Unsafe(AssertionError):
    """A property that must hold does not."""


class View:
    """What journal rows and folded records say of a log, kept by hand: the terms of its entries, and term and vote."""

    def __init__(self) -> None:
        self.base = 0
        self.base_term = 0
        self.terms: dict[int, int] = {}
        """Of the entries after the base."""
        self.term = 0
        self.vote = 0

    def copy(self) -> "View":
        view = View()
        view.base, view.base_term, view.terms = self.base, self.base_term, dict(self.terms)
        view.term, view.vote = self.term, self.vote
        return view

    def take(self, message: Message) -> None:
        """Go on as a row does that holds the message."""
        if isinstance(message, messages.HardState):
            if (message.term, message.vote) > (self.term, self.vote):
                self.term, self.vote = message.term, message.vote
        elif isinstance(message, messages.Append):
            previous = message.previous_index
            if previous >= self.base and self.term_at(previous) != message.previous_term:
                # Older than the base, and taken back by a later row.
                return
            for index, entry in enumerate(message.entries, previous + 1):
                if index > self.base and self.terms.get(index) != entry.term:
                    for later in [i for i in self.terms if i > index]:
                        del self.terms[later]
                    self.terms[index] = entry.term
        elif isinstance(message, messages.Install):
            self.rebase(message.base.index, message.base.term)

    def rebase(self, index: int, term: int) -> None:
        """The effects of everything up to there are in records."""
        if index > self.base:
            follows = self.terms.get(index) == term
            self.terms = {i: t for i, t in self.terms.items() if i > index} if follows else {}
            self.base, self.base_term = index, term

    def term_at(self, index: int) -> int | None:
        return self.base_term if index == self.base else self.terms.get(index)

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry is there, or its effects are."""
        return index < self.base or self.term_at(index) == term


@dataclass
class Disk:
    """Rows that are committed, rows on their way there, and records that a checkpoint wrote."""

    rows: list[list[bytes]] = field(default_factory=list)
    queued: list[tuple[int, list[bytes], list[Message]]] = field(default_factory=list)
    records: dict[bytes, bytes] = field(default_factory=dict)
    incarnation: int = 0
    trimmed: int = 0
    view: View = field(default_factory=View)
    """What a restart would find."""

    def commit_one(self) -> int:
        """The oldest queued row gets to the disk; its sequence."""
        sequence, row, said = self.queued.pop(0)
        self.rows.append(row)
        for message in said:
            self.view.take(message)
        return sequence

    def fold(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        """A slice of a checkpoint gets to the disk."""
        self.records.update(records)
        if BASE_KEY in dict(records):
            self._replay()

    def trim(self, boundary: int) -> None:
        """Forget the rows up to a boundary."""
        del self.rows[: boundary - self.trimmed]
        self.trimmed = boundary
        self._replay()

    def _replay(self) -> None:
        self.view = View()
        index, term, _, self.view.term, self.view.vote, tail = unpack(self.records[BASE_KEY])
        self.view.rebase(index, term)
        self.view.terms = {i: decode_entry(encoded).term for i, encoded in enumerate(tail, index + 1)}
        for row in self.rows:
            for encoded in row:
                self.view.take(raft.CODEC.decode(encoded))


@dataclass(eq=False)
class Packet:
    """One frame in flight, and what is in it, for tests to choose by."""

    source: int
    target: int
    message: Message
    frame: bytes


class Node:
    """One engine with its disk; `engine` is None while it is down."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.disk = Disk()
        self.engine: RaftEngine | None = None
        self.seen: dict[int, int] = {}
        self.loads: list[bytes] = []
        self.scans: list[Scan] = []
        self.checkpoint: Iterator[None] | None = None
        # What the last turn left, to see what the next one makes of it.
        self.view = View()
        """The log as it is, on disk or not."""
        self.led: tuple[int, int, int] | None = None
        """(term, last index, truncations) while leader."""
        self.checked = 0
        """Applied entries up to here were held against the others'."""


Build = Callable[..., RaftEngine]


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
        log_bytes: int = 1 << 25,
        lease_reads: bool = False,
        build: Build = RaftEngine,
        start: bool = True,
    ) -> None:
        self.now = 0.0
        self.rng = random.Random(seed)
        self.trace = trace or (lambda line: None)
        self.scan_records = 3
        self.packets: list[Packet] = []
        self.answers: list[tuple[Operation, Result]] = []
        self.nodes = {number: Node(number) for number in range(1, nodes + 1)}
        self.quorum = nodes // 2 + 1
        self._build = build
        self._options = {
            "timing": timing,
            "cache_bytes": cache_bytes,
            "value_bytes_max": value_bytes_max,
            "log_bytes": log_bytes,
            "lease_reads": lease_reads,
        }
        # What was true once and must stay so.
        self.leaders: dict[int, int] = {}
        """Who led in a term."""
        self.entries: dict[tuple[int, int], tuple[bytes, int]] = {}
        """(index, term) of every entry that any log ever held: its bytes, and the term before it."""
        self.chosen: dict[int, int] = {}
        """The term of every entry that anybody took for committed."""
        self.states: dict[tuple[bytes, int], bytes | None] = {}
        """What each version of each key is."""
        if start:
            for number in self.nodes:
                self.restart(number)

    def engine(self, number: int) -> RaftEngine:
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
        engine = self._build(
            number,
            disk.incarnation,
            tuple(self.nodes),
            random.Random(self.rng.getrandbits(64)),
            empty=not disk.records,
            **self._options,
        )
        for row in [[], *disk.rows]:
            journal = [raft.CODEC.decode(encoded) for encoded in row]
            while missing := engine.recover(journal):
                engine.loaded({key: disk.records.get(key) for key in missing}, self.now)
        node.engine = engine
        node.seen = {}
        node.led = None
        node.view = disk.view.copy()
        node.checked = engine.machine.applied
        self.trace(f"restart {number}")
        for other in self.nodes.values():
            if other.engine is not None and other is not node:
                engine.peer_up(other.number, other.disk.incarnation, self.now)
                node.seen[other.number] = other.disk.incarnation
                other.engine.peer_up(number, disk.incarnation, self.now)
                other.seen[number] = disk.incarnation
                self.turn(other.number)
        self.turn(number)

    def crash(self, number: int, committed: int = 0, notice: bool = True) -> None:
        """Kill a node. Of the rows on their way to its disk, the first `committed` arrive all the same.

        Without `notice` nobody hears of it, as when a machine loses its power.
        """
        node = self.nodes[number]
        assert node.engine is not None
        for _ in range(committed):
            node.disk.commit_one()
        node.disk.queued.clear()
        node.loads.clear()
        node.scans.clear()
        node.checkpoint = None
        node.engine = None
        self.trace(f"crash {number}")
        if notice:
            for other in self.nodes.values():
                if other.engine is not None:
                    other.engine.peer_lost(number, self.now)
                    self.turn(other.number)

    # Turns.

    def turn(self, number: int) -> None:
        """End a node's turn: send, queue for its disk, collect answers."""
        node = self.nodes[number]
        assert node.engine is not None
        effects = node.engine.take_effects()
        self._watch(node, effects)
        for target in sorted(effects.sends):
            header = peer.Header("test", 1, number, node.disk.incarnation, node.seen.get(target, 0))
            for message in effects.sends[target]:
                for frame in peer.pack_frames(header, [raft.CODEC.encode(message)], LIMIT * 4):
                    self.packets.append(Packet(number, target, message, frame))
                    self.trace(f"{number}->{target} {message}")
        if effects.journal:
            row = [raft.CODEC.encode(message) for message in effects.journal]
            node.disk.queued.append((effects.sequence, row, effects.journal))
        for operation, result in effects.answers:
            self.answers.append((operation, result))
            self.trace(f"{number} answers {operation} {result}")
        node.loads.extend(effects.loads)
        node.scans.extend(effects.scans)

    def submit(self, number: int, *operations: Operation) -> None:
        for operation in operations:
            self.trace(f"submit {number} {operation}")
        self.engine(number).submit(operations, self.now)
        self.turn(number)

    def deliver(self, packet: Packet, keep: bool = False) -> None:
        """Hand a packet over; `keep` leaves a duplicate in flight."""
        if not keep:
            self.packets.remove(packet)
        node = self.nodes[packet.target]
        if node.engine is None:
            return
        header, encoded = peer.parse_frame(framing.unpack(packet.frame[framing.LENGTH_BYTES :]))
        if header.recipient_incarnation != node.disk.incarnation:
            return
        if node.seen.get(header.sender, 0) > header.incarnation:
            return
        if node.seen.get(header.sender) != header.incarnation:
            node.seen[header.sender] = header.incarnation
            node.engine.peer_up(header.sender, header.incarnation, self.now)
        node.engine.receive(header.sender, [raft.CODEC.decode(message) for message in encoded], self.now)
        self.trace(f"{packet.target} has {packet.source}'s {type(packet.message).__name__}")
        self.turn(packet.target)

    def commit(self, number: int) -> bool:
        """The node's disk finishes the oldest group it was given."""
        node = self.nodes[number]
        if node.engine is None or not node.disk.queued:
            return False
        sequence = node.disk.commit_one()
        self.trace(f"{number} committed {sequence}")
        node.engine.committed(sequence, self.now)
        self.turn(number)
        return True

    def load(self, number: int) -> bool:
        """The node's disk answers what was asked of it."""
        node = self.nodes[number]
        if node.engine is None or not (node.loads or node.scans):
            return False
        disk = node.disk
        if node.loads:
            keys, node.loads = node.loads, []
            node.engine.loaded({key: disk.records.get(key) for key in keys}, self.now)
        scans, node.scans = node.scans, []
        for start, end, floor, wanted, limit in scans:
            keys = sorted(key for key in disk.records if key and key >= start and (end is None or key < end))
            looked = keys[: min(self.scan_records, limit or self.scan_records)]
            found = [(key, disk.records[key]) for key in looked if disk.records[key] >= floor]
            node.engine.scanned(wanted, found, looked[-1] if len(keys) > len(looked) else None, self.now)
        self.turn(number)
        return True

    def step_checkpoint(self, number: int) -> None:
        """Begin a checkpoint, or do one step of the one that has begun: a slice, or the end."""
        node = self.nodes[number]
        assert node.engine is not None
        if node.checkpoint is None:
            node.checkpoint = self._checkpoint(node, node.engine)
        try:
            next(node.checkpoint)
        except StopIteration:
            node.checkpoint = None

    def _checkpoint(self, node: Node, engine: RaftEngine) -> Iterator[None]:
        disk = node.disk
        boundary = disk.trimmed + len(disk.rows)
        engine.begin_checkpoint()
        self.trace(f"{node.number} begins a checkpoint")
        yield
        while records := engine.checkpoint_slice(2):
            disk.fold(records)
            engine.folded([key for key, _ in records])
            self.turn(node.number)
            yield
        disk.trim(boundary)
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

    def settle(self, seconds: float = 3.0, until: Callable[[], bool] | None = None) -> None:
        """Everything works and time passes, for so long, or until something holds."""
        end = self.now + seconds
        while self.now < end:
            busy = True
            while busy:
                if until is not None and until():
                    return
                busy = False
                while self.packets:
                    self.deliver(self.packets[0])
                    busy = True
                for number in self.nodes:
                    busy = self.commit(number) or self.load(number) or busy
            deadlines = [
                deadline
                for node in self.nodes.values()
                if node.engine is not None and (deadline := node.engine.deadline()) is not None
            ]
            self.tick(max(min(deadlines, default=end) - self.now, 0.0001))
        assert until is None or until(), "it did not come to that in time"

    # For tests.

    def leader(self) -> int:
        """Who leads in the latest term, 0 if nobody does."""
        leading = {
            node.engine.election.term: number
            for number, node in self.nodes.items()
            if node.engine is not None and node.engine.leader is not None
        }
        return leading[max(leading)] if leading else 0

    def elect(self, number: int) -> None:
        """Have that node stand for election, everything else working, until all know that it leads."""
        if self.leader() != number:
            trials = self.engine(number).election.counters["trials"]
            while self.engine(number).election.counters["trials"] == trials:
                self.tick(0.05, number)
            self.settle(until=lambda: self.leader() == number)
        self.settle(
            until=lambda: all(
                self.engine(other).election.leader == number
                and self.engine(other).machine.applied == self.engine(number).log.last_index
                for other in self.up
            )
        )

    def of(self, source: int, target: int, kind: type | None = None) -> list[Packet]:
        """What is in flight on one link, oldest first."""
        return [
            packet
            for packet in self.packets
            if (packet.source, packet.target) == (source, target) and kind in (None, type(packet.message))
        ]

    def hand(self, source: int, target: int, kind: type | None = None) -> None:
        """Deliver what is in flight on one link by now, in order."""
        for packet in self.of(source, target, kind):
            self.deliver(packet)

    def say(self, source: int, target: int, message: Message) -> list[Message]:
        """One node hears a message, whoever sent it; what it answers to `source` at once, which is not sent."""
        before = list(self.packets)
        self.engine(target).receive(source, [raft.CODEC.decode(raft.CODEC.encode(message))], self.now)
        self.turn(target)
        said = [packet for packet in self.of(target, source) if packet not in before]
        self.packets = [packet for packet in self.packets if packet not in said]
        return [packet.message for packet in said]

    def exchange(self, *numbers: int) -> None:
        """Deliver and commit among these nodes, and drop what goes to and comes from others, until nothing happens."""
        busy = True
        while busy:
            busy = False
            for packet in list(self.packets):
                if packet not in self.packets:
                    continue
                if packet.source in numbers and packet.target in numbers:
                    self.deliver(packet)
                else:
                    self.packets.remove(packet)
                busy = True
            for number in numbers:
                busy = self.commit(number) or self.load(number) or busy

    def result(self, operation: Operation) -> Result | None:
        """The answer to an operation, None as long as there is none."""
        found = [result for answered, result in self.answers if answered is operation]
        assert len(found) <= 1, "an operation is answered once"
        return found[0] if found else None

    def run(self, number: int, operation: Operation) -> Result:
        """Submit, and let everything happen until it is answered."""
        self.submit(number, operation)
        self.settle(30.0, until=lambda: self.result(operation) is not None)
        result = self.result(operation)
        assert result is not None
        return result

    # What must hold.

    def _watch(self, node: Node, effects: Effects[Message]) -> None:
        engine = node.engine
        assert engine is not None
        log, election = engine.log, engine.election
        term = election.term
        leads = election.role == LEADER
        if leads:
            if self.leaders.setdefault(term, node.number) != node.number:
                raise Unsafe(f"(S1) nodes {self.leaders[term]} and {node.number} both lead in term {term}")
            if node.led is None or node.led[0] != term:
                self._check_completeness(node, engine)
            elif log.last_index < node.led[1] or log.truncations != node.led[2]:
                raise Unsafe(f"(S2) node {node.number} took entries out of its log while it led")
        node.led = (term, log.last_index, log.truncations) if leads else None
        for message in effects.journal:
            node.view.take(message)
            if isinstance(message, messages.Append):
                self._check_matching(message)
        if log.last_index > node.view.base and log.last_term != node.view.term_at(log.last_index):
            raise Unsafe(f"node {node.number} journaled something else than it holds")
        if log.committed > log.last_index:
            raise Unsafe(f"node {node.number} takes for committed what it does not have")
        for index in range(max(node.checked, node.view.base - 1) + 1, engine.machine.applied + 1):
            applied = node.view.term_at(index)
            if self.chosen.setdefault(index, applied or 0) != applied:
                raise Unsafe(
                    f"(S5) node {node.number} applies entry {index} of term {applied}, not {self.chosen[index]}"
                )
        node.checked = max(node.checked, engine.machine.applied)
        for key, record in engine.records.resident.items():
            if record.version and self.states.setdefault((key, record.version), record.value) != record.value:
                raise Unsafe(f"(S5) version {record.version} of {key!r} is not everywhere the same")
        self._check_disk(node, effects)

    def _check_completeness(self, node: Node, engine: RaftEngine) -> None:
        view = node.disk.view
        if (view.term, view.vote) != (engine.election.term, node.number):
            raise Unsafe(f"(D1) node {node.number} leads, and its own vote is not on its disk")
        for index, term in self.chosen.items():
            if not node.view.holds(index, term):
                raise Unsafe(
                    f"(S4) node {node.number} leads in term {engine.election.term} without the committed entry {index}"
                )

    def _check_matching(self, message: messages.Append) -> None:
        previous = message.previous_term
        for index, entry in enumerate(message.entries, message.previous_index + 1):
            known = self.entries.setdefault((index, entry.term), (entry.encoded, previous))
            if known != (entry.encoded, previous):
                raise Unsafe(f"(S3) entry {index} of term {entry.term} is not everywhere the same")
            previous = entry.term

    def _check_disk(self, node: Node, effects: Effects[Message]) -> None:
        engine = node.engine
        assert engine is not None
        for target, sent in effects.sends.items():
            for message in sent:
                if isinstance(message, messages.Appended) and message.match:
                    term = node.view.term_at(message.match)
                    view = node.disk.view
                    stored = view.term_at(message.match)
                    if message.match > view.base and (stored is None or term not in (None, stored)):
                        raise Unsafe(f"(D1) node {node.number} acknowledges {message.match}, which is not on its disk")
                elif (
                    isinstance(message, messages.Vote)
                    and message.granted
                    and not message.is_trial
                    and (node.disk.view.term, node.disk.view.vote) != (message.term, target)
                ):
                    raise Unsafe(f"(D1) node {node.number} gives a vote that is not on its disk")
        for operation, result in effects.answers:
            index = result.version >> POSITION_BITS
            if result.status == OK and operation.kind and index:
                term = self.chosen.get(index, 0)
                holders = sum(other.disk.view.holds(index, term) for other in self.nodes.values())
                if holders < self.quorum:
                    raise Unsafe(f"(D1) node {node.number} answers {operation}, which {holders} disks hold")
