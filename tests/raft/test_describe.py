"""Every message of the log engine in words, for traces."""

import json
from typing import get_args

import pytest

from paxoskv.core import operations
from paxoskv.raft import describe, messages
from paxoskv.raft.entry import Batch, Entry
from paxoskv.raft.machine import Base

BATCH = Batch(
    2,
    1,
    7,
    bytes([operations.PUT, operations.GET, operations.CAS]),
    (b"b", b"a", b"\xff"),
    (b"x", None, b"z"),
    (None, None, b"y"),
    (),
)
ENTRIES = (Entry(3, 100, 0, ()), Entry(3, 100, 0, (BATCH,)))
ALL = [
    messages.Append(3, 4, 2, 4, 9, ENTRIES),
    messages.Appended(3, 6, 9),
    messages.Rejected(3, 4, 2, 1, 2, 9),
    messages.VoteRequest(3, 6, 3, True, False),
    messages.Vote(3, True, True),
    messages.Campaign(3),
    messages.Forward(3, (BATCH,)),
    messages.Expected(3, 7),
    messages.ReadRequest(3, 5),
    messages.ReadIndex(3, 5, 6),
    messages.Chunk(3, 1, 2, 6, (b"a",), (b"record",)),
    messages.Install(3, 1, 3, 2, Base(6, 3, ())),
    messages.Stored(3, 1, 2),
    messages.HardState(3, 2),
]


@pytest.mark.parametrize("message", ALL, ids=lambda message: type(message).__name__)
def test_a_message_names_itself_and_its_term(message: messages.Message) -> None:
    (said,) = describe.message(message)
    assert (said["kind"], said["term"]) == (type(message).__name__, 3)
    assert json.loads(json.dumps(said)) == said


def test_no_message_is_without_words() -> None:
    assert {type(message) for message in ALL} == set(get_args(messages.Message))


def test_entries_say_what_they_do_and_where_they_are() -> None:
    (said,) = describe.message(ALL[0])
    assert [(entry["index"], entry["operations"]) for entry in said["entries"]] == [
        (5, []),
        (6, ["put b x", "get a", "cas \\xff z if y"]),
    ]
    assert said["entries"][1]["keys"] == ["\\xff", "a", "b"]
    assert list(describe.entries(ALL[0])) == [(5, set()), (6, {b"a", b"b", b"\xff"})]


def test_an_entry_whose_batches_were_given_up_is_read_from_its_bytes() -> None:
    entry = Entry(3, 100, 0, (BATCH,))
    entry.batches = ()
    (said,) = describe.message(messages.Append(3, 4, 2, 4, 9, (entry,)))
    assert len(said["entries"][0]["operations"]) == 3


def test_keys_are_those_that_a_message_is_about() -> None:
    found = {type(message).__name__: set(describe.keys(message)) for message in ALL}
    everything = {b"a", b"b", b"\xff"}
    assert {name: keys for name, keys in found.items() if keys} == {
        "Append": everything,
        "Forward": everything,
        "Chunk": {b"a"},
    }
