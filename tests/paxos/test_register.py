"""The register's bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxoskv.core import operations
from paxoskv.core.operations import Operation
from paxoskv.core.placement import ReplicaSet
from paxoskv.paxos import ballot as ballots
from paxoskv.paxos import register
from paxoskv.paxos.chain import Chain, enter
from paxoskv.paxos.register import Register

ORIGIN = 2
u64 = st.integers(0, 2**64 - 1)


@st.composite
def made(draw: st.DrawFn) -> Register:
    found = Register()
    found.value = draw(st.none() | st.binary(max_size=40))
    found.modified, found.horizon = draw(u64), draw(u64)
    found.expires_at = 0 if found.value is None else draw(u64)
    found.lineage = draw(st.dictionaries(st.integers(1, 255), st.tuples(u64, u64), max_size=9))
    return found


@given(made())
def test_what_is_decoded_is_what_was_encoded(given_register: Register) -> None:
    encoded = register.encode(given_register)
    decoded = register.decode(encoded)
    for name in Register.__slots__:
        assert getattr(decoded, name) == getattr(given_register, name)
    assert register.encode(decoded) == encoded
    assert register.user_view(encoded) == (
        given_register.value,
        given_register.version,
        given_register.expires_at,
    )


@st.composite
def plain(draw: st.DrawFn) -> Register:
    """Mostly one that was written by ORIGIN alone, and has nothing but a value."""
    found = draw(made())
    if draw(st.booleans()):
        found.horizon = found.expires_at = 0
    if draw(st.booleans()):
        found.lineage = {ORIGIN: (draw(st.integers(0, 9)), found.modified)}
    return found


@given(plain(), st.integers(1, 9), st.integers(1, 2**40), st.integers(0, 9), st.binary(max_size=40))
def test_a_plain_put_on_the_bytes_is_the_one_on_the_register(
    before: Register, number: int, ballot: int, step: int, value: bytes
) -> None:
    chain = Chain(b"k", ReplicaSet((1, 2, 3), 2), None)
    chain.ballot, chain.step, chain.tail = ballot, step, before
    operation = Operation(operations.PUT, b"k", value)
    operation.number, operation.exposed = number, ballot
    encoded = register.encode(before)
    is_plain = (
        not before.expires_at
        and not before.horizon
        and list(before.lineage) == [ORIGIN]
        and before.lineage[ORIGIN][0] < number
    )
    enter(chain, ORIGIN, operation, 1000, wall_ms=0)
    version = ballot << ballots.STEP_BITS | step + 1
    found = register.successor(encoded, ORIGIN, number, version, value)
    assert found == (register.encode(before) if is_plain else None)


def test_nothing_written_yet_has_no_successor() -> None:
    assert register.successor(register.EMPTY, ORIGIN, 1, 1, b"x") is None


@given(st.binary(max_size=80))
def test_any_bytes_are_a_register_or_a_value_error(data: bytes) -> None:
    if data and not register.is_shaped(data):
        with pytest.raises(ValueError, match="not a register"):
            register.check(data)
        return
    register.check(data)
    decoded = register.decode(data)
    meaningless = bool(data) and (data[0] == 3) != any(data[10:18])
    assert register.encode(decoded) == data or not data or meaningless or _repeats_an_origin(data)
    assert register.user_view(data) == (decoded.value, decoded.version, decoded.expires_at)


def _repeats_an_origin(data: bytes) -> bool:
    return len(register.decode(data).lineage) < data[1]


def test_a_key_that_was_never_written_is_absent_at_version_0() -> None:
    assert register.user_view(register.EMPTY) == (None, 0, 0)
    assert register.decode(register.EMPTY).version == 0
