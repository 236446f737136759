"""The log engine's messages as bytes: what is sent arrives, and nothing else gets through."""

import contextlib
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxoskv.core import operations
from paxoskv.core.errors import ProtocolError
from paxoskv.raft import messages
from paxoskv.raft.entry import Batch, Entry
from paxoskv.raft.machine import Base
from paxoskv.raft.messages import Message
from paxoskv.wire import raft

terms = st.integers(1, 2**40)
indexes = st.integers(0, 2**40)
numbers = st.integers(0, 2**60)
keys = st.binary(min_size=1, max_size=8)
arguments = st.none() | st.binary(max_size=8) | st.integers(-(2**63), 2**63 - 1)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    kinds = draw(st.binary(min_size=1, max_size=4).map(lambda drawn: bytes(kind % 12 for kind in drawn)))
    parts = st.tuples(arguments, arguments, st.none() | st.integers(-1, 2**62))
    drawn = [
        draw(parts.filter(lambda part, kind=kind: operations.is_well_formed(kind, *part)))  # type: ignore[misc]
        if kind != operations.INCRFLOAT
        else (b"1.5", None, None)
        for kind in kinds
    ]
    columns = [[part[column] for part in drawn] for column in range(3)]
    origin, incarnation = draw(st.integers(1, 255)), draw(st.integers(1, 2**24 - 1))
    return Batch(origin, incarnation, draw(st.integers(1, 2**60)), kinds, [draw(keys) for _ in kinds], *columns)


@st.composite
def appends(draw: st.DrawFn) -> Message:
    entry_terms = sorted(draw(st.lists(terms, max_size=3)))
    previous_term = draw(st.integers(0, entry_terms[0] if entry_terms else 9))
    found = [
        Entry(term, draw(st.integers(1, 2**30)), draw(numbers), draw(st.lists(batches(), max_size=2)))
        for term in entry_terms
    ]
    term = max([previous_term, *entry_terms]) + draw(st.integers(0, 3))
    return messages.Append(term, draw(indexes), previous_term, draw(indexes), draw(numbers), found)


@st.composite
def chunks(draw: st.DrawFn) -> Message:
    found = draw(st.lists(keys, max_size=4))
    records = tuple(draw(st.binary(min_size=8, max_size=8)) + b"\1" + draw(st.binary(max_size=5)) for _ in found)
    return messages.Chunk(draw(terms), draw(numbers), draw(numbers), draw(indexes), tuple(found), records)


sessions = st.lists(st.tuples(st.integers(1, 255), st.integers(1, 2**24 - 1), numbers), max_size=3).map(tuple)
everything = st.one_of(
    appends(),
    chunks(),
    st.builds(messages.Appended, terms, indexes, numbers),
    st.builds(messages.Rejected, terms, indexes, indexes, terms, indexes, numbers),
    st.builds(messages.VoteRequest, terms, indexes, terms, st.booleans(), st.booleans()),
    st.builds(messages.Vote, terms, st.booleans(), st.booleans()),
    st.builds(messages.Campaign, terms),
    st.builds(messages.Forward, terms, st.lists(batches(), max_size=3).map(tuple)),
    st.builds(messages.Expected, terms, numbers),
    st.builds(messages.ReadRequest, terms, numbers),
    st.builds(messages.ReadIndex, terms, numbers, st.integers(-1, 2**40)),
    st.builds(messages.Install, terms, numbers, numbers, indexes, st.builds(Base, indexes, terms, sessions)),
    st.builds(messages.Stored, terms, numbers, numbers),
    st.builds(messages.HardState, terms, st.integers(0, 255)),
)


def fields(value: Any) -> Any:
    """A message as plain data, without the bytes that it carries along."""
    if isinstance(value, (list, tuple)):
        return [fields(item) for item in value]
    if isinstance(value, Batch):
        columns = (value.kinds, value.keys, value.arguments, value.conditions, value.expiries)
        return [value.origin, value.incarnation, value.number, *map(fields, columns)]
    if isinstance(value, Entry):
        return [value.term, value.value_bytes_max, value.wall_ms, fields(value.batches)]
    if isinstance(value, Base):
        return [value.index, value.term, fields(value.sessions)]
    if type(value).__module__ == messages.__name__:
        return [type(value)] + [fields(getattr(value, name)) for name in type(value).__slots__ if name != "encoded"]
    return value


@pytest.mark.interpreted
@given(everything)
def test_what_is_sent_arrives(message: Message) -> None:
    assert fields(raft.CODEC.decode(raft.CODEC.encode(message))) == fields(message)


