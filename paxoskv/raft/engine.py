"""The log engine: one node's election, log, state machine and clients behind the contract of `core.engine`.

The journal is the log: a row holds the Append, Chunk and Install messages that changed something in a turn, behind
the term and vote if those changed. (D1) Nothing that such a row holds is acknowledged before it is on disk: not
entries, not votes, not this node's own share in a majority; the leader's own disk is one among the others.

(S1) to (S5) are the five properties of the paper, figure 3.2 of the dissertation: election safety (`election`), leader
append-only and log matching (`leader`, `log`), leader completeness (`election`, `leader`), state machine safety.
"""

import random
import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgpack

from paxoskv.core.engine import Effects, Scan
from paxoskv.core.limits import Capacity
from paxoskv.core.operations import Operation
from paxoskv.core.scan import LocalPages, ScanOperation
from paxoskv.core.sweep import Sweep
from paxoskv.raft import entry as entries
from paxoskv.raft import messages, records
from paxoskv.raft.context import Context, Flow, Timing
from paxoskv.raft.election import LEADER, Election
from paxoskv.raft.leader import Leader
from paxoskv.raft.log import Log
from paxoskv.raft.machine import Base, StateMachine
from paxoskv.raft.messages import Message
from paxoskv.raft.origin import BEHIND, HANGING, Origin
from paxoskv.raft.records import Records
from paxoskv.raft.scanner import Scanner
from paxoskv.raft.snapshot import Sender

# Entries that are applied are kept in memory for followers that lag; who lags more gets a snapshot of what has changed.
LOG_BYTES_MAX: Final = 32 * 1024 * 1024
# For a follower whose snapshot is under way as much more is kept as it needs after that, up to so many times as much.
LOG_HELD: Final = 4
# Operations applied in one turn; a longer backlog takes several, so that heartbeats get through.
_APPLY_MAX: Final = 20_000
_EVICTION_SWEEP_MAX: Final = 1024
_SLICE_BYTES_MAX: Final = 256 * 1024
# Terms grow by one at a time. A single peer that claims to be so far ahead is wrong, and following it there could leave
# nobody a term to be elected in.
TERMS_AHEAD_MAX: Final = 2**32
BASE_KEY: Final = b""
"""Where storage keeps the base; no client's key is empty."""


