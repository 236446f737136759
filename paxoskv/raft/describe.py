"""Messages, nodes and records in the papers' words, for traces that people read. Nothing depends on it but those."""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

from paxoskv.core.operations import KIND_NAMES
from paxoskv.core.text import shown, text, words
from paxoskv.raft import messages
from paxoskv.raft.engine import RaftEngine
from paxoskv.raft.entry import Batch, Entry, decode_entry
from paxoskv.raft.messages import Message

Description = dict[str, Any]


def message(said: Message) -> list[Description]:
    """What a message says; a list, as the other engine's messages say several things."""
    fields: Description = {"kind": type(said).__name__, "term": said.term}
    if isinstance(said, messages.Append):
        fields |= {
            "previous": f"{said.previous_index}/{said.previous_term}",
            "committed": said.committed,
            "round": said.round,
            "entries": [_entry(index, entry) for index, entry in enumerate(said.entries, said.previous_index + 1)],
        }
    elif isinstance(said, messages.Appended):
        fields |= {"match": said.match, "round": said.round}
    elif isinstance(said, messages.Rejected):
        fields |= {"previous": said.previous_index, "hint": said.hint_index}
    elif isinstance(said, messages.VoteRequest):
        fields |= {"trial": said.is_trial, "last": f"{said.last_index}/{said.last_term}"}
    elif isinstance(said, messages.Vote):
        fields |= {"trial": said.is_trial, "granted": said.granted}
    elif isinstance(said, messages.Forward):
        fields |= {
            "batch": said.batches[0].number if said.batches else 0,
            "keys": sorted({text(key) for batch in said.batches for key in batch.keys}),
            "operations": [line for batch in said.batches for line in _operations(batch)],
        }
    elif isinstance(said, messages.ReadRequest):
        fields["read"] = said.number
    elif isinstance(said, messages.ReadIndex):
        fields |= {"read": said.number, "index": said.index}
    elif isinstance(said, messages.Expected):
        fields["batch"] = said.number
    elif isinstance(said, messages.Chunk):
        fields |= {"part": said.number, "keys": [text(key) for key in said.keys]}
    elif isinstance(said, messages.Install):
        fields |= {"part": said.number, "since": said.since, "index": said.base.index}
    elif isinstance(said, messages.Stored):
        fields["part"] = said.number
    elif isinstance(said, messages.HardState):
        fields["vote"] = said.vote
    return [fields]


def keys(said: Message) -> Iterator[bytes]:
    """The keys that a message is about."""
    if isinstance(said, messages.Append):
        for entry in said.entries:
            yield from _keys(_batches(entry))
    elif isinstance(said, messages.Forward):
        yield from _keys(said.batches)
    elif isinstance(said, messages.Chunk):
        yield from said.keys


def entries(said: Message) -> Iterator[tuple[int, set[bytes]]]:
    """The entries in a message, each by its index with the keys that it changes once it is applied."""
    if isinstance(said, messages.Append):
        for index, entry in enumerate(said.entries, said.previous_index + 1):
            yield index, set(_keys(_batches(entry)))


def node(engine: RaftEngine) -> Description:
    """What a node is in the log's life: its role and term, whom it follows, and how far its log goes.

    `last`: index of the log's last entry; `committed`: as far as the node knows; `applied`: to the records.
    """
    election, log = engine.election, engine.log
    return {
        "role": election.role,
        "term": election.term,
        "leader": election.leader,
        "last": log.last_index,
        "last_term": log.last_term,
        "committed": log.committed,
        "applied": engine.machine.applied,
    }


def record(engine: RaftEngine, key: bytes) -> Description:
    """What the applied entries made of a key; nothing if it is not in memory."""
    found = engine.records.resident.get(key)
    return {} if found is None else {"value": shown(found.value), "version": found.version}


def _entry(index: int, entry: Entry) -> Description:
    batches = _batches(entry)
    return {
        "index": index,
        "term": entry.term,
        "keys": sorted({text(key) for key in _keys(batches)}),
        "operations": [line for batch in batches for line in _operations(batch)],
    }


def _batches(entry: Entry) -> Sequence[Batch]:
    # An entry that is applied has given them up.
    return entry.batches or decode_entry(entry.encoded).batches


def _keys(batches: Sequence[Batch]) -> Iterator[bytes]:
    for batch in batches:
        yield from batch.keys


def _operations(batch: Batch) -> Iterator[str]:
    conditions = batch.conditions or repeat(None)
    for kind, key, argument, condition in zip(batch.kinds, batch.keys, batch.arguments, conditions, strict=False):
        line = words(KIND_NAMES[kind], key, argument)
        yield line if condition is None else f"{line} if {shown(condition)}"
