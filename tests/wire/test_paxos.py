"""The leaderless engine's messages as bytes: what is sent arrives, and nothing else gets through."""

import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxoskv.core import errors, operations
from paxoskv.core.errors import ProtocolError
from paxoskv.paxos import messages, register
from paxoskv.paxos.messages import Message
from paxoskv.wire import paxos

numbers = st.integers(0, 2**40)
keys = st.binary(min_size=1, max_size=12)
ballots = st.integers(1, 2**40)
versions = st.integers(1, 2**60)


@st.composite
def registers(draw: st.DrawFn) -> bytes:
    made = register.Register()
    made.value = draw(st.none() | st.binary(max_size=20))
    made.modified = draw(st.integers(0, 2**60))
    made.expires_at = draw(st.integers(0, 2**60)) if made.value is not None else 0
    made.horizon = draw(st.integers(0, 2**60))
    made.lineage = draw(st.dictionaries(st.integers(1, 255), st.tuples(versions, versions), max_size=4))
    return register.encode(made)


refusals = st.lists(st.builds(messages.Refusal, keys, st.integers(0, 2**40), st.booleans()), max_size=3).map(tuple)
arguments = st.none() | st.binary(max_size=8) | st.integers(-(2**63), 2**63 - 1)


@st.composite
def proposals(draw: st.DrawFn) -> Message:
    prepares = draw(st.lists(st.tuples(keys, ballots, st.integers(0, 2**60)), max_size=4))
    accepts = draw(st.lists(st.tuples(keys, versions, registers()), max_size=4))
    columns = [tuple(column) for column in zip(*prepares, strict=True)] or [(), (), ()]
    columns += [tuple(column) for column in zip(*accepts, strict=True)] or [(), (), ()]
    return messages.Proposals(draw(numbers), *columns)


@st.composite
def promises(draw: st.DrawFn) -> Message:
    pairs = draw(st.lists(st.tuples(st.integers(0, 2**60), st.none() | st.just(b"") | registers()), max_size=4))
    accepted, found = [tuple(column) for column in zip(*pairs, strict=True)] or [(), ()]
    return messages.Promised(draw(numbers), draw(numbers), accepted, found, draw(refusals), draw(st.integers(0, 2**60)))


@st.composite
def relayed(draw: st.DrawFn) -> messages.RelayedOperation:
    kind = draw(st.integers(1, len(operations.KIND_NAMES) - 1))
    parts = st.tuples(arguments, arguments, st.none() | st.integers(-1, 2**63 - 1))
    drawn = draw(parts.filter(lambda drawn: operations.is_well_formed(kind, *drawn)))
    return messages.RelayedOperation(draw(numbers), draw(ballots), kind, *drawn)


statuses = st.sampled_from([operations.OK, operations.ABSENT, *errors.BY_STATUS])
any_message: st.SearchStrategy[Message] = st.one_of(
    proposals(),
    promises(),
    st.builds(messages.Accepted, numbers, refusals),
    st.builds(messages.Refused, numbers, refusals),
    st.builds(messages.Reads, numbers, st.lists(keys, max_size=4).map(tuple)),
    st.builds(messages.Versions, numbers, st.lists(st.integers(0, 2**60), max_size=4).map(tuple), numbers),
    st.builds(messages.Fetches, st.lists(st.builds(messages.Fetch, numbers, keys), max_size=3).map(tuple)),
    st.builds(
        messages.Registers,
        st.lists(st.builds(messages.Fetched, numbers, st.integers(0, 2**60), registers()), max_size=3).map(tuple),
    ),
    st.builds(
        messages.Relays,
        st.lists(
            st.builds(
                messages.RelayItem, numbers, keys, ballots, st.lists(relayed(), min_size=1, max_size=3).map(tuple)
            ),
            max_size=2,
        ).map(tuple),
    ),
    st.builds(
        messages.RelayAnswers,
        st.lists(
            st.builds(
                messages.RelayAnswer,
                numbers,
                st.integers(0, 2**40),
                numbers,
                st.lists(
                    st.tuples(statuses, arguments, st.integers(0, 2**60), st.integers(0, 2**63 - 1)),
                    max_size=3,
                ).map(tuple),
            ),
            max_size=2,
        ).map(tuple),
    ),
    st.builds(messages.Pages, numbers, keys, st.none() | keys, st.none() | st.integers(1, 2**60)),
    st.lists(st.tuples(keys, st.integers(0, 2**60)), max_size=4).flatmap(
        lambda found: st.builds(
            messages.Page,
            numbers,
            keys,
            st.just(tuple(key for key, _ in found)),
            st.just(tuple(version for _, version in found)),
            st.none() | keys,
        )
    ),
)


def fields(message: Message) -> list[object]:
    return [getattr(message, name) for name in type(message).__slots__ if name != "encoded"]


@pytest.mark.interpreted
@given(any_message)
def test_a_message_arrives_as_it_was_sent(message: Message) -> None:
    arrived = paxos.CODEC.decode(paxos.CODEC.encode(message))
    assert type(arrived) is type(message)
    assert fields(arrived) == fields(message)


@given(any_message, st.data())
def test_a_damaged_message_is_a_message_or_a_protocol_error(message: Message, data: st.DataObject) -> None:
    encoded = bytearray(paxos.CODEC.encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        arrived = paxos.CODEC.decode(bytes(encoded))
    except ProtocolError:
        return
    assert type(arrived) in messages.Message.__args__  # type: ignore[attr-defined]


structures = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=8),
    max_leaves=30,
)


@given(st.integers(-1, 12), st.lists(structures, max_size=8))
def test_any_structure_is_a_message_or_a_protocol_error(tag: int, rest: list[object]) -> None:
    with contextlib.suppress(ProtocolError):
        paxos.CODEC.decode(msgpack.packb([tag, *rest]))


@pytest.mark.parametrize(
    "body",
    [
        (0, 1, (b"k",), (), (), (), (), ()),  # columns of unequal length
        (0, 1, (b"",), (1,), (0,), (), (), ()),  # an empty key
        (0, 1, (b"k",), (2**44,), (0,), (), (), ()),  # a ballot that no honest node reaches
        (0, 1, (), (), (), (b"k",), (1,), (b"\x01\xff",)),  # a register that lies about its lineage
        (0, 1, (), (), (), (b"k",), (1,), (bytes(26) + b"x",)),  # a register without a value, but with one
        (8, ((1, b"k", 1, ()),)),  # an empty relay
        (9, ((1, 0, 0, ((99, None, 1, 0),)),)),  # a status that there is not
        (8, ((1, b"k", 1, ((1, 1, 0, None, None),)),)),  # a get is never relayed
        (10, 1, b"", None, 0),  # a page of no keys
        (11, 1, b"", (b"k",), (), None),  # a page without all versions
    ],
)
def test_what_an_engine_could_not_bear_is_refused(body: tuple[object, ...]) -> None:
    with pytest.raises(ProtocolError):
        paxos.CODEC.decode(msgpack.packb(body))
