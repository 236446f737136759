"""The log engine's messages as bytes. What is in an entry or a batch, `paxoskv.raft.entry` knows."""

from collections.abc import Callable
from typing import Any, Final

from paxoskv.raft import entry, messages
from paxoskv.raft.entry import INCARNATION_MAX, INDEX_MAX, NODE_MAX, NUMBER_MAX, integer
from paxoskv.raft.machine import Base
from paxoskv.raft.messages import Message
from paxoskv.raft.records import parse
from paxoskv.wire.tagged import make_codec

# Within this bound, an engine looks at how far a term is ahead of its own (`TERMS_AHEAD_MAX`).
_TERM_MAX: Final = 2**48
_BYTES: Final = frozenset((bytes,))


_ENCODERS: Final[dict[type, Callable[[Any], tuple[Any, ...]]]] = {
    messages.Append: lambda m: (
        0,
        m.term,
        m.previous_index,
        m.previous_term,
        m.committed,
        m.round,
        [item.encoded for item in m.entries],
    ),
    messages.Appended: lambda m: (1, m.term, m.match, m.round),
    messages.Rejected: lambda m: (2, m.term, m.previous_index, m.hint_index, m.hint_term, m.applied, m.round),
    messages.VoteRequest: lambda m: (3, m.term, m.last_index, m.last_term, m.is_trial, m.by_transfer),
    messages.Vote: lambda m: (4, m.term, m.granted, m.is_trial),
    messages.Campaign: lambda m: (5, m.term),
    messages.Forward: lambda m: (6, m.term, [batch.encoded for batch in m.batches]),
    messages.Expected: lambda m: (7, m.term, m.number),
    messages.ReadRequest: lambda m: (8, m.term, m.number),
    messages.ReadIndex: lambda m: (9, m.term, m.number, m.index),
    messages.Chunk: lambda m: (10, m.term, m.snapshot, m.number, m.index, m.keys, m.records),
    messages.Install: lambda m: (11, m.term, m.snapshot, m.number, m.since, m.base.index, m.base.term, m.base.sessions),
    messages.Stored: lambda m: (12, m.term, m.snapshot, m.number),
    messages.HardState: lambda m: (13, m.term, m.vote),
}


def _index(value: Any) -> int:
    return integer(value, 0, INDEX_MAX)


def _number(value: Any) -> int:
    return integer(value, 0, NUMBER_MAX)


def _term(value: Any) -> int:
    return integer(value, 0, _TERM_MAX)


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(value)
    return value


def _column(value: Any) -> tuple[bytes, ...]:
    if type(value) is not tuple or not _BYTES.issuperset(map(type, value)):
        raise ValueError(value)
    return value


def _decode_append(
    term: Any, previous_index: Any, previous_term: Any, committed: Any, round_: Any, encoded: Any
) -> messages.Append:
    entries = tuple([entry.decode_entry(item) for item in _column(encoded)])
    _index(_index(previous_index) + len(entries))
    lowest = _term(previous_term)
    for item in entries:
        # No leader has entries of a later term than its own, nor terms that decrease.
        integer(item.term, lowest, _term(term))
        lowest = item.term
    return messages.Append(term, previous_index, previous_term, _index(committed), _number(round_), entries)


def _decode_appended(term: Any, match: Any, round_: Any) -> messages.Appended:
    return messages.Appended(term, _index(match), _number(round_))


def _decode_rejected(
    term: Any, previous_index: Any, hint_index: Any, hint_term: Any, applied: Any, round_: Any
) -> messages.Rejected:
    return messages.Rejected(
        term, _index(previous_index), _index(hint_index), _term(hint_term), _index(applied), _number(round_)
    )


def _decode_vote_request(
    term: Any, last_index: Any, last_term: Any, is_trial: Any, by_transfer: Any
) -> messages.VoteRequest:
    return messages.VoteRequest(term, _index(last_index), _term(last_term), _flag(is_trial), _flag(by_transfer))


def _decode_vote(term: Any, granted: Any, is_trial: Any) -> messages.Vote:
    return messages.Vote(term, _flag(granted), _flag(is_trial))


def _decode_forward(term: Any, encoded: Any) -> messages.Forward:
    return messages.Forward(term, tuple([entry.decode_batch(item) for item in _column(encoded)]))


def _decode_expected(term: Any, number: Any) -> messages.Expected:
    return messages.Expected(term, _number(number))


def _decode_read_request(term: Any, number: Any) -> messages.ReadRequest:
    return messages.ReadRequest(term, _number(number))


def _decode_read_index(term: Any, number: Any, index: Any) -> messages.ReadIndex:
    return messages.ReadIndex(term, _number(number), integer(index, -1, INDEX_MAX))


def _decode_chunk(term: Any, snapshot: Any, number: Any, index: Any, keys: Any, records: Any) -> messages.Chunk:
    if len(_column(keys)) != len(_column(records)) or b"" in keys:
        raise ValueError("not one record for each key")
    for record in records:
        parse(record)
    return messages.Chunk(term, _number(snapshot), _number(number), _index(index), keys, records)


def _decode_install(
    term: Any, snapshot: Any, number: Any, since: Any, index: Any, base_term: Any, sessions: Any
) -> messages.Install:
    for origin, incarnation, last in sessions:
        integer(origin, 1, NODE_MAX)
        integer(incarnation, 1, INCARNATION_MAX)
        _number(last)
    return messages.Install(
        term, _number(snapshot), _number(number), _index(since), Base(_index(index), _term(base_term), sessions)
    )


def _decode_stored(term: Any, snapshot: Any, number: Any) -> messages.Stored:
    return messages.Stored(term, _number(snapshot), _number(number))


def _decode_hard_state(term: Any, vote: Any) -> messages.HardState:
    return messages.HardState(term, integer(vote, 0, NODE_MAX))


_DECODERS: Final[tuple[Callable[..., Message], ...]] = (
    _decode_append,
    _decode_appended,
    _decode_rejected,
    _decode_vote_request,
    _decode_vote,
    lambda term: messages.Campaign(term),
    _decode_forward,
    _decode_expected,
    _decode_read_request,
    _decode_read_index,
    _decode_chunk,
    _decode_install,
    _decode_stored,
    _decode_hard_state,
)

CODEC: Final = make_codec(_ENCODERS, _DECODERS, shared=messages.Append, check=lambda message: _term(message.term))
