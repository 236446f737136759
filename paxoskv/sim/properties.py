"""The five safety properties of the Raft paper (figure 3; dissertation, figure 3.2), held against every step.

(S1) Election safety: at most one leader in a term. (S2) A leader only appends to its log. (S3) Log matching: logs that
have an entry of the same index and term are the same up to it. (S4) Leader completeness: what is committed is in the
logs of all later leaders. (S5) State machine safety: where somebody has applied an entry, nobody applies another.

(P1) Nobody stands whom a majority had not told before that it would elect it, but for whom the leader itself has told
to stand (the dissertation's pre-vote, 9.6). (D1) What a node claims is on its disk, and is there again after a restart.

All of it is done as things change, so that watching costs little: an entry is looked at when it is journaled, when it
is committed and when it is applied. What a log holds is kept here by hand, from what was journaled, and not taken from
the engine that is judged.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from paxoskv.core import operations
from paxoskv.core.engine import Effects, Engine
from paxoskv.raft.election import LEADER
from paxoskv.raft.engine import RaftEngine
from paxoskv.raft.entry import POSITION_BITS
from paxoskv.raft.messages import Append, Appended, HardState, Install, Message, Vote, VoteRequest


class View:
    """What journal rows say of a log: the terms of its entries, and term and vote."""

    def __init__(self) -> None:
        self.base = 0
        self.term = 0
        self.vote = 0
        self._terms = [0]
        """Of the entries from the base on."""

    def copy(self) -> "View":
        """One that goes on by itself."""
        view = View()
        view.base, view.term, view.vote, view._terms = self.base, self.term, self.vote, self._terms.copy()
        return view

    @property
    def last(self) -> int:
        """Index of the last entry."""
        return self.base + len(self._terms) - 1

    def term_at(self, index: int) -> int | None:
        """The term of an entry, None when it is not there, or no longer."""
        offset = index - self.base
        return self._terms[offset] if 0 <= offset < len(self._terms) else None

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry is there, or its effects are."""
        return index < self.base or self.term_at(index) == term

    def take(self, message: Message) -> None:
        """Go on as a log does whose journal has that message next."""
        if isinstance(message, HardState):
            assert (message.term, message.vote) >= (self.term, self.vote), "terms never decrease, votes never change"
            self.term, self.vote = message.term, message.vote
        elif isinstance(message, Append):
            terms = self._terms
            for index, entry in enumerate(message.entries, message.previous_index + 1):
                offset = index - self.base
                if offset > 0 and (offset >= len(terms) or terms[offset] != entry.term):
                    assert offset <= len(terms), f"entry {index} is journaled behind a gap"
                    del terms[offset:]
                    terms.append(entry.term)
        elif isinstance(message, Install):
            self.rebase(message.base.index, message.base.term)

    def rebase(self, index: int, term: int) -> None:
        """Records hold everything up to there."""
        if index > self.base:
            follows = self.term_at(index) == term
            self._terms = self._terms[index - self.base :] if follows else [term]
            self.base = index

    def append(self, term: int) -> None:
        """One more entry."""
        self._terms.append(term)


class _Node:
    """What is known of one node."""

    def __init__(self) -> None:
        self.disk = View()
        """What a restart would find."""
        self.log = View()
        """What the engine holds, on disk or not."""
        self.queued: deque[tuple[int, Sequence[Message]]] = deque()
        self.led: tuple[int, int, int] | None = None
        """(term, last index, truncations), while it leads."""
        self.committed = 0
        """What this process takes for committed was looked at up to here."""
        self.applied = 0


