"""The register's bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxoskv.paxos import register
from paxoskv.paxos.register import Register

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
