"""What a node does while it leads: replicate, commit, confirm reads, hand over; dissertation, chapters 3, 4 and 6.

(E1) Every log holds the batches of one origin's incarnation with consecutive numbers, each once. A leader's log holds
everything that any log had committed, so which batches it lacks can be told from it alone: they are added in their
order, and whatever else arrives, again or too early, is left out. Entries of a leader that lost its log's end are in
no later leader's way: they are in the log that counts, or they are not.

(S2) A leader only appends to its log. (S4) Only an entry of its own term is committed by counting; those before it are
committed with it (3.6.2).
"""

from collections import deque
from typing import Any, Final

from paxoskv.core.engine import Scan
from paxoskv.raft.context import Context
from paxoskv.raft.entry import ENTRY_OPERATIONS_MAX, Batch, Entry
from paxoskv.raft.log import Log
from paxoskv.raft.machine import Session, StateMachine, expected, follow
from paxoskv.raft.messages import (
    Append,
    Appended,
    Campaign,
    Expected,
    Forward,
    ReadIndex,
    Rejected,
    Stored,
)
from paxoskv.raft.origin import Origin
from paxoskv.raft.snapshot import Sender

# What may be in the log without being committed.
_OPEN_BYTES_MAX: Final = 32 * 1024 * 1024
_ROUNDS_MAX: Final = 4
# A probe that was not taken is sent again after so many times the interval of heartbeats.
_PROBE_HEARTBEATS: Final = 10
# Of a snapshot of which nothing was stored for so many times as long as its parts are waited for, others do not wait.
_SNAPSHOT_RESENDS: Final = 4


class Follower:
    """What the leader knows of one other node's log."""

    __slots__ = (
        "applied",
        "catching_up",
        "flight_bytes",
        "flights",
        "heard_at",
        "match",
        "next",
        "paused",
        "probe",
        "probed_at",
        "probing",
        "round",
        "round_asked",
        "sender",
        "sent_at",
        "told",
    )

    def __init__(self, next_index: int, now: float) -> None:
        self.match = 0
        """Its log equals the leader's up to here, durably."""
        self.next = next_index
        """The first entry that it was not sent."""
        self.probing = False
        """Where its log departs from the leader's is not known: one message at a time, to find out."""
        self.probe = 0
        """What messages follow until that is known: an answer to the probe is known by it."""
        self.probed_at = float("-inf")
        """When it was last sent entries behind the probe."""
        self.paused = False
        """The probe is on its way."""
        self.flights: deque[tuple[int, int]] = deque()
        """(last index, bytes) of messages with entries that are not acknowledged."""
        self.flight_bytes = 0
        self.heard_at = now
        self.round = 0
        """The last read round that it answered."""
        self.round_asked = 0
        """The last that it was asked for."""
        self.applied = -1
        """Up to where it has applied the log, as of its last rejection."""
        self.sent_at = float("-inf")
        self.told = 0
        """The commit index that it was told."""
        self.sender: Sender | None = None
        self.catching_up = False
        """It was sent a snapshot, and has not come to the end of what follows that."""

    def take_back(self, next_index: int) -> None:
        """What was sent from that index on did not, or may not have, arrived."""
        self.next = next_index
        self.probe = next_index - 1
        self.flights.clear()
        self.flight_bytes = 0
        self.probing = True
        self.paused = False


class Round:
    """Reads that wait until a majority has confirmed, after they came, that this node leads (6.4)."""

    __slots__ = ("number", "requests", "sent_at")

    def __init__(self, number: int, sent_at: float, requests: list[tuple[int, int, int]]) -> None:
        self.number = number
        self.sent_at = sent_at
        self.requests = requests
        """(node, its number, index)."""


