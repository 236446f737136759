"""What an operation means, against an independent restatement."""

import re
from typing import Any

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
    done = evaluate(operation, value, version, 0, LIMIT)
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
        (operations.PUT, b"x", -7),
        (operations.PUT, b"x", True),
        (operations.PUT, b"x", 1.0),
        (operations.PUT, b"x", operations.LATER),
        (operations.DELETE, b"x", None),
        (operations.DELETE, None, 2**64),
        (operations.CAS, b"x", 1),
        (operations.CAS, None, None),
        (operations.INCR, b"1", None),
        (operations.INCR, True, None),
        (operations.INCR, 2**63, None),
        (operations.INCR, 1, "1"),
        (operations.APPEND, 1, None),
        (operations.EXPIRE, None, None),
        (operations.SETRANGE, b"1234567", None),
        (operations.INCRFLOAT, b"nan", None),
        (operations.INCRFLOAT, b"", None),
        (12, b"x", None),
        (-1, b"x", None),
    ],
)
def test_what_is_not_well_formed(kind: int, argument: object, condition: object) -> None:
    assert not operations.is_well_formed(kind, argument, condition)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "expiry", "condition"),
    [
        (operations.PUT, -2, None),
        (operations.PUT, 2**63, None),
        (operations.PUT, True, None),
        (operations.PUT, 1.5, None),
        (operations.PUT, operations.NEVER, operations.LATER),
        (operations.PUT, operations.KEEP, operations.SOONER),
        (operations.GET, 5, None),
        (operations.DELETE, 5, None),
        (operations.TAKE, operations.NEVER, None),
        (operations.EXPIRE, operations.KEEP, None),
        (operations.RENEW, operations.KEEP, None),
        (operations.RENEW, None, None),
    ],
)
def test_which_expiries_are_not_well_formed(kind: int, expiry: Any, condition: int | None) -> None:
    argument = b"x" if kind == operations.PUT else None
    assert not operations.is_well_formed(kind, argument, condition, expiry)


def after(kind: int, expires_at: int, expiry: int | None, condition: int | bytes | None = None) -> Any:
    """Expiry after an operation on b"12" of version 7, or the status of one that did nothing."""
    argument: Any = {operations.INCR: 1, operations.SETRANGE: operations.range_argument(1, b"3")}.get(kind, b"3")
    if kind in (operations.EXPIRE, operations.RENEW, operations.DELETE, operations.TAKE):
        argument = None
    operation = Operation(kind, b"k", argument, condition, expiry=expiry)
    assert operations.is_well_formed(kind, argument, condition, expiry)
    done = evaluate(operation, b"12", 7, expires_at, LIMIT)
    return done.expires_at if done.effect else done.status


PUTS = (operations.PUT, operations.SWAP)
CHANGES = (operations.INCR, operations.APPEND, operations.SETRANGE, operations.INCRFLOAT)


def test_puts_forget_the_expiry_and_changes_keep_it_unless_they_say_otherwise() -> None:
    for kind in PUTS:
        assert after(kind, 50, None) == 0
    for kind in CHANGES:
        assert after(kind, 50, None) == 50
    for kind in PUTS + CHANGES:
        assert after(kind, 50, operations.KEEP) == 50
        assert after(kind, 50, operations.NEVER) == 0
        assert after(kind, 50, 60) == 60
    assert after(operations.CAS, 50, None, b"12") == 0
    assert after(operations.CAS, 50, operations.KEEP, b"12") == 50
    assert after(operations.CAS, 50, 60, b"12") == 60
    assert after(operations.EXPIRE, 50, operations.NEVER) == 0
    assert after(operations.RENEW, 0, 60) == 60


def test_conditions_on_the_expiry_are_those_of_redis() -> None:
    """Redis 7, EXPIRE: NX, XX, GT, LT. No expiry counts as later than any."""
    failed = operations.CONDITION_FAILED
    rows = [
        (operations.NO_EXPIRY, 60, failed, failed),
        (operations.HAS_EXPIRY, failed, 60, 60),
        (operations.LATER, failed, 60, failed),
        (operations.SOONER, 60, failed, 60),
        (operations.HAS_EXPIRY_SOONER, failed, failed, 60),
    ]
    for condition, without, earlier, later in rows:
        found = [after(operations.EXPIRE, expires_at, 60, condition) for expires_at in (0, 50, 70)]
        assert found == [without, earlier, later], condition
    assert after(operations.EXPIRE, 60, 60, operations.LATER) == failed
    assert after(operations.EXPIRE, 60, 60, operations.SOONER) == failed


@given(values, st.integers(0, 60), st.binary(max_size=30))
def test_setrange_fills_with_zeros_and_keeps_what_it_does_not_cover(
    value: bytes | None, offset: int, part: bytes
) -> None:
    found = evaluated(operations.SETRANGE, value, 7, operations.range_argument(offset, part))
    expected = bytearray(value or b"")
    if not part:
        assert found == (operations.OK, len(expected), "unchanged")
        return
    expected.extend(bytes(max(0, offset + len(part) - len(expected))))
    expected[offset : offset + len(part)] = part
    if len(expected) > LIMIT:
        assert found == (operations.VALUE_TOO_LARGE, value, "unchanged")
    else:
        assert found == (operations.OK, len(expected), bytes(expected))


def test_an_offset_beyond_any_value_takes_no_memory() -> None:
    argument = operations.range_argument(2**63 - 1, b"x")
    assert evaluated(operations.SETRANGE, b"v", 7, argument) == (operations.VALUE_TOO_LARGE, b"v", "unchanged")


def test_every_mutation_takes_conditions_on_existence_and_value() -> None:
    for kind in (*PUTS, *CHANGES, operations.DELETE, operations.TAKE, operations.EXPIRE, operations.RENEW):
        expiry = 60 if kind in (operations.EXPIRE, operations.RENEW) else None
        for condition in (operations.EXISTS, 7, b"12"):
            assert after(kind, 0, expiry, condition) in (0, 60)
        for failing in (0, 8, b"other"):
            assert after(kind, 0, expiry, failing) == operations.CONDITION_FAILED


def test_what_is_absent_is_neither_taken_nor_renewed() -> None:
    for kind in (operations.DELETE, operations.TAKE, operations.EXPIRE, operations.RENEW):
        done = evaluate(Operation(kind, b"k", expiry=60), None, 0, 0, LIMIT)
        assert (done.status, done.effect) == (operations.ABSENT, False)
    assert evaluated(operations.TAKE, b"v", 7) == (operations.OK, b"v", None)
    assert evaluate(Operation(operations.RENEW, b"k", expiry=60), b"v", 7, 0, LIMIT) == (
        operations.OK,
        b"v",
        True,
        b"v",
        60,
    )
