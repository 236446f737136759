"""Engines broken on purpose, each in one rule, to see that the watched cluster and the search for an order notice.

A check that cannot fail proves nothing. Each is a mistake that somebody has made, or could.
"""

from collections.abc import Sequence
from typing import Any

from harness.raft import Build

from paxoskv.core import errors
from paxoskv.core.operations import Result
from paxoskv.raft import engine as engines
from paxoskv.raft import entry, machine, messages
from paxoskv.raft.election import CANDIDATE, Election
from paxoskv.raft.engine import RaftEngine
from paxoskv.raft.entry import Entry
from paxoskv.raft.leader import Leader
from paxoskv.raft.log import Log
from paxoskv.raft.machine import Base, StateMachine
from paxoskv.raft.messages import HardState, VoteRequest
from paxoskv.raft.origin import Origin


def _with_election(kind: type[Election]) -> Build:
    def build(*args: Any, **options: Any) -> RaftEngine:
        engine = RaftEngine(*args, **options)
        # The parts hold no state of their class, so another class on the same object is another behaviour.
        engine.election.__class__ = kind
        return engine

    return build


def _with(part: str, kind: type) -> Build:
    def build(*args: Any, **options: Any) -> RaftEngine:
        engine = RaftEngine(*args, **options)
        getattr(engine, part).__class__ = kind
        return engine

    return build


def _with_leader(kind: type[Leader]) -> Build:
    class Engine(RaftEngine):
        def _on_role_changed(self) -> None:
            super()._on_role_changed()
            if self.leader is not None:
                self.leader.__class__ = kind

    return Engine


_REFUSED = Result(errors.Overloaded.status, b"too much to do", 0)


# Votes and terms.


class _ForgetsVote(Election):
    def take_state(self, sequence: int) -> HardState | None:
        state = super().take_state(sequence)
        return state and HardState(state.term, 0)


class _ForgetsTerm(Election):
    def take_state(self, sequence: int) -> HardState | None:
        super().take_state(sequence)
        return None


class _VotesTwice(Election):
    def on_vote_request(self, sender: int, message: VoteRequest) -> None:
        if not message.is_trial:
            self.vote = 0
        super().on_vote_request(sender, message)


class _VotesBeforeTheDisk(Election):
    @property
    def is_durable(self) -> bool:
        return True


class _LeadsWithoutItsOwnVote(Election):
    def _count(self, voter: int) -> None:
        others = (self._voters | {voter}) - {self._context.node}
        if self.role == CANDIDATE and len(others) >= self._context.quorum:
            self._voters.add(self._context.node)
        super()._count(voter)


class _VotesForAnyLog(Election):
    def on_vote_request(self, sender: int, message: VoteRequest) -> None:
        longest = VoteRequest(message.term, 2**40, 2**40, message.is_trial, message.by_transfer)
        super().on_vote_request(sender, longest)


class _ComparesLengthsOnly(Election):
    def on_vote_request(self, sender: int, message: VoteRequest) -> None:
        last_term = self._log.last_term
        super().on_vote_request(
            sender, VoteRequest(message.term, message.last_index, last_term, message.is_trial, message.by_transfer)
        )


# Replication and commitment.


class _AcknowledgesBeforeTheDisk(RaftEngine):
    def take_effects(self) -> Any:
        if self.leader is None:
            self._durable = self.log.last_index
        return super().take_effects()


class _CountsItselfBeforeTheDisk(RaftEngine):
    def take_effects(self) -> Any:
        if self.leader is not None:
            self._durable = self.log.last_index
        return super().take_effects()


class _CommitsOldTerms(Leader):
    """The dissertation's figure 3.7."""

    def commit(self) -> bool:
        matches = sorted([self.durable, *[follower.match for follower in self.followers.values()]], reverse=True)
        self._log.committed = max(self._log.committed, matches[self._context.quorum - 1])
        return super().commit()


class _CommitsWhatItAppends(Leader):
    def commit(self) -> bool:
        self._log.committed = self._log.last_index
        return super().commit()


