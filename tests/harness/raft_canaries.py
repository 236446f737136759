"""Log engines broken on purpose, as `harness.canaries` has leaderless ones. Sections are the dissertation's."""

from harness.canaries import SCANS_OF_BOTH, Canary

_ELECTION = "paxoskv.raft.election:Election."
_ENGINE = "paxoskv.raft.engine:RaftEngine."
_LEADER = "paxoskv.raft.leader:Leader."
_LOG = "paxoskv.raft.log:Log."
_MACHINE = "paxoskv.raft.machine:StateMachine."
_ORIGIN = "paxoskv.raft.origin:Origin."
_SENDER = "paxoskv.raft.snapshot:Sender."

RAFT = (
    # Votes and terms.
    Canary(
        "vote not persisted",
        "3.8",
        _ELECTION + "take_state",
        "return HardState(self.term, self.vote)",
        "return HardState(self.term, 0)",
    ),
    Canary(
        "term not persisted",
        "3.8",
        _ELECTION + "take_state",
        "return HardState(self.term, self.vote)",
        "return None",
    ),
    Canary(
        "vote given before its commit",
        "3.8",
        _ELECTION + "on_vote_request",
        "if self.is_durable:",
        "if True:",
    ),
    Canary(
        "own vote counted before its commit",
        "3.8",
        _ELECTION + "_campaign",
        "self._ask(self.term, is_trial=False, by_transfer=by_transfer)",
        "self._ask(self.term, is_trial=False, by_transfer=by_transfer)\n    self._count(self._context.node)",
    ),
    Canary(
        "two votes in a term",
        "3.4",
        _ELECTION + "on_vote_request",
        "self.vote in (0, sender)",
        "True",
    ),
    Canary(
        "votes of past terms counted",
        "3.4",
        _ELECTION + "on_vote",
        "message.granted and self.role == CANDIDATE and message.term == self.term",
        "message.granted and self.role == CANDIDATE",
    ),
    Canary(
        "election restriction left out",
        "3.6.1",
        _ELECTION + "on_vote_request",
        "(message.last_term, message.last_index) >= (log.last_term, log.last_index)",
        "True",
    ),
    Canary(
        "the longer log wins, whatever its terms",
        "3.6.1",
        _ELECTION + "on_vote_request",
        "(message.last_term, message.last_index) >= (log.last_term, log.last_index)",
        "message.last_index >= log.last_index",
    ),
    Canary(
        "pre-vote ignored",
        "9.6",
        _ELECTION + "_stand",
        "if self._context.quorum == 1:",
        "if True:",
    ),
    Canary(
        "a deposed leader goes on",
        "3.3",
        _ELECTION + "on_vote_request",
        "self.follow(message.term, 0)",
        "self.term, self.vote, self._changed = message.term, 0, True",
    ),
    # Replication and commitment.
    Canary(
        "entry acknowledged before its commit",
        "10.2.1",
        _ENGINE + "_follow",
        "min(self._durable, self._verified)",
        "self._verified",
    ),
    Canary(
        "leader counts itself before its commit",
        "10.2.1",
        _ENGINE + "take_effects",
        "leader.durable = self._durable",
        "leader.durable = self.log.last_index",
    ),
    Canary(
        "answered before a majority has the entry",
        "3.5",
        _LEADER + "commit",
        "matches[self._context.quorum - 1]",
        "matches[0]",
    ),
    Canary(
        "truncation of a committed entry",
        "3.5",
        _LOG + "merge",
        "    return 0\n",
        "    if entries:\n        del self._entries[previous_index + len(entries) - self.base_index :]\n    return 0\n",
    ),
    Canary(
        "the entry before is not compared",
        "3.5",
        _LOG + "fits",
        "return self.term_at(previous_index) == previous_term",
        "return previous_index <= self.last_index",
    ),
    Canary(
        "commits what was not verified",
        "3.5",
        _ENGINE + "_commit_as_follower",
        "min(committed, self._verified)",
        "min(committed, self.log.last_index)",
    ),
    Canary(
        "acknowledges in a later term what an earlier leader sent",
        "3.5",
        _ENGINE + "_on_role_changed",
        "self._verified = self._leader_committed",
        "self._leader_committed",
    ),
    Canary(
        "conflicting entries stay",
        "3.5",
        _LOG + "merge",
        "if term == entry.term:",
        "if term is not None:",
    ),
    # At most once.
    Canary(
        "forwarded twice, applied twice",
        "6.3",
        _LEADER + "on_forward",
        "if batch.number == number:",
        "if batch.number < number:\n            self._incoming.append(batch)\n        if batch.number == number:",
    ),
    Canary(
        "a gap in the batches",
        "6.3",
        _LEADER + "on_forward",
        "if batch.number == number:",
        "if batch.number >= number > 0:",
    ),
    Canary(
        "snapshot that loses the dedup table",
        "5.2, 6.3",
        _MACHINE + "base",
        "tuple(sessions)",
        "()",
    ),
    Canary(
        "failure claimed for what may have been appended",
        "6.3",
        _ORIGIN + "leader_changed",
        "self._next = self._pending[0].batch.number if self._pending else self._number + 1",
        "self._next = self._pending[0].batch.number if self._pending else self._number + 1\n"
        "    for pending in self._pending:\n"
        "        for operation in pending.operations:\n"
        "            self._context.answer(operation, _UNAVAILABLE)",
    ),
    # Reads.
    Canary(
        "stale leader answers reads",
        "6.4",
        _LEADER + "_is_confirmed",
        "return heard >= self._context.quorum",
        "return True",
    ),
    Canary(
        "reads before the term's first entry is committed",
        "6.4",
        _LEADER + "read",
        "if committed < self.first:",
        "if False:",
    ),
    Canary(
        "reads before the index is applied",
        "6.4",
        _ORIGIN + "on_read_index",
        "self._ready.append((index, request.operations))",
        "self._ready.append((min(index, self._machine.applied), request.operations))",
    ),
    # Recovery, checkpoints, snapshots.
    Canary(
        "journal replay that skips the last frame",
        "3.8",
        "paxoskv.sim.replica:Replica.start",
        "for row in [(), *rows]:",
        "for row in [(), *rows[:-1]]:",
    ),
    Canary(
        "entries applied again to newer records",
        "5",
        "paxoskv.raft.machine:StateMachine._evaluate",
        "if record.version >= version:",
        "if False:",
    ),
    Canary(
        "a checkpoint forgets the entries after it",
        "5",
        _ENGINE + "begin_checkpoint",
        "self.election.term, self.election.vote, tail",
        "self.election.term, self.election.vote, []",
    ),
    Canary(
        "a checkpoint forgets the vote",
        "5",
        _ENGINE + "begin_checkpoint",
        "self.election.term, self.election.vote, tail",
        "0, 0, tail",
    ),
    Canary(
        "a snapshot of storage alone",
        "5",
        _SENDER + "_next_chunk",
        "if self._unsaved:",
        "if False:",
    ),
    # Liveness.
    Canary(
        "a vote that waits for its commit is never sent",
        "liveness",
        _ELECTION + "committed",
        "self._context.send(peer, vote)",
        "pass",
    ),
    Canary(
        "reads that were on their way to a lost leader are forgotten",
        "liveness",
        _ORIGIN + "leader_changed",
        "self._reads += request.operations",
        "pass",
    ),
    Canary(
        "a scan does not ask who leads",
        "6.4",
        _ENGINE + "scan",
        "self.submit([operation], now)",
        "self.context.advance(now)\n    self.context.in_flight += 1\n    self.scanner.take(operation)",
    ),
    *SCANS_OF_BOTH,
)

# Universes come to them too seldom: not within several hundred seeds. Of the first a transcript takes notice, of the
# second schedules that keep messages back as long as they like (tests/raft).
RAFT_RARE = (
    Canary(
        "commit of an earlier term's entry by counting",
        "3.6.2, figure 3.7",
        _LEADER + "commit",
        "or log.term_at(index) != self.term",
        "",
    ),
    Canary(
        "an answer to an earlier round confirms a read",
        "6.4",
        _LEADER + "_is_confirmed",
        "follower.round >= round_",
        "follower.round >= round_ - 1",
    ),
    Canary(
        "a snapshot since an index that was not reached",
        "5",
        _ENGINE + "_on_install",
        "if machine.applied < message.since:",
        "if False:",
    ),
)
