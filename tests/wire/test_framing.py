"""Frames: whatever bytes come, whole or one at a time, the answer is frames or ProtocolError."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxoskv.core.errors import ProtocolError
from paxoskv.wire import framing

LIMIT = 4096

bodies = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=20) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=20,
)


def tuples(value: object) -> object:
    return tuple(tuples(inner) for inner in value) if isinstance(value, list) else value


@given(st.lists(bodies, min_size=1, max_size=5))
def test_what_was_packed_is_unpacked_with_arrays_as_tuples(body: list[object]) -> None:
    [frame] = framing.FrameBuffer(LIMIT * 10).feed(framing.pack(body))
    assert framing.unpack(frame) == tuples(body)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=6), st.lists(st.integers(1, 70), min_size=1))
def test_frames_are_cut_alike_however_the_stream_is_cut(frames: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
    buffer = framing.FrameBuffer(LIMIT)
    found: list[bytes] = []
    position = 0
    while position < len(stream):
        size = cuts[position % len(cuts)]
        found += buffer.feed(stream[position : position + size])
        position += size
    assert found == frames
    assert len(buffer) == 0


@given(st.binary(max_size=200))
def test_any_bytes_give_frames_or_a_protocol_error(data: bytes) -> None:
    outcomes = []
    for parts in ([data], [data[index : index + 1] for index in range(len(data))]):
        buffer = framing.FrameBuffer(LIMIT)
        found: list[bytes] = []
        try:
            for part in parts:
                found += buffer.feed(part)
            outcome: object = found
        except ProtocolError:
            outcome = "refused"
        outcomes.append(outcome)
    whole, single = outcomes
    # A bad length behind good frames is found at once when it comes with them.
    assert whole == single or whole == "refused"


@given(st.binary(max_size=100))
def test_a_body_is_an_array_or_a_protocol_error(body: bytes) -> None:
    try:
        value = framing.unpack(body)
    except ProtocolError:
        return
    assert type(value) is tuple
    assert value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x90",  # an empty array
        b"\xc0",  # nil
        b"\x91" * 100_000,  # deep nesting
        b"\x91" * 1100 + b"\xc0",
        b"\xdd\xff\xff\xff\xff",  # an array of 2**32 - 1 items that are not there
        b"\x91\xdf\xff\xff\xff\xff",  # a map
        b"\x91\xc6\xff\xff\xff\xff",  # 4 GiB of binary
        b"\x91\xd4\x01\x00",  # an extension
        b"\x91\xa1\xff",  # text that is no UTF-8
        b"\x91\xc0\xc0",  # something behind it
    ],
)
def test_hostile_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        framing.unpack(body)


@pytest.mark.parametrize("length", [0, LIMIT + 1, 2**31, 2**32 - 1])
def test_a_length_out_of_bounds_is_refused_before_its_bytes_come(length: int) -> None:
    with pytest.raises(ProtocolError, match="limit"):
        framing.FrameBuffer(LIMIT).feed(length.to_bytes(4, "big"))