class _TruncatesAlways(Log):
    """Takes a late message for the newest."""

    def merge(self, previous_index: int, entries: Sequence[Entry]) -> int:
        if entries and self.base_index <= previous_index < self.last_index:
            kept = previous_index - self.base_index
            del self._entries[kept:]
            self.truncations += 1
        return super().merge(previous_index, entries)


class _SkipsTheCheck(Log):
    def fits(self, previous_index: int, previous_term: int, entries: Sequence[Entry]) -> bool:
        return previous_index <= self.last_index


class _TrustsItsOwnEnd(RaftEngine):
    """Takes for verified whatever it has, and so for committed what nobody else has."""

    def _commit_as_follower(self, committed: int) -> None:
        self.log.committed = max(self.log.committed, min(committed, self.log.last_index))


class _AcknowledgesPastTerms(RaftEngine):
    """Goes on acknowledging what a former leader's log had."""

    def _on_role_changed(self) -> None:
        verified = self._verified
        super()._on_role_changed()
        self._verified = min(verified, self.log.last_index)


# Once.


class _TakesDuplicates(Leader):
    def on_forward(self, sender: int, message: messages.Forward) -> None:
        for batch in message.batches:
            if batch.number != machine.expected(self._sessions, sender, batch.incarnation):
                # What a log without numbers would do.
                self._incoming.append(batch)
        super().on_forward(sender, message)


class _TakesGaps(Leader):
    def on_forward(self, sender: int, message: messages.Forward) -> None:
        for batch in message.batches:
            session = self._sessions.get(sender)
            if session is not None and batch.number > session.number + 1:
                self._sessions[sender] = machine.Session(batch.incarnation, batch.number - 1)
        super().on_forward(sender, message)


class _SnapshotsWithoutSessions(StateMachine):
    def base(self) -> Base:
        return Base(self.applied, self.applied_term, ())


class _ForgetsOwnBatches(Origin):
    """Takes what it handed to a leader that is gone for lost, and says so."""

    def leader_changed(self) -> None:
        super().leader_changed()
        for pending in self._pending:
            for operation in pending.operations:
                self._context.answer(operation, _REFUSED)


# Reads.


class _ReadsWithoutAsking(Leader):
    def _is_confirmed(self, node: int, round_: int) -> bool:
        return True


class _ReadsWithoutApplying(Origin):
    def on_read_index(self, number: int, index: int) -> None:
        super().on_read_index(number, min(index, self._machine.applied))


class _ReadsBeforeTheTermOpens(Leader):
    def read(self, node: int, number: int) -> None:
        first, self.first = self.first, 0
        super().read(node, number)
        self.first = first


class _CountsEarlierRounds(Leader):
    def _is_confirmed(self, node: int, round_: int) -> bool:
        return super()._is_confirmed(node, max(0, round_ - 1))


# Recovery, checkpoints, snapshots.


class _AppliesTwice(StateMachine):
    """Does not look at the version that a record has."""

    def _evaluate(self, *args: Any) -> None:
        for record in self.records.resident.values():
            record.version = min(record.version, args[1])
        super()._evaluate(*args)


class _BasesTooLate(RaftEngine):
    """Says of records that were written at the beginning that they hold what was applied by the end."""

    def checkpoint_slice(self, limit: int) -> list[tuple[bytes, bytes]]:
        if self._base_blob is not None:
            records = self.records
            chosen = records._unordered, records._runs, records._folding
            dirty = dict(records.dirty)
            self.begin_checkpoint()
            records._unordered, records._runs, records._folding = chosen
            records.dirty = dirty
        return super().checkpoint_slice(limit)


class _DropsTheTail(RaftEngine):
    """A checkpoint that forgets the entries which are not applied."""

    def begin_checkpoint(self) -> int:
        count = super().begin_checkpoint()
        assert self._base_blob is not None
        index, term, sessions, voted_term, vote, _ = entry.unpack(self._base_blob)
        self._base_blob = entry.msgpack.packb((index, term, sessions, voted_term, vote, []))
        return count