class Properties:
    """Watches a cluster of log engines; see `sim.mode.Watch`."""

    def __init__(self) -> None:
        self._nodes: dict[int, _Node] = {}
        self._votes: dict[int, dict[int, int]] = {}
        """By term, whom each node has voted for, as far as it got to a disk."""
        self._trials: dict[tuple[int, int], set[int]] = {}
        """By candidate and term, who has said that it would vote so."""
        self._leaders: dict[int, int] = {}
        """Who led in a term."""
        self._entries: dict[tuple[int, int], tuple[bytes, int, frozenset[bytes]]] = {}
        """By index and term, of every entry that any log ever held: its bytes, the term before it, its keys."""
        self._chosen: dict[int, int] = {}
        """The term of every entry that anybody took for committed,"""
        self._committed_in: dict[int, int] = {}
        """and the term of who did first: in no later one a leader had committed it."""
        self._states: dict[tuple[bytes, int], bytes | None] = {}
        """What each version of each key is."""

    def started(self, node: int, engine: Engine[Any]) -> None:
        assert isinstance(engine, RaftEngine)
        known = self._nodes.setdefault(node, _Node())
        disk = known.disk
        election, log = engine.election, engine.log
        found = (election.term, election.vote)
        assert found >= (disk.term, disk.vote), f"(D1) node {node} has forgotten term or vote: {found}"
        known.queued.clear()
        known.led = None
        known.committed = known.applied = max(log.base_index - 1, disk.base - 1, 0)
        for index in range(max(log.base_index, disk.base), disk.last + 1):
            assert log.term_at(index) == disk.term_at(index), f"(D1) node {node} has forgotten entry {index}"
        # A checkpoint stores term, vote and the log's end as they are, and may be on the disk before the row is.
        disk.term, disk.vote = found
        if log.base_index > disk.last:
            disk.rebase(log.base_index, log.base_term)
        for index in range(disk.last + 1, log.last_index + 1):
            term = log.term_at(index)
            assert term is not None
            disk.append(term)
        known.log = disk.copy()
        self._check_committed(node, known, engine)

    def journaled(self, node: int, sequence: int, journal: Sequence[Message]) -> None:
        self._nodes[node].queued.append((sequence, journal))

    def committed(self, node: int, sequence: int) -> None:
        known = self._nodes[node]
        while known.queued and known.queued[0][0] <= sequence:
            for message in known.queued.popleft()[1]:
                known.disk.take(message)
                if isinstance(message, HardState) and message.vote:
                    voted = self._votes.setdefault(message.term, {}).setdefault(node, message.vote)
                    assert voted == message.vote, f"node {node} votes twice in term {message.term}"

    def turn(self, node: int, engine: Engine[Any], effects: Effects[Message]) -> None:
        assert isinstance(engine, RaftEngine)
        known = self._nodes[node]
        for message in effects.journal:
            known.log.take(message)
            if isinstance(message, Append):
                self._check_matching(message)
        log = engine.log
        assert known.log.last == log.last_index, f"node {node} journaled something else than it holds"
        assert known.log.term_at(log.last_index) == log.last_term, f"node {node} journaled something else than it holds"
        self._check_leader(node, known, engine)
        self._check_committed(node, known, engine)
        self._check_claims(node, known, effects)

    def _check_matching(self, message: Append) -> None:
        previous = message.previous_term
        for index, entry in enumerate(message.entries, message.previous_index + 1):
            known = self._entries.get((index, entry.term))
            if known is None:
                keys = frozenset(key for batch in entry.batches for key in batch.keys)
                self._entries[index, entry.term] = (entry.encoded, previous, keys)
            else:
                same = known[:2] == (entry.encoded, previous)
                assert same, f"(S3) entry {index} of term {entry.term} is not everywhere the same"
            previous = entry.term

    def _check_leader(self, node: int, known: _Node, engine: RaftEngine) -> None:
        election, log = engine.election, engine.log
        if election.role != LEADER:
            known.led = None
            return
        term = election.term
        first = self._leaders.setdefault(term, node)
        assert first == node, f"(S1) nodes {first} and {node} both lead in term {term}"
        if known.led is None or known.led[0] != term:
            votes = list(self._votes.get(term, {}).values()).count(node)
            assert 2 * votes > len(self._nodes), f"(D1) node {node} leads in term {term} by {votes} votes on disks"
            for index, chosen in self._chosen.items():
                # Late votes may make a leader of a term that is past already, without what was committed since.
                assert term <= self._committed_in[index] or known.log.holds(index, chosen), (
                    f"(S4) node {node} leads in term {term} without the committed entry {index}"
                )
        else:
            kept = log.last_index >= known.led[1] and log.truncations == known.led[2]
            assert kept, f"(S2) node {node} took entries out of its log while it led"
        known.led = (term, log.last_index, log.truncations)

    def _check_committed(self, node: int, known: _Node, engine: RaftEngine) -> None:
        log, machine = engine.log, engine.machine
        assert log.committed <= log.last_index, f"node {node} takes for committed what it does not have"
        for index in range(max(known.committed + 1, known.log.base), log.committed + 1):
            term = known.log.term_at(index)
            assert term is not None
            chosen = self._chosen.setdefault(index, term)
            self._committed_in.setdefault(index, engine.election.term)
            assert chosen == term, f"(S5) node {node} commits entry {index} of term {term}, not {chosen}"
        known.committed = max(known.committed, log.committed)
        if machine.applied <= known.applied:
            return
        assert machine.applied <= log.committed, f"node {node} applies what is not committed"
        resident = engine.records.resident
        for index in range(max(known.applied + 1, known.log.base + 1), machine.applied + 1):
            for key in self._entries[index, self._chosen[index]][2]:
                record = resident.get(key)
                if record is not None and record.version:
                    value = self._states.setdefault((key, record.version), record.value)
                    assert value == record.value, f"(S5) version {record.version} of {key!r} is not everywhere the same"
        known.applied = machine.applied

    def _check_claims(self, node: int, known: _Node, effects: Effects[Message]) -> None:
        disk = known.disk
        for target, sent in effects.sends.items():
            for message in sent:
                if isinstance(message, Appended):
                    held = known.log.term_at(message.match)
                    stored = held is None or disk.holds(message.match, held)
                    assert stored, f"(D1) node {node} acknowledges entry {message.match}, which is not on its disk"
                elif isinstance(message, VoteRequest) and not (message.is_trial or message.by_transfer):
                    asked = 1 + len(self._trials.get((node, message.term), ()))
                    assert 2 * asked > len(self._nodes), f"(P1) node {node} stands in term {message.term} unasked for"
                elif isinstance(message, Vote) and message.granted and message.is_trial:
                    self._trials.setdefault((target, message.term), set()).add(node)
                elif isinstance(message, Vote) and message.granted:
                    given = (disk.term, disk.vote)
                    assert given == (message.term, target), f"(D1) node {node} gives a vote that is not on its disk"
        for operation, result in effects.answers:
            index = result.version >> POSITION_BITS
            if result.status < operations.ERROR_STATUS_MIN and index:
                term = self._chosen[index]
                holders = sum([other.disk.holds(index, term) for other in self._nodes.values()])
                assert 2 * holders > len(self._nodes), f"(D1) {operation} is answered with what {holders} disks hold"
