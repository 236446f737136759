"""What an operation means, against an independent restatement."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxoskv.core import operations
from paxoskv.core.operations import Operation, evaluate

LIMIT = 40
values = st.none() | st.binary(max_size=30) | st.integers(-(2**63) - 2, 2**63 + 2).map(lambda n: b"%d" % n)


def evaluated(
    kind: int, value: bytes | None, version: int, argument: object = None, condition: object = None
) -> object:
    operation = Operation(kind, b"k", argument, condition)  # type: ignore[arg-type]
    done = evaluate(operation, value, version, LIMIT)
    return done.status, done.result, done.value if done.effect else "unchanged"


@given(values, st.integers(-(2**63), 2**63 - 1))
def test_incr_adds_to_canonical_signed_64_bit_numbers_and_to_nothing_else(value: bytes | None, by: int) -> None:
    text = "0" if value is None else value.decode("latin-1")
    canonical = re.fullmatch(r"0|-?[1-9]\d*", text, re.ASCII) is not None and abs(int(text)) <= 2**63
    canonical = canonical and int(text) != 2**63
    found = evaluated(operations.INCR, value, 7, by)
    if not canonical:
        assert found == (operations.NOT_AN_INTEGER, value, "unchanged")
    elif not -(2**63) <= int(text) + by < 2**63:
        assert found == (operations.INTEGER_OVERFLOW, value, "unchanged")
    else:
        assert found == (operations.OK, int(text) + by, str(int(text) + by).encode())


@pytest.mark.parametrize("text", [b"", b"+1", b"01", b"-0", b" 1", b"1 ", b"1_000", b"1.0", b"0x1", "\u0661".encode()])
def test_incr_takes_no_other_spelling_of_a_number(text: bytes) -> None:
    assert evaluated(operations.INCR, text, 7, 1) == (operations.NOT_AN_INTEGER, text, "unchanged")


@given(values, values, st.binary(max_size=5))
def test_cas_compares_values_and_absence(value: bytes | None, expected: bytes | None, new: bytes) -> None:
    found = evaluated(operations.CAS, value, 7, new, expected)
    if value == expected:
        assert found == (operations.OK, None, new)
    else:
        assert found == (operations.CONDITION_FAILED, value, "unchanged")


@given(st.sampled_from([operations.PUT, operations.DELETE]), values, st.none() | st.integers(0, 9))
def test_put_and_delete_compare_versions_with_0_for_absent(
    kind: int, value: bytes | None, condition: int | None
) -> None:
    version = 0 if value is None else 7
    argument = b"new" if kind == operations.PUT else None
    found = evaluated(kind, value, version, argument, condition)
    if condition is not None and condition != version:
        assert found == (operations.CONDITION_FAILED, value, "unchanged")
    elif kind == operations.PUT:
        assert found == (operations.OK, None, b"new")
    elif value is None:
        assert found == (operations.ABSENT, None, "unchanged")
    else:
        assert found == (operations.OK, None, None)


@given(values, st.binary(max_size=30))
def test_append_and_swap(value: bytes | None, argument: bytes) -> None:
    longer = (value or b"") + argument
    found = evaluated(operations.APPEND, value, 7, argument)
    if len(longer) > LIMIT:
        assert found == (operations.VALUE_TOO_LARGE, value, "unchanged")
    else:
        assert found == (operations.OK, len(longer), longer)
    assert evaluated(operations.SWAP, value, 7, argument) == (operations.OK, value, argument)
    assert evaluated(operations.GET, value, 7) == (operations.OK, value, "unchanged")


@pytest.mark.parametrize(
    ("kind", "argument", "condition"),
    [
        (operations.GET, b"x", None),
        (operations.GET, None, 1),
        (operations.PUT, None, None),
        (operations.PUT, "text", None),
        (operations.PUT, b"x", -1),
        (operations.PUT, b"x", True),
        (operations.PUT, b"x", b"1"),
        (operations.DELETE, b"x", None),
        (operations.DELETE, None, 2**64),
        (operations.CAS, b"x", 1),
        (operations.CAS, None, None),
        (operations.INCR, b"1", None),
        (operations.INCR, True, None),
        (operations.INCR, 2**63, None),
        (operations.INCR, 1, 1),
        (operations.APPEND, 1, None),
        (operations.SWAP, b"x", b"y"),
        (7, b"x", None),
        (-1, b"x", None),
    ],
)
def test_what_is_not_well_formed(kind: int, argument: object, condition: object) -> None:
    assert not operations.is_well_formed(kind, argument, condition)  # type: ignore[arg-type]
