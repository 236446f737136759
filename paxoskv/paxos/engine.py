"""The leaderless engine: one node's acceptor, proposer, reader and repair behind the contract of `core.engine`."""

import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from paxoskv.core import operations
from paxoskv.core.engine import Effects, Scan
from paxoskv.core.limits import Capacity
from paxoskv.core.operations import Operation
from paxoskv.core.placement import Placement
from paxoskv.core.scan import LocalPages, ScanOperation
from paxoskv.core.sweep import Sweep
from paxoskv.paxos import ballot as ballots
from paxoskv.paxos.acceptor import Acceptor
from paxoskv.paxos.context import Context, Timing
from paxoskv.paxos.directed import Directed
from paxoskv.paxos.messages import (
    Accepted,
    Fetched,
    Fetches,
    Message,
    Page,
    Pages,
    Promised,
    Proposals,
    Reads,
    Refusal,
    Refused,
    Registers,
    RelayAnswers,
    Relays,
    Versions,
)
from paxoskv.paxos.proposer import Proposer
from paxoskv.paxos.reader import Reader
from paxoskv.paxos.records import Record, Records
from paxoskv.paxos.register import expiry
from paxoskv.paxos.repair import Repair
from paxoskv.paxos.scanner import Scanner

_ANSWER_BYTES_MAX: Final = 512 * 1024
# What a change of one key keeps in memory besides key and register: its record, for one that is new, and what it was.
_CHANGE_BYTES: Final = 512
_EVICTION_SWEEP_MAX: Final = 1024
_SLICE_BYTES_MAX: Final = 256 * 1024
# So long past its time, a value is swept by whoever finds it.
_OVERDUE_MS: Final = 60_000
_NEVER: Final = float("inf")


class _ParkedMessage:
    """A peer's message, or the own vote, until the records of its keys are in memory."""

    __slots__ = ("bytes", "message", "missing", "sender")

    def __init__(self, sender: int, message: Message, missing: int, bytes_: int) -> None:
        self.sender = sender
        self.message = message
        self.bytes = bytes_
        self.missing = missing
        """How many of its keys have not come."""


class _ParkedOperations:
    """Operations on one key whose record is being loaded."""

    __slots__ = ("operations", "since")

    def __init__(self, since: float) -> None:
        self.operations: list[Operation] = []
        self.since = since