class RaftEngine:
    """One replica of a log cluster. See `core.engine.Engine` for what each method owes and is owed."""

    def __init__(
        self,
        node: int,
        incarnation: int,
        nodes: tuple[int, ...],
        rng: random.Random,
        *,
        timing: Timing | None = None,
        flow: Flow | None = None,
        cache_bytes: int = 256 * 1024 * 1024,
        value_bytes_max: int = 1024 * 1024,
        capacity: Capacity | None = None,
        lease_reads: bool = False,
        log_bytes: int = LOG_BYTES_MAX,
        empty: bool = False,
        sweeps: bool = False,
    ) -> None:
        """`empty`: storage has no record of any key, so that none need be asked for. `log_bytes`: what is kept in
        memory of the log beyond what is needed. `sweeps`: what has expired is made absent though nobody reads it."""
        self.node = node
        self.context = Context(node, nodes, rng, timing or Timing(), flow or Flow(), capacity or Capacity())
        self.log = Log()
        self.records = Records(cache_bytes)
        self.records.complete = empty
        self.machine = StateMachine(node, incarnation, self.records)
        self.origin = Origin(self.context, self.machine, incarnation, self._load_one)
        self.election = Election(self.context, self.log, self._on_role_changed)
        self.election.bound = lease_reads
        self.leader: Leader | None = None
        self.pages = LocalPages(self.records, self._ask)
        self.scanner = Scanner(self.context, self.records, self.pages, self._get)
        self.sweep = Sweep(self.pages, self._expiries, self._get) if sweeps else None
        self.origin.on_scan = self.scanner.take
        self._incarnations: dict[int, int] = {}
        """Of the peers, as far as they are known."""
        self._value_bytes_max = value_bytes_max
        self._lease_reads = lease_reads
        self._log_bytes = log_bytes
        self._effects: Effects[Message] = Effects()
        # The disk.
        self._sequence = 1
        """The turn whose row will hold what is journaled now."""
        self._durable_sequence = 0
        self._durable = 0
        """The log is on disk up to there."""
        self._appended: deque[tuple[int, int]] = deque()
        """(turn, last index of the log after it), as far as not on disk."""
        self._backlog: deque[tuple[int, int, float]] = deque()
        """(turn, bytes, when) of what is journaled and not on disk."""
        self._backlog_bytes = 0
        self._committed_at = float("-inf")
        """When the disk last ended something."""
        self._turn_bytes = 0
        self._base_wanted = not empty
        """Storage has a base that was not read yet."""
        self._base_blob: bytes | None = None
        """What the present checkpoint ends with."""
        self._replayed = 0
        """How many messages of the row that `recover` was given are in the log already."""
        # Following.
        self._verified = 0
        """The log equals that of this term's leader up to here."""
        self._leader_committed = 0
        self._round = 0
        """The leader's last read round."""
        self._answer_at_once = False
        self._answered = 0
        """The index of the last Appended."""
        self._stored: deque[tuple[int, int, messages.Stored]] = deque()
        """(turn, peer, answer) that wait for the disk."""
        # Loading.
        self._loading: set[bytes] = set()
        self._newest_snapshot = (0, 0)
        """Term and number of the last one of which a part has come."""
        self._overtaken: set[bytes] = set()
        """Keys among them of which a snapshot has brought newer records meanwhile."""
        self._scanning: Sender | None = None
        self._scan_out = False
        self._stalled = False
        """The next committed entry waits for records."""
        self._more_to_apply = False
        self._retiring = False
        self._ahead: set[int] = set()
        """Peers that have claimed a term far ahead of this node's."""
        self._terms_ignored = 0
        """Messages that did."""
        self._ticked_at = float("-inf")
        self._counters = dict.fromkeys(
            (
                "operations",
                "terms_led",
                "preemptions",
                "stepped_down",
                "ignored_while_disk_hangs",
                "ignored_while_behind",
                "load_stalls",
                "chunks_taken",
                "snapshots_taken",
            ),
            0,
        )
        self._past: dict[str, int] = {}
        """Counters of former terms as leader."""
        self._handlers = {
            messages.Append: self._on_append,
            messages.Appended: self._on_appended,
            messages.Rejected: self._on_rejected,
            messages.Vote: self._on_vote,
            messages.VoteRequest: self._on_vote_request,
            messages.Campaign: self._on_campaign,
            messages.Forward: self._on_forward,
            messages.Expected: self._on_expected,
            messages.ReadRequest: self._on_read_request,
            messages.ReadIndex: self._on_read_index,
            messages.Chunk: self._on_chunk,
            messages.Install: self._on_install,
            messages.Stored: self._on_stored,
            messages.HardState: self._ignore,
        }

    # What clients ask.

    def submit(self, operations_: Iterable[Operation], now: float) -> None:
        context = self.context
        context.advance(now)
        submit = self.origin.submit
        for operation in operations_:
            self._counters["operations"] += 1
            if context.in_flight >= context.capacity.operations:
                context.refuse(operation)
                continue
            context.in_flight += 1
            submit(operation)

    def scan(self, operation: ScanOperation, now: float) -> None:
        self.submit([operation], now)

    def _get(self, operation: Operation) -> None:
        """A get of this engine's own, whose answer stays here."""
        self.context.begin_inner()
        self.origin.submit(operation)
        self.origin.settling = True

    def _expiries(self, keys: list[bytes], blobs: dict[bytes, bytes]) -> Iterable[tuple[bytes, int, bool]]:
        """Which of the keys expire, and when; seeing to that is the leader's."""
        resident = self.records.resident
        for key in keys:
            record = resident.get(key)
            expires_at = 0
            if record is not None:
                expires_at = record.expires_at
            elif key in blobs:
                expires_at = records.parse(blobs[key])[2]
            if expires_at:
                yield key, expires_at, self.leader is not None

    def _ask(self, scan: Scan) -> None:
        self._effects.scans.append(scan)

    # What peers say.

    def receive(self, sender: int, messages_: Sequence[Message], now: float) -> None:
        self.context.advance(now)
        election = self.election
        for message in messages_:
            kind = type(message)
            if message.term > election.term + TERMS_AHEAD_MAX and not self._are_far_ahead(sender):
                self._terms_ignored += 1
                continue
            # Votes decide by themselves whether a later term is taken over.
            if message.term > election.term and kind not in (messages.VoteRequest, messages.Vote):
                election.follow(message.term, 0)
            self._handlers[kind](sender, message)

    def _are_far_ahead(self, sender: int) -> bool:
        """Whether to believe a peer that claims a term far ahead: where there are several, when another one does, too.

        Or a node that did not follow a lie just short of the bound would be alone for ever with those who did.
        """
        self._ahead.add(sender)
        if len(self._ahead) < min(2, len(self.context.peers)):
            return False
        self._ahead.clear()
        return True

    def _on_vote_request(self, sender: int, message: Any) -> None:
        self.election.on_vote_request(sender, message)

    def _on_vote(self, sender: int, message: Any) -> None:
        self.election.on_vote(sender, message)

    def _on_campaign(self, sender: int, message: Any) -> None:
        self.election.on_campaign(message)

    def _on_append(self, sender: int, message: Any) -> None:
        """Dissertation, figure 3.1, AppendEntries."""
        log = self.log
        previous = message.previous_index
        if message.term < self.election.term:
            # From a leader that does not know yet that it was deposed, or one that this node, having been in a later
            # term, cannot follow.
            self._reject(sender, previous, log.base_index)
            return
        self.election.heard(sender)
        if message.round > self._round or not message.entries:
            self._round = max(self._round, message.round)
            self._answer_at_once = True
        self._leader_committed = max(self._leader_committed, message.committed)
        if not log.fits(previous, message.previous_term, message.entries):
            hint = log.last_with_term_up_to(previous, message.previous_term)
            self._reject(sender, previous, max(hint, log.base_index))
            return
        if message.entries:
            if self.is_muted:
                self._counters["ignored_while_disk_hangs"] += 1
                return
            if self._is_behind:
                self._counters["ignored_while_behind"] += 1
                return
            first = log.merge(previous, message.entries)
            if first:
                self._journal_append(message, first)
                self._prefetch(message.entries)
        self._verified = max(self._verified, previous + len(message.entries), log.base_index)
        self._commit_as_follower(message.committed)

    def _reject(self, sender: int, previous_index: int, hint: int) -> None:
        self._answer_at_once = False
        term = self.log.term_at(hint)
        assert term is not None
        applied = self.machine.applied
        self.context.send(
            sender, messages.Rejected(self.election.term, previous_index, hint, term, applied, self._round)
        )

    def _commit_as_follower(self, committed: int) -> None:
        self.log.committed = max(self.log.committed, min(committed, self._verified))

    def _on_appended(self, sender: int, message: Any) -> None:
        if self.leader is not None and message.term == self.election.term:
            self.leader.on_appended(sender, message)

    def _on_rejected(self, sender: int, message: Any) -> None:
        if self.leader is not None and message.term == self.election.term:
            self.leader.on_rejected(sender, message)

    def _on_forward(self, sender: int, message: Any) -> None:
        if self.leader is None:
            self.context.send(sender, messages.Expected(self.election.term, 0))
        elif message.term == self.election.term:
            self.leader.heard(sender)
            self.leader.on_forward(sender, message)

    def _on_expected(self, sender: int, message: Any) -> None:
        if message.term != self.election.term or sender != self.election.leader:
            return
        if message.number:
            self.origin.on_expected(message.number)
        else:
            self.election.leader_lost()

    def _on_read_request(self, sender: int, message: Any) -> None:
        if self.leader is None:
            self.context.send(sender, messages.ReadIndex(self.election.term, message.number, -1))
        elif message.term == self.election.term:
            self.leader.heard(sender)
            self.leader.read(sender, message.number)

    def _on_read_index(self, sender: int, message: Any) -> None:
        if message.term != self.election.term or sender != self.election.leader:
            return
        if message.index < 0:
            self.election.leader_lost()
        else:
            self._commit_as_follower(message.index)
            self.origin.on_read_index(message.number, message.index)

    def _ignore(self, sender: int, message: Any) -> None:
        """A message for journals, which no peer of ours sends."""

    # Snapshots, as their receiver.

    def _on_chunk(self, sender: int, message: Any) -> None:
        if message.term < self.election.term:
            return
        self.election.heard(sender)
        # A part of a former snapshot that comes late would take back what the present one has brought.
        snapshot = (message.term, message.snapshot)
        if snapshot < self._newest_snapshot:
            return
        self._newest_snapshot = snapshot
        # Records as of an index that this node is past would take it back.
        if message.index < self.machine.applied or self.is_muted or self.records.bytes > 2 * self.records.cache_bytes:
            return
        self._take_records(message)
        self._effects.journal.append(message)
        self._turn_bytes += sum(map(len, message.records))
        self._counters["chunks_taken"] += 1
        self._stored.append((self._sequence, sender, messages.Stored(message.term, message.snapshot, message.number)))

    def _take_records(self, message: messages.Chunk) -> None:
        for key, blob in zip(message.keys, message.records, strict=True):
            value, version, expires_at = records.parse(blob)
            self.records.put(key, value, version, expires_at)
            if key in self._loading:
                self._overtaken.add(key)
            if expires_at:
                self.machine.expiry_seen = True

    def _on_install(self, sender: int, message: Any) -> None:
        if message.term < self.election.term:
            return
        self.election.heard(sender)
        machine = self.machine
        if machine.applied < message.since:
            # This node has restarted, and has not come back to where it was when the snapshot began.
            self._reject(sender, message.base.index, self.log.base_index)
            return
        answer = messages.Stored(message.term, message.snapshot, message.number)
        if message.base.index > machine.applied:
            self._install(message.base)
            self._effects.journal.append(message)
            self._appended.append((self._sequence, self.log.last_index))
            self._counters["snapshots_taken"] += 1
            self.origin.skipped(machine.sessions)
            self._stored.append((self._sequence, sender, answer))
        elif self._effects.journal:
            # Of this turn; what is answered may be in it.
            self._stored.append((self._sequence, sender, answer))
        elif self._sequence - 1 > self._durable_sequence:
            self._stored.append((self._sequence - 1, sender, answer))
        else:
            self.context.send(sender, answer)
        self._verified = max(self._verified, self.log.base_index)

    def _install(self, base: Base) -> None:
        if not self.log.rebase(base.index, base.term):
            # Of what was in the log only that stands which was applied.
            self._take_back(self.machine.applied)
        self.machine.rebase(base)
        self._stalled = False

    def _on_stored(self, sender: int, message: Any) -> None:
        if self.leader is not None and message.term == self.election.term:
            self.leader.on_stored(sender, message)

    # Roles.

    def _on_role_changed(self) -> None:
        """Another role, term or leader."""
        election = self.election
        if self.leader is not None and (election.role != LEADER or election.term != self.leader.term):
            for name, count in self.leader.counters.items():
                self._past[name] = self._past.get(name, 0) + count
            self.leader = None
            self._scanning = None
            self._counters["preemptions"] += 1
        self._verified = self._leader_committed = self._round = self._answered = 0
        self._answer_at_once = False
        self._stored.clear()
        self.origin.leader_changed()
        if election.role == LEADER:
            self._counters["terms_led"] += 1
            self.leader = Leader(
                self.context,
                self.log,
                self.machine,
                self.origin,
                election.term,
                self._value_bytes_max,
                self._lease_reads,
            )

    def peer_up(self, peer: int, incarnation: int, now: float) -> None:
        self.context.advance(now)
        if self._incarnations.get(peer) != incarnation:
            # What waits here for its former incarnation must not reach the new one (B9): a vote above all, which that
            # one asked for with a log, and in a term, of which this one may know nothing.
            self._incarnations[peer] = incarnation
            self.election.peer_restarted(peer)
            self._stored = deque(stored for stored in self._stored if stored[1] != peer)
            self.context.sends.pop(peer, None)
        self.context.up.add(peer)
        if self.leader is not None:
            self.leader.peer_up(peer)
        elif peer == self.election.leader:
            self.origin.leader_changed()

    def peer_lost(self, peer: int, now: float) -> None:
        self.context.advance(now)
        self.context.up.discard(peer)
        if peer == self.election.leader:
            self.election.leader_lost()

    # The disk.

    def wall(self, milliseconds: int) -> None:
        # A clock before 1970 says nothing, and is no reason to write what no node would decode.
        self.context.wall_ms = max(0, milliseconds)

    @property
    def is_muted(self) -> bool:
        """The disk is so far behind that this node takes nothing more."""
        return self._backlog_bytes > self.context.capacity.backlog_bytes

    @property
    def _is_behind(self) -> bool:
        """So much that is committed waits to be applied that this node takes nothing more."""
        unapplied_bytes_max = self.context.capacity.unapplied_bytes
        return self.log.unapplied_bytes > unapplied_bytes_max and self.machine.applied < self.log.committed

    def _journal_append(self, message: messages.Append, first: int) -> None:
        """The log has the message's entries now, and what it had from index `first` on no more."""
        if self._durable >= first or (self._appended and self._appended[-1][1] >= first):
            self._take_back(first - 1)
        self._effects.journal.append(message)
        self._appended.append((self._sequence, self.log.last_index))
        self._turn_bytes += sum([len(entry.encoded) for entry in message.entries])

    def _take_back(self, index: int) -> None:
        """What is on disk of the log beyond that index, or on its way there, is the log's no more."""
        self._durable = min(self._durable, index)
        self._appended = deque([(sequence, min(last, index)) for sequence, last in self._appended])

    def committed(self, sequence: int, now: float) -> None:
        self.context.advance(now)
        self._committed_at = now
        self._durable_sequence = sequence
        appended = self._appended
        while appended and appended[0][0] <= sequence:
            self._durable = appended.popleft()[1]
        backlog = self._backlog
        while backlog and backlog[0][0] <= sequence:
            self._backlog_bytes -= backlog.popleft()[1]
        stored = self._stored
        while stored and stored[0][0] <= sequence:
            _, peer, answer = stored.popleft()
            self.context.send(peer, answer)
        self.election.committed(sequence)

    def recover(self, journal: Sequence[Message]) -> list[bytes]:
        if self._base_wanted:
            return [BASE_KEY]
        if not self._replayed:
            wanted: dict[bytes, None] = {}
            for message in journal:
                if isinstance(message, messages.Chunk):
                    wanted.update(dict.fromkeys(self.records.missing(message.keys)))
            if wanted:
                return list(wanted)
        while self._replayed < len(journal):
            message = journal[self._replayed]
            if isinstance(message, messages.Install) and message.base.index > self.machine.applied:
                # It brought what had changed since an index up to which this node had applied the log. That all of that
                # was committed, it may have known from a message that is in no row.
                self.log.committed = max(self.log.committed, message.since)
                if missing := self._apply_recovered():
                    return missing
            self._replay(message)
            self._replayed += 1
        if missing := self._apply_recovered():
            return missing
        self._replayed = 0
        self._durable = self.log.last_index
        self.log.compact(self._log_bytes, self.machine.applied)
        self.records.evict(_EVICTION_SWEEP_MAX)
        return []

    def _apply_recovered(self) -> list[bytes]:
        """Apply what is known to be committed, or answer the keys whose records that takes."""
        while self.machine.applied < self.log.committed:
            if missing := self._missing():
                return missing
            index = self.machine.applied + 1
            self.machine.apply(index, self.log.at(index))
            self.log.applied(index)
        return []

    def _replay(self, message: Message) -> None:
        log = self.log
        if isinstance(message, messages.Append):
            # A row may be older than the base, and say what later rows take back.
            if log.fits(message.previous_index, message.previous_term, message.entries):
                log.merge(message.previous_index, message.entries)
                verified = message.previous_index + len(message.entries)
                log.committed = max(log.committed, min(message.committed, verified))
        elif isinstance(message, messages.HardState):
            self.election.restore(message)
        elif isinstance(message, messages.Chunk):
            self._take_records(message)
        else:
            assert isinstance(message, messages.Install)
            if message.base.index > self.machine.applied:
                self._install(message.base)

    def _restore_base(self, blob: bytes | None) -> None:
        """What the last checkpoint ended with, None if there was none."""
        self._base_wanted = False
        if blob is None:
            return
        index, term, sessions, voted_term, vote, tail = entries.unpack(blob)
        self._install(Base(index, term, sessions))
        self.election.restore(messages.HardState(voted_term, vote))
        for encoded in tail:
            self.log.append(entries.decode_entry(encoded))

    def begin_checkpoint(self) -> int:
        # The journal's rows so far may be forgotten after this, so the base tells what they told besides records: term
        # and vote, and the entries that are not applied.
        base = self.machine.base()
        tail = [entry.encoded for entry in self.log.after(base.index, sys.maxsize)]
        self._base_blob = msgpack.packb(
            (base.index, base.term, base.sessions, self.election.term, self.election.vote, tail)
        )
        return self.records.begin_checkpoint() + 1

    def order_checkpoint(self) -> bool:
        return self.records.order_checkpoint()

    def checkpoint_slice(self, limit: int) -> list[tuple[bytes, bytes]]:
        blobs = self.records.checkpoint_slice(limit, _SLICE_BYTES_MAX)
        if not blobs and self._base_blob is not None:
            # Last, because it says that all the others are there (M1).
            blobs = [(BASE_KEY, self._base_blob)]
            self._base_blob = None
        return blobs

    def folded(self, keys: Sequence[bytes]) -> None:
        self.records.folded(keys)

    @property
    def wants_checkpoint(self) -> bool:
        return self.records.wants_checkpoint

    # Records that are not in memory.

    def _load_one(self, key: bytes) -> None:
        self._load((key,))

    def _load(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            if key not in self._loading:
                self._loading.add(key)
                self._effects.loads.append(key)

    def _prefetch(self, entries_: Iterable[entries.Entry]) -> None:
        """Have the records of new entries loaded by the time these are committed."""
        if not self.records.complete:
            for entry in entries_:
                for batch in entry.batches:
                    self._load(self.records.missing(batch.keys))

    def loaded(self, records: Mapping[bytes, bytes | None], now: float) -> None:
        self.context.advance(now)
        for key, blob in records.items():
            if key == BASE_KEY:
                self._restore_base(blob)
                continue
            self._loading.discard(key)
            if key in self._overtaken:
                self._overtaken.discard(key)
                if key not in self.records.resident:
                    # A snapshot brought it, it was saved, and has left memory again: what storage said may be older.
                    self._load((key,))
                    continue
            self.records.admit(key, blob)
            self.origin.loaded(key)
        self._stalled = False

    def scanned(self, number: int, records: Sequence[tuple[bytes, bytes]], after: bytes | None, now: float) -> None:
        self.context.advance(now)
        if number:
            self.pages.scanned(number, records, after)
            return
        self._scan_out = False
        if self._scanning is not None:
            self._scanning.scanned(records, after)
            self._scanning = None

    def _missing(self) -> list[bytes]:
        """What the next entry to be applied lacks."""
        cached = self.records
        if cached.complete:
            return []
        entry = self.log.at(self.machine.applied + 1)
        return [key for batch in entry.batches for key in cached.missing(batch.keys)]

    def _apply(self) -> None:
        """Apply what is committed, as far as one turn goes and the records are there."""
        machine = self.machine
        log = self.log
        self._more_to_apply = False
        enough = machine.applied_operations + _APPLY_MAX
        while machine.applied < log.committed:
            if machine.applied_operations >= enough:
                self._more_to_apply = True
                return
            missing = self._missing()
            if missing:
                if not self._stalled:
                    self._counters["load_stalls"] += 1
                self._stalled = True
                self._load(missing)
                return
            index = machine.applied + 1
            for number, results in machine.apply(index, log.at(index)):
                self.origin.applied(number, results)
            log.applied(index)

    # Time, and the end of a turn.

    @property
    def _disk_hangs(self) -> bool:
        """There are rows on their way to the disk, and it has ended nothing for too long.

        One that is merely behind does not hang: others' are no better off, and leadership would only wander.
        """
        context = self.context
        if not self._backlog:
            return False
        return max(self._backlog[0][2], self._committed_at) + context.timing.disk_patience_s <= context.now

    def tick(self, now: float) -> None:
        context = self.context
        context.advance(now)
        self._ticked_at = now
        hangs = self._disk_hangs
        self.election.may_stand = not self._retiring and not hangs
        leader = self.leader
        if leader is not None:
            if not leader.tick():
                self._counters["stepped_down"] += 1
                self.election.follow(self.election.term, 0)
            elif hangs and not leader.target:
                # Others' disks may do, for as long as memory lasts; but whatever this node has to load, nobody gets.
                self._hand_over()
        self.election.tick()
        self.origin.tick()
        self.scanner.tick()
        self.pages.tick(now)
        if self.sweep is not None and leader is not None:
            self.sweep.tick(now, context.wall_ms, self.machine.expiry_seen)

    def _hand_over(self) -> None:
        assert self.leader is not None
        target = self.leader.best_follower()
        if target:
            self.leader.transfer(target)

    def retire(self, now: float) -> None:
        self.context.advance(now)
        self._retiring = True
        self.election.may_stand = False
        if self.leader is not None and not self.leader.target:
            self._hand_over()

    @property
    def retired(self) -> bool:
        return self._retiring and (self.leader is None or not self.leader.target)

    @property
    def writes_to(self) -> int:
        return self.election.leader

    def command(self, name: str, argument: Any, now: float) -> str:
        self.context.advance(now)
        if name != "raft-transfer":
            return f"unknown command {name!r}; there is raft-transfer, with the id of the node that shall lead"
        if argument == self.node and self.leader is not None:
            return ""
        if self.leader is None:
            leads = f"node {self.election.leader} does" if self.election.leader else "nobody is known to, just now"
            return f"node {self.node} does not lead; {leads}"
        if type(argument) is not int or argument not in self.context.peers:
            return f"leadership goes to one of the nodes {', '.join(map(str, self.context.peers))}, not {argument!r}"
        if argument not in self.context.up:
            return f"node {argument} cannot be reached from the leader"
        self.leader.transfer(argument)
        return ""

    def deadline(self) -> float | None:
        context = self.context
        if self._more_to_apply or self.origin.settling or self.pages.busy:
            return context.now
        wanted = min(self._ticked_at + context.timing.heartbeat_s, self.election.deadline(), self.origin.deadline())
        return max(wanted, context.now, 0.0)

    def take_effects(self) -> Effects[Message]:
        context = self.context
        effects = self._effects
        leader = self.leader
        self.origin.settling = False
        if leader is not None:
            leader.durable = self._durable
            leader.commit()
        self._apply()
        if leader is not None:
            self._lead(leader)
        else:
            self._follow()
        self.origin.answer_reads()
        if self.pages.busy:
            self.pages.advance()
        context.take_inner()
        state = self.election.take_state(self._sequence)
        if state is not None:
            effects.journal.insert(0, state)
        self._effects = Effects()
        effects.sends = context.take_sends()
        effects.answers = context.take_answers()
        if effects.journal:
            effects.sequence = self._sequence
            self._sequence += 1
            self._backlog.append((effects.sequence, self._turn_bytes, context.now))
            self._backlog_bytes += self._turn_bytes
            self._turn_bytes = 0
        if self.log.bytes > self._log_bytes * 5 // 4:
            self._compact()
        if self.records.bytes > self.records.cache_bytes and not self._stalled:
            self.records.evict(_EVICTION_SWEEP_MAX)
        return effects

    def _compact(self) -> None:
        # Who gets a snapshot goes on with what follows it. If that were gone by then, it would need another one, and
        # under a constant load one more after that.
        held = self.machine.applied
        if self.leader is not None and self.log.bytes <= self._log_bytes * LOG_HELD:
            held = min(held, self.leader.held())
        self.log.compact(self._log_bytes, held)

    def _lead(self, leader: Leader) -> None:
        self.origin.request(self._read_here)
        leader.begin_round()
        if not self.is_muted and not self._is_behind:
            for message in leader.propose():
                self._effects.journal.append(message)
                self._appended.append((self._sequence, message.previous_index + len(message.entries)))
                self._turn_bytes += sum([len(entry.encoded) for entry in message.entries])
                self._prefetch(message.entries)
        scan = leader.replicate(may_scan=not self._scan_out)
        if scan is not None:
            self._scan_out = True
            self._scanning, wanted = scan
            self._effects.scans.append(wanted)

    def _read_here(self, number: int) -> None:
        assert self.leader is not None
        self.leader.read(self.node, number)

    def _read_there(self, number: int) -> None:
        self.context.send(self.election.leader, messages.ReadRequest(self.election.term, number))

    def _follow(self) -> None:
        election = self.election
        leader = election.leader
        if not leader or leader not in self.context.up:
            return
        if self._leader_committed > self.machine.applied + self.context.capacity.lag:
            self.origin.refuse(BEHIND)
        elif self._leader_committed > self.log.last_index and self._disk_hangs:
            # It is sent few entries beyond those that it acknowledges, so what it would answer comes to it no more.
            self.origin.refuse(HANGING)
        else:
            self.origin.request(self._read_there)
            if self._verified:
                self.origin.forward(leader, election.term)
        match = min(self._durable, self._verified)
        if (self._answer_at_once or match > self._answered) and election.is_durable:
            self._answer_at_once = False
            self._answered = match
            self.context.send(leader, messages.Appended(election.term, match, self._round))

    def status(self) -> dict[str, Any]:
        election = self.election
        led = self.leader.counters if self.leader is not None else {}
        return {
            "engine": {
                **self._counters,
                "overloaded": self.context.overloaded,
                **election.counters,
                **self.origin.counters,
                **self.scanner.counters,
                **(self.sweep.counters if self.sweep is not None else {}),
                **{name: self._past.get(name, 0) + led.get(name, 0) for name in {**self._past, **led}},
                "truncations": self.log.truncations,
                "disk_hangs": self.is_muted or self._disk_hangs,
            },
            "raft": {
                "role": election.role,
                "term": election.term,
                "leader": election.leader,
                "commit_index": self.log.committed,
                "applied_index": self.machine.applied,
                "durable_index": self._durable,
                "last_index": self.log.last_index,
                "first_index": self.log.base_index + 1,
                "log_bytes": self.log.bytes,
                "terms_ignored": self._terms_ignored,
                "followers": self.leader.status() if self.leader is not None else {},
            },
            "operations_in_flight": self.context.in_flight,
            "cached_keys": len(self.records.resident) - self.records.blank,
            "cached_bytes": self.records.bytes,
            "dirty_keys": len(self.records.dirty),
            "evictions": self.records.evictions,
            "loads": self.records.loads,
        }