@given(everything, st.data())
def test_broken_bytes_are_refused_or_are_another_message(message: Message, data: st.DataObject) -> None:
    encoded = bytearray(raft.CODEC.encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(encoded) - 1))
        encoded[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProtocolError):
        raft.CODEC.decode(bytes(encoded[: data.draw(st.integers(0, len(encoded)))] or b"\xc0"))


@given(st.binary(max_size=64))
def test_arbitrary_bytes_raise_protocol_errors_and_nothing_else(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        raft.CODEC.decode(data)


ENTRY = msgpack.packb((3, 1024, 0))
BATCH = msgpack.packb((1, 1, 1, b"\1", [b"k"], [b"v"], [], []))

MALFORMED = {
    "an unknown kind": (99, 1),
    "a negative kind": (-1, 1),
    "a kind that is no number": (True, 1),
    "a term that is no number": (1, "1", 1, 1),
    "a term far beyond any": (1, 2**48 + 1, 1, 1),
    "an index below zero": (1, 1, -1, 1),
    "too few parts": (1, 1),
    "too many parts": (1, 1, 1, 1, 1),
    "an entry of a later term than its leader's": (0, 2, 1, 1, 0, 0, [ENTRY]),
    "an entry of an earlier term than the one before it": (0, 9, 1, 4, 0, 0, [ENTRY]),
    "an entry that is no entry": (0, 9, 1, 1, 0, 0, [b"\x01"]),
    "an entry with a batch that is none": (0, 9, 1, 1, 0, 0, [msgpack.packb((3, 1024, 0, b"x"))]),
    "an entry past the last index": (0, 9, 2**43 - 1, 1, 0, 0, [ENTRY]),
    "a batch of node 0": (6, 1, [msgpack.packb((0, 1, 1, b"\1", [b"k"], [b"v"], [], []))]),
    "a batch number 0": (6, 1, [msgpack.packb((1, 1, 0, b"\1", [b"k"], [b"v"], [], []))]),
    "a batch with columns of unequal length": (6, 1, [msgpack.packb((1, 1, 1, b"\1\1", [b"k"], [b"v"], [], []))]),
    "a batch with the empty key": (6, 1, [msgpack.packb((1, 1, 1, b"\1", [b""], [b"v"], [], []))]),
    "a batch with a wrong argument": (6, 1, [msgpack.packb((1, 1, 1, b"\4", [b"k"], [b"v"], [], []))]),
    "a batch of an unknown kind": (6, 1, [msgpack.packb((1, 1, 1, b"\x63", [b"k"], [b"v"], [], []))]),
    "a vote that is neither yes nor no": (4, 1, 1, False),
    "a part of a snapshot with a record too few": (10, 1, 1, 1, 1, [b"k"], []),
    "a part of a snapshot with the base's key": (10, 1, 1, 1, 1, [b""], [bytes(9)]),
    "a part of a snapshot with a torn record": (10, 1, 1, 1, 1, [b"k"], [bytes(5)]),
    "a snapshot with a session of nobody": (11, 1, 1, 1, 0, 5, 1, [[0, 1, 1]]),
    "a snapshot with a torn session": (11, 1, 1, 1, 0, 5, 1, [[1, 1]]),
    "a vote for node 256": (13, 1, 256),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_no_node_of_ours_sends_is_refused(what: str) -> None:
    with pytest.raises(ProtocolError):
        raft.CODEC.decode(msgpack.packb(MALFORMED[what]))


def test_what_is_nested_so_deep_that_no_repr_takes_it_is_refused() -> None:
    """It ended the node."""
    with pytest.raises(ProtocolError):
        raft.CODEC.decode(b"\x92\x05" + b"\x91" * 1000 + b"\xc0")


def test_the_examples_above_are_wrong_in_one_thing_each() -> None:
    for body in ((1, 1, 1, 1), (0, 9, 1, 1, 0, 0, [ENTRY]), (6, 1, [BATCH]), (10, 1, 1, 1, 1, [b"k"], [bytes(9)])):
        raft.CODEC.decode(msgpack.packb(body))


def test_an_append_is_encoded_once() -> None:
    message = messages.Append(3, 1, 1, 1, 0, [Entry(3, 1024, 0, ())])
    assert raft.CODEC.encode(message) is raft.CODEC.encode(message)
    assert raft.CODEC.decode(raft.CODEC.encode(message)).encoded == message.encoded  # type: ignore[union-attr]