class _CheckpointsWithoutTheVote(RaftEngine):
    def begin_checkpoint(self) -> int:
        count = super().begin_checkpoint()
        assert self._base_blob is not None
        index, term, sessions, _, _, tail = entry.unpack(self._base_blob)
        self._base_blob = entry.msgpack.packb((index, term, sessions, 0, 0, tail))
        return count


class _InstallsAnywhere(RaftEngine):
    """Takes a snapshot of what changed since an index that it has not reached."""

    def _on_install(self, sender: int, message: Any) -> None:
        message.since = 0
        super()._on_install(sender, message)


class _TakesOldChunks(RaftEngine):
    def _on_chunk(self, sender: int, message: Any) -> None:
        message.index = 2**40
        for key, blob in zip(message.keys, message.records, strict=True):
            record = self.records.resident.get(key)
            value, version = engines.records.parse(blob)
            if record is not None:
                record.version = min(record.version, version - 1)
                record.value = value
        super()._on_chunk(sender, message)


class _SendsStorageAlone(Leader):
    def _send_snapshot(self, *args: Any) -> Any:
        found = super()._send_snapshot(*args)
        if args[1].sender is not None:
            args[1].sender._unsaved.clear()
        return found


class _BelievesOldRows(Log):
    """Recovers what a row says, though the base is newer."""

    def fits(self, previous_index: int, previous_term: int, entries: Sequence[Entry]) -> bool:
        if previous_index < self.base_index:
            return True
        return super().fits(previous_index, previous_term, entries)


SABOTAGE: dict[str, Build] = {
    "a vote is not on disk": _with_election(_ForgetsVote),
    "a term is not on disk": _with_election(_ForgetsTerm),
    "two votes in a term": _with_election(_VotesTwice),
    "a vote before the disk has it": _with_election(_VotesBeforeTheDisk),
    "a leader whose own vote is not on its disk": _with_election(_LeadsWithoutItsOwnVote),
    "votes for any log": _with_election(_VotesForAnyLog),
    "votes for the longer log, whatever its terms": _with_election(_ComparesLengthsOnly),
    "entries acknowledged before the disk has them": _AcknowledgesBeforeTheDisk,
    "the leader counts itself before its disk": _CountsItselfBeforeTheDisk,
    "entries of earlier terms committed by counting": _with_leader(_CommitsOldTerms),
    "answers before a majority has the entry": _with_leader(_CommitsWhatItAppends),
    "a late message truncates": _with("log", _TruncatesAlways),
    "the entry before is not compared": _with("log", _SkipsTheCheck),
    "commits what was not verified": _TrustsItsOwnEnd,
    "acknowledges in a later term what an earlier leader sent": _AcknowledgesPastTerms,
    "forwarded twice, applied twice": _with_leader(_TakesDuplicates),
    "a gap in the batches": _with_leader(_TakesGaps),
    "a snapshot without the sessions": _with("machine", _SnapshotsWithoutSessions),
    "failure claimed for what may have been appended": _with("origin", _ForgetsOwnBatches),
    "a leader reads without asking": _with_leader(_ReadsWithoutAsking),
    "reads before the index is applied": _with("origin", _ReadsWithoutApplying),
    "reads before the term's first entry is committed": _with_leader(_ReadsBeforeTheTermOpens),
    "an answer to an earlier round confirms a read": _with_leader(_CountsEarlierRounds),
    "entries applied again to newer records": _with("machine", _AppliesTwice),
    "the base is later than the records": _BasesTooLate,
    "a checkpoint forgets the entries after it": _DropsTheTail,
    "a checkpoint forgets the vote": _CheckpointsWithoutTheVote,
    "a snapshot since an index that was not reached": _InstallsAnywhere,
    "parts of an old snapshot": _TakesOldChunks,
    "a snapshot of storage alone": _with_leader(_SendsStorageAlone),
    "a row that is older than the base": _with("log", _BelievesOldRows),
}
