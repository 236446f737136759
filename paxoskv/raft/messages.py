"""What replicas say to each other, and what a journal row holds. Sections are the dissertation's.

Every message carries its sender's term. Append, HardState, Chunk and Install are what the journal holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from paxoskv.raft.entry import Batch, Entry
from paxoskv.raft.machine import Base


@dataclass(slots=True, eq=False)
class Append:
    """AppendEntries (3.5). The same object goes to every follower in step, and its bytes to every journal.

    `round`, when it is new to the follower or there are no entries, asks for an answer at once, which proves that at
    that moment the sender was still leader (6.4).
    """

    term: int
    previous_index: int
    previous_term: int
    committed: int
    round: int
    entries: Sequence[Entry]
    encoded: bytes = b""
    """All of it as bytes, filled in by the wire when it encodes or decodes it."""


@dataclass(slots=True, eq=False)
class Appended:
    """The log equals the leader's up to `match`, durably. `round` is the highest that was heard."""

    term: int
    match: int
    round: int


@dataclass(slots=True, eq=False)
class Rejected:
    """There is no entry of that term at `previous_index`, or the sender's term is past.

    `hint_index` and `hint_term`: the last entry that can still match (3.5, fast back-off). `applied`: the records hold
    everything up to there.
    """

    term: int
    previous_index: int
    hint_index: int
    hint_term: int
    applied: int
    round: int


@dataclass(slots=True, eq=False)
class VoteRequest:
    """RequestVote (3.4). `is_trial`: would you vote (9.6)? `by_transfer`: the leader itself asked for it (3.10)."""

    term: int
    last_index: int
    last_term: int
    is_trial: bool
    by_transfer: bool


@dataclass(slots=True, eq=False)
class Vote:
    """The answer. When a trial is granted, the term is the one asked for."""

    term: int
    granted: bool
    is_trial: bool


@dataclass(slots=True, eq=False)
class Campaign:
    """TimeoutNow (3.10): stand for election at once."""

    term: int


@dataclass(slots=True, eq=False)
class Forward:
    """Batches of the sender's clients, with consecutive numbers, for the leader to append."""

    term: int
    batches: Sequence[Batch]


@dataclass(slots=True, eq=False)
class Expected:
    """Batches were not taken: send again from `number` on, or, when it is 0, to the leader; this node is not."""

    term: int
    number: int


@dataclass(slots=True, eq=False)
class ReadRequest:
    """Up to where must this node have applied the log, to answer what it was asked before it sent this (6.4)?"""

    term: int
    number: int


@dataclass(slots=True, eq=False)
class ReadIndex:
    """Up to `index`, all of which is committed. -1: this node is not the leader."""

    term: int
    number: int
    index: int


@dataclass(slots=True, eq=False)
class Chunk:
    """Part `number`, from 1 on, of a snapshot (5): keys and their records, each as of some index from `index` on."""

    term: int
    snapshot: int
    number: int
    index: int
    keys: Sequence[bytes]
    records: Sequence[bytes]


@dataclass(slots=True, eq=False)
class Install:
    """The last part of a snapshot, sent when all others are stored: with them, what held everything up to `since` holds
    everything up to `base`."""

    term: int
    snapshot: int
    number: int
    since: int
    base: Base


@dataclass(slots=True, eq=False)
class Stored:
    """That part of the snapshot is durable."""

    term: int
    snapshot: int
    number: int


@dataclass(slots=True, eq=False)
class HardState:
    """The current term, and the node that was voted for in it, 0 for none. For the journal alone."""

    term: int
    vote: int


Message = (
    Append
    | Appended
    | Rejected
    | VoteRequest
    | Vote
    | Campaign
    | Forward
    | Expected
    | ReadRequest
    | ReadIndex
    | Chunk
    | Install
    | Stored
    | HardState
)