class PaxosEngine:
    """One replica of a leaderless cluster. See `core.engine.Engine` for what each method owes and is owed."""

    def __init__(
        self,
        node: int,
        incarnation: int,
        placement: Placement,
        rng: random.Random,
        *,
        timing: Timing | None = None,
        cache_bytes: int = 256 * 1024 * 1024,
        value_bytes_max: int = 1024 * 1024,
        capacity: Capacity | None = None,
        empty: bool = False,
        sweeps: bool = False,
    ) -> None:
        """`sweeps`: what has expired is made absent though nobody reads it.
        `empty`: storage has no record of any key, so that none need be asked for."""
        self.node = node
        capacity = capacity or Capacity()
        self.context = Context(node, incarnation, placement, rng, timing or Timing(), value_bytes_max, capacity)
        self.records = Records(cache_bytes)
        self.records.complete = empty
        self.acceptor = Acceptor(self.records)
        self.directed = Directed(self.context, self._vote)
        self.reader = Reader(self.context, self.acceptor, self.directed, self._settle, self._load)
        self.repair = Repair(self.context, self.acceptor, self.directed, self._load)
        self.proposer = Proposer(self.context, self.records, self._vote, self._read, self.repair.add)
        self.pages = LocalPages(self.records, self._ask)
        self.scanner = Scanner(self.context, self.acceptor, self.pages, self._get)
        self.sweep = Sweep(self.pages, self._expiries, self._get) if sweeps else None
        self._effects: Effects[Message] = Effects()
        self._held: deque[tuple[int, int, list[Message]]] = deque()
        """What waits for the disk: (turn, peer, messages), in the order of the turns."""
        self._backlog: deque[tuple[int, int, float]] = deque()
        """(turn, bytes, since when) of what is journaled and not on disk."""
        self._backlog_bytes = 0
        self._turn_bytes = 0
        """Of what this turn has journaled so far."""
        self._incarnations: dict[int, int] = {}
        self._loading: set[bytes] = set()
        self._parked_operations: dict[bytes, _ParkedOperations] = {}
        self._parked_messages: dict[_ParkedMessage, None] = {}
        """In the order of their arrival,"""
        self._parked_bytes = 0
        self._awaited: dict[bytes, list[_ParkedMessage]] = {}
        """and by the keys that they wait for."""
        self._handlers = {
            Proposals: self._on_proposals,
            Accepted: self._on_accepted,
            Promised: self._on_promised,
            Refused: self._on_refused,
            Reads: self._on_reads,
            Versions: self._on_versions,
            Fetches: self._on_fetches,
            Registers: self._on_registers,
            Relays: self._on_relays,
            RelayAnswers: self._on_relay_answers,
            Pages: self._on_pages,
            Page: self._on_page,
        }
        self.counters = {"operations": 0, "ignored_while_disk_hangs": 0, "parked_dropped": 0}

    # What clients ask.

    def submit(self, operations_: Iterable[Operation], now: float) -> None:
        context = self.context
        context.advance(now)
        records = self.records
        resident = records.resident
        for operation in operations_:
            self.counters["operations"] += 1
            if context.in_flight >= context.capacity.operations:
                context.refuse(operation)
                continue
            context.in_flight += 1
            record = resident.get(operation.key)
            if operation.kind == operations.GET:
                if record is not None or records.complete:
                    if not self.proposer.joins(operation):
                        self.reader.submit(operation, True)
                    continue
            elif record is not None or (record := records.get(operation.key)) is not None:
                self.proposer.submit(operation, record)
                continue
            self._park(operation)

    def scan(self, operation: ScanOperation, now: float) -> None:
        context = self.context
        context.advance(now)
        self.counters["operations"] += 1
        if context.in_flight >= context.capacity.operations:
            context.refuse(operation)
            return
        context.in_flight += 1
        self.scanner.submit(operation)

    def _get(self, operation: Operation) -> None:
        """A get of this engine's own, whose answer stays here."""
        self.context.begin_inner()
        if self.records.has((operation.key,)):
            self.reader.submit(operation, True)
        else:
            self._park(operation)

    def _park(self, operation: Operation) -> None:
        parked = self._parked_operations.get(operation.key)
        if parked is None:
            parked = self._parked_operations[operation.key] = _ParkedOperations(self.context.now)
            self._load([operation.key])
        parked.operations.append(operation)

    def _load(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            # A resident record is newer than storage. Asked for all the same, it could change, be written and leave
            # memory before the answer comes, and an older copy would take its place.
            # While the disk hangs they pile up. What is asked for beyond that is not read from here: see `tick`.
            if (
                key not in self._loading
                and key not in self.records.resident
                and len(self._loading) < self.context.capacity.loads
            ):
                self._loading.add(key)
                self._effects.loads.append(key)

    def loaded(self, records: Mapping[bytes, bytes | None], now: float) -> None:
        self.context.advance(now)
        for key, blob in records.items():
            self._loading.discard(key)
            record = self.records.admit(key, blob)
            parked = self._parked_operations.pop(key, None)
            if parked is not None:
                for operation in parked.operations:
                    if operation.done:
                        continue
                    if operation.kind == operations.GET:
                        self.reader.submit(operation, True)
                    else:
                        self.proposer.submit(operation, record)
        self.reader.loaded()
        ready: list[_ParkedMessage] = []
        for key in records:
            for waiting in self._awaited.pop(key, ()):
                waiting.missing -= 1
                if not waiting.missing:
                    ready.append(waiting)
        for waiting in ready:
            # Unless its sender has been restarted meanwhile.
            if waiting in self._parked_messages:
                del self._parked_messages[waiting]
                self._parked_bytes -= waiting.bytes
                self._handlers[type(waiting.message)](waiting.sender, waiting.message)

    def _expiries(self, keys: list[bytes], blobs: dict[bytes, bytes]) -> Iterable[tuple[bytes, int, bool]]:
        """Which of the keys expire, when, and whether this node sees to that: it does where it proposed the value,
        which it may still hold, so that no two nodes do; a while later everybody does, since that one may be gone."""
        resident = self.records.resident
        overdue = self.context.wall_ms - _OVERDUE_MS
        for key in keys:
            record = resident.get(key)
            if record is None and key in blobs:
                record = Record.from_blob(key, blobs[key])
            if record is None or not record.register:
                continue
            expires_at = expiry(record.register)
            if expires_at:
                proposer = ballots.node_of(ballots.ballot_of(record.accepted))
                yield key, expires_at, proposer == self.node or expires_at <= overdue

    def _ask(self, scan: Scan) -> None:
        self._effects.scans.append(scan)

    def scanned(self, number: int, records: Sequence[tuple[bytes, bytes]], after: bytes | None, now: float) -> None:
        self.context.advance(now)
        self.pages.scanned(number, records, after)

    def _settle(self, operation: Operation) -> None:
        self.proposer.submit(operation, self.records.get(operation.key))

    def _read(self, operation: Operation) -> None:
        self.reader.submit(operation, self.records.has((operation.key,)))

    # What peers say.

    def receive(self, sender: int, messages: Sequence[Message], now: float) -> None:
        self.context.advance(now)
        self.context.heard[sender] = now
        handlers = self._handlers
        for message in messages:
            handlers[type(message)](sender, message)

    def _resident(self, sender: int, message: Message, keys: Sequence[bytes]) -> bool:
        """Whether all keys are in memory; else the message waits for them, or is dropped if too many do."""
        missing = self.records.missing(keys)
        if not missing:
            return True
        capacity = self.context.capacity
        size = _changes_bytes(message) if type(message) is Proposals else _CHANGE_BYTES * len(keys)
        if (
            len(self._parked_messages) >= capacity.parked_messages or len(self._loading) + len(missing) > capacity.loads
        ) or (
            # All that wait for one record go into one row of the journal.
            self._parked_messages and self._parked_bytes + size > capacity.backlog_bytes
        ):
            self.counters["parked_dropped"] += 1
            return False
        # Looked at again when all of its keys have come, not at each: there may be many messages of many keys.
        wanted = dict.fromkeys(missing)
        parked = _ParkedMessage(sender, message, len(wanted), size)
        self._parked_messages[parked] = None
        self._parked_bytes += size
        for key in wanted:
            self._awaited.setdefault(key, []).append(parked)
        self._load(missing)
        return False

    @property
    def muted(self) -> bool:
        """The disk is so far behind that this acceptor takes nothing more."""
        return self._backlog_bytes > self.context.capacity.backlog_bytes

    def _on_proposals(self, sender: int, message: Any) -> None:
        if self.muted:
            self.counters["ignored_while_disk_hangs"] += 1
            return
        if self._resident(sender, message, message.accept_keys) and (
            not message.prepare_keys or self._resident(sender, message, message.prepare_keys)
        ):
            self._apply(sender, message)

    def _vote(self, message: Proposals) -> None:
        """The own acceptor's turn. Its answer counts when its own commit is done, no earlier (B10)."""
        self._on_proposals(self.node, message)

    def _apply(self, sender: int, message: Proposals) -> None:
        acceptor = self.acceptor
        answers: list[Message] = []
        wait = 0
        refusals: list[Refusal] = []
        if message.prepare_keys:
            accepted, registers, refusals, wait = acceptor.prepare(
                message.prepare_keys, message.prepare_ballots, message.prepare_known
            )
            answers = _promised(message, accepted, registers, refusals, acceptor.floor)
        if message.accept_keys:
            refused, accept_wait = acceptor.accept(
                message.accept_keys, message.accept_versions, message.accept_registers
            )
            # After the promises: an acknowledged batch that everybody has is forgotten.
            answers.append(Accepted(message.number, tuple(refused)))
            wait = max(wait, accept_wait)
            refusals = refusals + refused
        if wait == acceptor.sequence:
            self._effects.journal.append(message)
            self._turn_bytes += _changes_bytes(message)
        if wait <= acceptor.durable:
            self._deliver(sender, answers)
            return
        self._held.append((wait, sender, answers))
        if refusals:
            self._deliver(sender, [Refused(message.number, tuple(refusals))])

    def _deliver(self, peer: int, messages: list[Message]) -> None:
        for message in messages:
            if peer == self.node:
                self._handlers[type(message)](peer, message)
            else:
                self.context.send(peer, message)

    def _on_accepted(self, sender: int, message: Any) -> None:
        if not self.proposer.on_accepted(sender, message):
            self.directed.on_accepted(sender, message)

    def _on_promised(self, sender: int, message: Any) -> None:
        self.proposer.on_promised(sender, message)

    def _on_refused(self, sender: int, message: Any) -> None:
        self.proposer.on_refused(message)

    def _on_reads(self, sender: int, message: Any) -> None:
        if self.records.complete or self._resident(sender, message, message.keys):
            versions, _ = self.acceptor.read(message.keys)
            self.context.send(sender, Versions(message.number, tuple(versions), self.acceptor.floor))

    def _on_versions(self, sender: int, message: Any) -> None:
        self.reader.on_versions(sender, message)

    def _on_fetches(self, sender: int, message: Any) -> None:
        keys = [fetch.key for fetch in message.items]
        if not self.records.complete and not self._resident(sender, message, keys):
            return
        versions, registers = self.acceptor.read(keys)
        items: list[Fetched] = []
        size = 0
        for fetch, version, register in zip(message.items, versions, registers, strict=True):
            items.append(Fetched(fetch.number, version, register))
            size += len(register)
            if size > _ANSWER_BYTES_MAX:
                self.context.send(sender, Registers(tuple(items)))
                items, size = [], 0
        if items:
            self.context.send(sender, Registers(tuple(items)))

    def _on_registers(self, sender: int, message: Any) -> None:
        self.reader.on_registers(sender, message)

    def _on_relays(self, sender: int, message: Any) -> None:
        self.proposer.on_relays(sender, message)

    def _on_relay_answers(self, sender: int, message: Any) -> None:
        self.proposer.relaying.on_answers(sender, message)

    def _on_pages(self, sender: int, message: Any) -> None:
        self.scanner.on_pages(sender, message)

    def _on_page(self, sender: int, message: Any) -> None:
        self.scanner.on_page(sender, message)

    def peer_up(self, peer: int, incarnation: int, now: float) -> None:
        self.context.advance(now)
        if self._incarnations.get(peer) != incarnation:
            # What waits here for its former incarnation must not reach the new one: it would take answers to its
            # predecessor's ballots and batches for answers to its own (B9).
            self._incarnations[peer] = incarnation
            self._held = deque(held for held in self._held if held[1] != peer)
            self._parked_messages = {parked: None for parked in self._parked_messages if parked.sender != peer}
            self._parked_bytes = sum([parked.bytes for parked in self._parked_messages])
            self.context.sends.pop(peer, None)
            self.proposer.peer_restarted(peer)
            self.scanner.peer_restarted(peer)
        self.context.up.add(peer)
        self.context.heard[peer] = now
        self.proposer.peer_returned(peer)
        self.reader.peer_returned(peer)

    def peer_lost(self, peer: int, now: float) -> None:
        self.context.advance(now)
        self.context.up.discard(peer)
        self.proposer.relaying.peer_lost(peer)
        self.directed.peer_lost(peer)
        self.repair.peer_lost(peer)

    # The disk.

    def wall(self, milliseconds: int) -> None:
        # A clock before 1970 says nothing, and is no reason to write what no node would decode.
        self.context.wall_ms = max(0, milliseconds)

    def committed(self, sequence: int, now: float) -> None:
        self.context.advance(now)
        self.acceptor.committed(sequence)
        backlog = self._backlog
        while backlog and backlog[0][0] <= sequence:
            self._backlog_bytes -= backlog.popleft()[1]
        held = self._held
        while held and held[0][0] <= sequence:
            _, peer, messages = held.popleft()
            self._deliver(peer, messages)

    def recover(self, journal: Sequence[Message]) -> list[bytes]:
        missing: dict[bytes, None] = {}
        for message in journal:
            assert isinstance(message, Proposals)
            missing.update(dict.fromkeys(self.records.missing(message.prepare_keys)))
            missing.update(dict.fromkeys(self.records.missing(message.accept_keys)))
        if missing:
            return list(missing)
        acceptor = self.acceptor
        for message in journal:
            assert isinstance(message, Proposals)
            acceptor.prepare(message.prepare_keys, message.prepare_ballots, message.prepare_known)
            acceptor.accept(message.accept_keys, message.accept_versions, message.accept_registers)
        # All of this is on disk: it is the past of the next turn.
        acceptor.end_turn()
        acceptor.committed(acceptor.sequence - 1)
        self.records.evict(_EVICTION_SWEEP_MAX)
        return []

    def begin_checkpoint(self) -> int:
        return self.records.begin_checkpoint()

    def order_checkpoint(self) -> bool:
        return self.records.order_checkpoint()

    def checkpoint_slice(self, limit: int) -> list[tuple[bytes, bytes]]:
        return self.records.checkpoint_slice(limit, _SLICE_BYTES_MAX)

    def folded(self, keys: Sequence[bytes]) -> None:
        self.records.folded(keys)

    @property
    def wants_checkpoint(self) -> bool:
        return self.records.wants_checkpoint

    # Time, and the end of a turn.

    def tick(self, now: float) -> None:
        self.context.advance(now)
        timing = self.context.timing
        for key, parked in list(self._parked_operations.items()):
            # The own disk does not read: go on without it, by the others' quorum.
            if parked.since + timing.load_patience_s <= now:
                del self._parked_operations[key]
                for operation in parked.operations:
                    if operation.kind == operations.GET:
                        self.reader.submit(operation, False)
                    else:
                        self.proposer.submit(operation, None)
        self.proposer.tick()
        self.reader.tick()
        self.repair.tick()
        self.directed.tick()
        self.scanner.tick()
        self.pages.tick(now)
        if self.sweep is not None:
            self.sweep.tick(now, self.context.wall_ms, self.acceptor.expiry_seen)

    def retire(self, now: float) -> None:
        """Nobody depends on this node more than on any other."""

    @property
    def retired(self) -> bool:
        return True

    @property
    def writes_to(self) -> int:
        return 0

    def command(self, name: str, argument: Any, now: float) -> str:
        return f"unknown command {name!r}; the leaderless engine takes none"

    def deadline(self) -> float | None:
        if self.pages.busy:
            return self.context.now
        # One comparison for each part and no list of them: every turn asks.
        soonest = self.sweep.deadline() if self.sweep is not None else _NEVER
        if (wanted := self.proposer.deadline()) is not None and wanted < soonest:
            soonest = wanted
        if (wanted := self.reader.deadline()) is not None and wanted < soonest:
            soonest = wanted
        if (wanted := self.repair.deadline()) is not None and wanted < soonest:
            soonest = wanted
        if self._parked_operations or self.directed.waiting or self.scanner.waiting:
            soonest = min(soonest, self.context.now + self.context.timing.tick_s)
        return None if soonest == _NEVER else soonest

    def take_effects(self) -> Effects[Message]:
        context = self.context
        self.proposer.voting = not self.muted
        initial = self.proposer.initial
        initial.journaling_since = self._backlog[0][2] if self._backlog else _NEVER
        initial.floor = self.acceptor.floor
        if self.pages.busy:
            self.pages.advance()
        # In most turns there is nothing. A vote of the own acceptor, or its own copy, can answer a get at once, so that
        # there may be some again.
        while self.proposer.busy or self.directed.busy or self.reader.busy or context.has_inner:
            context.take_inner()
            self.proposer.advance()
            self.directed.flush()
            self.reader.flush()
        self.proposer.flush_relays()
        self.proposer.end_turn()
        effects = self._effects
        self._effects = Effects()
        effects.sends = context.take_sends()
        effects.answers = context.take_answers()
        acceptor = self.acceptor
        if effects.journal:
            effects.sequence = acceptor.sequence
            self._backlog.append((acceptor.sequence, self._turn_bytes, context.now))
            self._backlog_bytes += self._turn_bytes
            self._turn_bytes = 0
            acceptor.end_turn()
        self._evict()
        return effects

    def _evict(self) -> None:
        records = self.records
        if records.bytes > records.cache_bytes:
            records.evict(_EVICTION_SWEEP_MAX)

    def status(self) -> dict[str, Any]:
        return {
            "engine": {
                **self.counters,
                "overloaded": self.context.overloaded,
                **self.proposer.status(),
                **self.reader.status(),
                **self.repair.status(),
                **self.scanner.status(),
                **(self.sweep.counters if self.sweep is not None else {}),
                "disk_hangs": self.muted,
            },
            "operations_in_flight": self.context.in_flight,
            "cached_keys": len(self.records.resident) - self.records.blank,
            "cached_bytes": self.records.bytes,
            "dirty_keys": len(self.records.dirty),
            "evictions": self.records.evictions,
            "loads": self.records.loads,
        }


def _changes_bytes(message: Proposals) -> int:
    """About what the changes keep in memory until they are on disk: the row, the records, and what those were."""
    return (
        sum(map(len, message.accept_registers))
        + sum(map(len, message.accept_keys))
        + sum(map(len, message.prepare_keys))
        + _CHANGE_BYTES * (len(message.accept_keys) + len(message.prepare_keys))
    )


def _promised(
    message: Proposals,
    accepted: list[int],
    registers: list[bytes | None],
    refusals: list[Refusal],
    floor: int,
) -> list[Message]:
    """The answer to a batch's Prepares, in parts that fit a frame each."""
    bounds = [0]
    size = 0
    for index, register in enumerate(registers):
        if register is not None:
            size += len(register)
        if size > _ANSWER_BYTES_MAX and index > bounds[-1]:
            bounds.append(index)
            size = len(register or b"")
    # Each part names its own refusals, since a part can be all that arrives, and without its refusal a refused key's
    # entry looks like the promise of an acceptor that has nothing.
    refused = {refusal.key: refusal for refusal in refusals}
    return [
        Promised(
            message.number,
            start,
            tuple(accepted[start:end]),
            tuple(registers[start:end]),
            tuple([refused[key] for key in message.prepare_keys[start:end] if key in refused]) if refused else (),
            floor,
        )
        for start, end in pairwise([*bounds, len(registers)])
    ]