class Leader:
    """One term of leadership. Dropped with it."""

    def __init__(
        self,
        context: Context,
        log: Log,
        machine: StateMachine,
        origin: Origin,
        term: int,
        value_bytes_max: int,
        lease_reads: bool,
    ) -> None:
        self.term = term
        self.durable = 0
        """The own disk has the log up to here."""
        self.first = log.last_index + 1
        """Index of the entry that opens the term; nothing is known to be committed before it is."""
        self.target = 0
        """Whom leadership is being handed to, 0 for nobody."""
        self.followers = {peer: Follower(self.first, context.now) for peer in context.peers}
        self._context = context
        self._log = log
        self._machine = machine
        self._origin = origin
        self._value_bytes_max = value_bytes_max
        self._sessions: dict[int, Session] = dict(machine.sessions)
        for index in range(machine.applied + 1, self.first):
            for batch in log.at(index).batches:
                follow(self._sessions, batch)
        self._incoming: list[Batch] = []
        self._open: deque[tuple[int, int]] = deque()
        """(index, bytes) of entries that are not committed."""
        self._open_bytes = 0
        self._round = 0
        self._rounds: deque[Round] = deque()
        self._requests: list[tuple[int, int, int]] = []
        """Reads of this turn, for the next round: (node, its number, index)."""
        self._early: list[tuple[int, int]] = []
        """Reads from before the term's first entry was committed."""
        self._lease_reads = lease_reads
        self._lease_until = float("-inf")
        self._checked_at = context.now
        self._excused = False
        """It has waited, since it heard of a follower, for what was said while it did not run."""
        self._transfer_since = 0.0
        self._campaign_sent_at = float("-inf")
        self._built: dict[tuple[int, int], Append] = {}
        self._snapshots = 0
        self._notify: set[int] = set()
        self.counters = dict.fromkeys(
            (
                "entries",
                "read_rounds",
                "early_reads",
                "leases_used",
                "back_offs",
                "snapshots_sent",
                "chunks_sent",
                "transfers",
            ),
            0,
        )

    # Proposals.

    def on_forward(self, sender: int, message: Forward) -> None:
        """Take another node's batches, as far as the log lacks them and they follow what it has."""
        for batch in message.batches:
            if batch.origin != sender:
                return
            number = expected(self._sessions, batch.origin, batch.incarnation)
            if batch.number == number:
                follow(self._sessions, batch)
                self._incoming.append(batch)
            elif batch.number > number > 0:
                self._context.send(sender, Expected(self.term, number))
                return

    def propose(self) -> list[Append]:
        """Append this turn's batches to the log; what the journal has to hold of it."""
        log = self._log
        before = log.last_index
        if before < self.first:
            # The no-op that opens the term, be it that something has come already (3.6.2, 6.4).
            self._append([] if self.target else self._take_batches())
        elif self.target or self._open_bytes >= _OPEN_BYTES_MAX:
            return []
        else:
            batches = self._take_batches()
            if not batches:
                return []
            self._append(batches)
        journal = []
        while before < log.last_index:
            entries = log.after(before, self._context.flow.append_bytes)
            journal.append(self._message(before, entries))
            before += len(entries)
        return journal

    def _take_batches(self) -> list[Batch]:
        batches, self._incoming = self._incoming, []
        node = self._context.node
        for batch in self._origin.batches(expected(self._sessions, node, self._origin.incarnation)):
            follow(self._sessions, batch)
            batches.append(batch)
        return batches

    def _append(self, batches: list[Batch]) -> None:
        bytes_max = self._context.flow.append_bytes
        part: list[Batch] = []
        size = count = 0
        for batch in batches:
            if part and (size + len(batch.encoded) > bytes_max or count + len(batch.keys) > ENTRY_OPERATIONS_MAX):
                self._append_entry(part)
                part, size, count = [], 0, 0
            part.append(batch)
            size += len(batch.encoded)
            count += len(batch.keys)
        self._append_entry(part)

    def _append_entry(self, batches: list[Batch]) -> None:
        entry = Entry(self.term, self._value_bytes_max, self._context.wall_ms, batches)
        index = self._log.append(entry)
        self._open.append((index, len(entry.encoded)))
        self._open_bytes += len(entry.encoded)
        self.counters["entries"] += 1

    # Replication.

    def _message(self, previous_index: int, entries: list[Entry]) -> Append:
        """The same object for all who need the same, so that it is encoded once."""
        key = (previous_index, len(entries))
        message = self._built.get(key)
        if message is None:
            previous_term = self._log.term_at(previous_index)
            assert previous_term is not None
            message = self._built[key] = Append(
                self.term, previous_index, previous_term, self._log.committed, self._round, entries
            )
        return message

    def replicate(self, may_scan: bool) -> tuple[Sender, Scan] | None:
        """Send each follower what it lacks, as far as its window allows, and at least what it is waiting to hear.

        Answers what storage has to be asked, for which snapshot, if it may be asked something.
        """
        scan = None
        for peer, follower in self.followers.items():
            if peer not in self._context.up:
                continue
            if follower.sender is not None or follower.next <= self._log.base_index:
                # One question at a time: of two, only one would hear the answer.
                scan = self._send_snapshot(peer, follower, may_scan and scan is None) or scan
            else:
                self._send_entries(peer, follower)
            # At once, if its clients wait for a commit, or reads for its answer.
            if follower.round_asked < self._round or (peer in self._notify and follower.told < self._log.committed):
                self._send_empty(peer, follower)
        self._built.clear()
        self._notify.clear()
        if self.target:
            self._hand_over()
        return scan

    def _send_entries(self, peer: int, follower: Follower) -> None:
        log = self._log
        flow = self._context.flow
        last = log.last_index
        while (
            follower.next <= last
            and not follower.paused
            and follower.flight_bytes < flow.window_bytes
            and len(follower.flights) < flow.window_messages
        ):
            previous = follower.next - 1
            entries = log.after(previous, flow.append_bytes)
            size = sum([len(entry.encoded) for entry in entries])
            self._send(peer, follower, self._message(previous, entries))
            follower.next += len(entries)
            follower.flights.append((follower.next - 1, size))
            follower.flight_bytes += size
            if follower.probing:
                follower.paused = True
                follower.probed_at = self._context.now

    def _send(self, peer: int, follower: Follower, message: Append) -> None:
        follower.sent_at = self._context.now
        follower.told = max(follower.told, message.committed)
        follower.round_asked = message.round
        self._context.send(peer, message)

    def _send_empty(self, peer: int, follower: Follower) -> None:
        """A heartbeat. It finds out, too, whether what was sent before has arrived."""
        previous = follower.probe if follower.probing else follower.next - 1
        if self._log.term_at(previous) is None:
            # That is in a snapshot by now. The answer to this must be known for one to the probe, or nothing would ever
            # be found out.
            previous = follower.probe = self._log.base_index
        self._send(peer, follower, self._message(previous, []))

    def on_appended(self, sender: int, message: Appended) -> None:
        """A follower's log equals this one up to an index."""
        follower = self._heard(sender, message.round)
        if message.match > self._log.last_index:
            return
        if follower.probing and follower.flights and message.match <= follower.match:
            # The logs agree so far, but it has taken nothing of what it was sent: that was lost, or its disk is behind.
            if self._context.now - follower.probed_at > _PROBE_HEARTBEATS * self._context.timing.heartbeat_s:
                follower.take_back(follower.match + 1)
            return
        follower.probing = follower.paused = False
        if follower.sender is not None and message.match >= follower.sender.base.index:
            follower.sender = None
        if message.match > follower.match:
            follower.match = message.match
            follower.catching_up = follower.catching_up and message.match < self._log.committed
            follower.next = max(follower.next, message.match + 1)
            flights = follower.flights
            while flights and flights[0][0] <= message.match:
                follower.flight_bytes -= flights.popleft()[1]

    def on_rejected(self, sender: int, message: Rejected) -> None:
        """A follower's log does not have what the message was to follow; find where it departs (3.5)."""
        follower = self._heard(sender, message.round)
        follower.applied = message.applied
        if follower.sender is not None:
            if not follower.sender.since <= message.applied < follower.sender.base.index:
                # It has restarted, and knows less than it did; or what was on its way has arrived after all.
                follower.sender = None
                follower.take_back(max(min(message.applied, self._log.last_index), follower.match) + 1)
            return
        if follower.probing:
            if message.previous_index != follower.probe:
                return
        elif message.previous_index <= follower.match:
            return
        log = self._log
        self.counters["back_offs"] += 1
        last = log.last_with_term_up_to(message.hint_index, message.hint_term)
        if message.applied <= log.last_index:
            # What it has applied is committed, so this log has it as well.
            last = max(last, message.applied)
        follower.take_back(max(last, follower.match) + 1)

    def _heard(self, sender: int, round_: int) -> Follower:
        follower = self.followers[sender]
        follower.heard_at = self._context.now
        self._excused = False
        if follower.round < round_ <= self._round:
            follower.round = round_
            self._confirm()
        return follower

    def heard(self, sender: int) -> None:
        """A follower of this term has said something else."""
        self.followers[sender].heard_at = self._context.now

    def peer_up(self, peer: int) -> None:
        """What was on its way may be lost, and what it knew if it has restarted."""
        follower = self.followers[peer]
        follower.applied = -1
        follower.take_back((follower.match or self._log.last_index) + 1)
        self._send_empty(peer, follower)
        if follower.sender is not None:
            follower.sender.resend(peer)

    def commit(self) -> bool:
        """Advance the commit index; whether it did."""
        log = self._log
        matches = sorted([self.durable, *[follower.match for follower in self.followers.values()]], reverse=True)
        index = matches[self._context.quorum - 1]
        if index <= log.committed or log.term_at(index) != self.term:
            return False
        for committed in range(max(log.committed, log.base_index) + 1, index + 1):
            for batch in log.at(committed).batches:
                self._notify.add(batch.origin)
        log.committed = index
        while self._open and self._open[0][0] <= index:
            self._open_bytes -= self._open.popleft()[1]
        if self._early and index >= self.first:
            early, self._early = self._early, []
            for node, number in early:
                self.read(node, number)
        return True

    # Reads.

    def read(self, node: int, number: int) -> None:
        """A node, perhaps this one, asks up to where it must have applied the log to read."""
        committed = self._log.committed
        if committed < self.first:
            self.counters["early_reads"] += 1
            self._early.append((node, number))
        elif self._is_confirmed(node, 0):
            self._answer_read(node, number, committed)
        elif self._lease_reads and self._context.now < self._lease_until:
            self.counters["leases_used"] += 1
            self._answer_read(node, number, committed)
        else:
            self._requests.append((node, number, committed))

    def _is_confirmed(self, node: int, round_: int) -> bool:
        """Whether a majority was, after the read came, in no later term than this: so nobody else could have led.

        This node is one of them, and so is the one that asks, since it was when it sent its request. Where three vote,
        a follower's request is proof enough.
        """
        heard = 1
        for peer, follower in self.followers.items():
            if peer == node or (round_ and follower.round >= round_):
                heard += 1
        return heard >= self._context.quorum

    def _answer_read(self, node: int, number: int, index: int) -> None:
        if node == self._context.node:
            self._origin.on_read_index(number, index)
        else:
            self._context.send(node, ReadIndex(self.term, number, index))

    def begin_round(self) -> None:
        """Have this turn's reads, if there are any, confirmed by what is sent from now on."""
        if self._requests and len(self._rounds) < _ROUNDS_MAX:
            self._begin_round()

    def _begin_round(self) -> None:
        self._round += 1
        self.counters["read_rounds"] += 1
        self._rounds.append(Round(self._round, self._context.now, self._requests))
        self._requests = []

    def _confirm(self) -> None:
        rounds = self._rounds
        for round_ in list(rounds):
            left = []
            for request in round_.requests:
                if self._is_confirmed(request[0], round_.number):
                    self._answer_read(*request)
                else:
                    left.append(request)
            round_.requests = left
            if not self._is_confirmed(0, round_.number):
                break
            if self._lease_reads and not self._campaign_sent_at > float("-inf"):
                timing = self._context.timing
                lease_s = timing.election_s / (1 + timing.clock_drift)
                self._lease_until = max(self._lease_until, round_.sent_at + lease_s)
        while rounds and not rounds[0].requests and self._is_confirmed(0, rounds[0].number):
            rounds.popleft()

    # Snapshots.

    def _send_snapshot(self, peer: int, follower: Follower, may_scan: bool) -> tuple[Sender, Scan] | None:
        if follower.sender is None:
            if follower.applied < 0:
                # It has to say first what it has. An empty Append makes it.
                if follower.sent_at + self._context.timing.heartbeat_s <= self._context.now:
                    self._send_empty(peer, follower)
                return None
            progress_s = self._context.timing.resend_s * _SNAPSHOT_RESENDS
            if any(
                [
                    other.sender is not None
                    and self._is_heard(each)
                    and other.sender.progress_at + progress_s > self._context.now
                    for each, other in self.followers.items()
                ]
            ):
                return None
            self._snapshots += 1
            self.counters["snapshots_sent"] += 1
            follower.catching_up = True
            follower.sender = Sender(self._context, self._machine, self.term, self._snapshots, follower.applied)
        chunks = follower.sender.chunks
        scan = follower.sender.pump(peer, may_scan)
        self.counters["chunks_sent"] += follower.sender.chunks - chunks
        return None if scan is None else (follower.sender, scan)

    def _is_heard(self, peer: int) -> bool:
        """One that is gone, or says nothing, keeps no snapshot from the others, and nothing in memory."""
        since = self._context.now - self._context.timing.election_s
        return peer in self._context.up and self.followers[peer].heard_at > since

    def held(self) -> int:
        """Up to this index the log is not needed by those that are getting a snapshot, or have just got one."""
        found = [follower for peer, follower in self.followers.items() if follower.catching_up and self._is_heard(peer)]
        return min(
            [follower.match if follower.sender is None else follower.sender.base.index for follower in found],
            default=self._log.last_index,
        )

    def on_stored(self, sender: int, message: Stored) -> None:
        """A follower has a part of its snapshot on disk."""
        follower = self.followers[sender]
        follower.heard_at = self._context.now
        self._excused = False
        snapshot = follower.sender
        if snapshot is None or snapshot.snapshot != message.snapshot or not snapshot.on_stored(message.number):
            return
        follower.sender = None
        follower.match = max(follower.match, snapshot.base.index)
        follower.applied = snapshot.base.index
        follower.take_back(follower.match + 1)

    # Handing over.

    def transfer(self, target: int) -> None:
        """Hand leadership over (3.10): take nothing new, let the target catch up, tell it to stand."""
        self.target = target
        self._transfer_since = self._context.now
        self.counters["transfers"] += 1

    def best_follower(self) -> int:
        """Who is most up to date of those that were heard of lately; 0 if nobody was."""
        context = self._context
        since = context.now - context.timing.election_s
        lately = [
            (follower.match, peer)
            for peer, follower in self.followers.items()
            if peer in context.up and follower.heard_at > since and follower.sender is None
        ]
        return max(lately)[1] if lately else 0

    def _hand_over(self) -> None:
        context = self._context
        if (
            self.followers[self.target].match == self._log.last_index
            and self._campaign_sent_at + context.timing.heartbeat_s <= context.now
        ):
            # Whoever is told to stand is elected in spite of what the others promised, so no lease holds any more.
            self._campaign_sent_at = context.now
            self._lease_until = float("-inf")
            context.send(self.target, Campaign(self.term))

    # Time.

    def tick(self) -> bool:
        """Heartbeats. False when no majority was heard of for an election time-out: then this node leads no more."""
        context = self._context
        timing = context.timing
        now = context.now
        if context.resumed_at == now and not self._excused:
            self._excused = True
            self._checked_at = now
        if self.target and self._transfer_since + timing.election_s <= now:
            self.target = 0
        if self._lease_reads and not self._rounds:
            self._begin_round()
        for peer, follower in self.followers.items():
            if peer in context.up and follower.sent_at + timing.heartbeat_s <= now:
                self._send_empty(peer, follower)
        self._built.clear()
        if self._checked_at + timing.election_s > now:
            return True
        since = now - timing.election_s
        return 1 + sum([follower.heard_at > since for follower in self.followers.values()]) >= context.quorum

    def status(self) -> dict[str, Any]:
        """Each follower's state."""
        return {
            str(peer): {
                "match": follower.match,
                "next": follower.next,
                "state": "snapshot" if follower.sender else "probe" if follower.probing else "replicate",
            }
            for peer, follower in self.followers.items()
        }
