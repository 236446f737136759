"""Long doubles, against what Redis 7 answers on x86-64."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paxoskv.core.numbers import add_extended, parse_extended


def add(first: bytes, second: bytes) -> bytes | None:
    numbers = parse_extended(first), parse_extended(second)
    assert numbers[0] is not None
    assert numbers[1] is not None
    return add_extended(numbers[0], numbers[1])


@pytest.mark.parametrize(
    ("value", "by", "text"),
    [
        # The examples of Redis' own documentation of INCRBYFLOAT, then its tests (tests/unit/type/incr.tcl).
        (b"10.50", b"0.1", b"10.6"),
        (b"10.6", b"-5", b"5.6"),
        (b"5.0e3", b"2.0e2", b"5200"),
        (b"1", b"1.23", b"2.23"),
        (b"1.5", b"1.5", b"3"),
        (b"17179869184", b"1.5", b"17179869185.5"),
        (b"1", b"-1.1", b"-0.1"),
        (b"0", b"-0", b"0"),
        (b"-1e-20", b"0", b"0"),
        (b"3", b"0.00000000000000001", b"3.00000000000000001"),
        (b"0x1.8p1", b"0x10", b"19"),
        (b".5", b"5.", b"5.5"),
        (b"+1", b"-0001", b"0"),
        (b"1e30", b"1", b"1000000000000000000024696061952"),
        (b"1e-4940", b"0", b"0"),
        (b"0" * 5000 + b"1", b"-0." + b"5" + b"0" * 5000, b"0.5"),
        # More digits of an exponent than Python turns into a number: it raised, which ended nodes.
        (b"1e" + b"0" * 4400 + b"1", b"1e-" + b"0" * 4400 + b"1", b"10.1"),
        (b"0x1p" + b"0" * 4400 + b"4", b"0e" + b"9" * 4400, b"16"),
    ],
)
def test_sums_are_those_of_redis(value: bytes, by: bytes, text: bytes) -> None:
    assert add(value, by) == text


@pytest.mark.parametrize(
    "text",
    [
        *[b"", b" 1", b"1 ", b"1,5", b"abc", b"0x", b".", b"e5", b"1e", b"--1", b"nan", b"1_0", b"1e5000", b"1e-5000"],
        *[
            b"1e" + b"9" * 4400,
            b"1e-" + b"9" * 4400,
            b"0x1p-" + b"9" * 4400,
            b"1e999999999999999999",
            b"1e-999999999999999999",
            b"0x1p999999999",
            b"1" * 5120,
            "\u0661".encode(),
        ],
    ],
)
def test_what_is_no_number(text: bytes) -> None:
    assert parse_extended(text) is None


def test_infinity_is_a_number_that_no_sum_may_be() -> None:
    for text in (b"inf", b"-Infinity", b"+INF"):
        assert add(text, b"1") is None
    assert add(b"inf", b"-inf") is None
    assert add(b"1.1e4932", b"1.1e4932") is None
    assert add(b"1.1e4932", b"-1.1e4932") == b"0"


def test_the_largest_numbers_have_all_their_digits() -> None:
    text = add(b"1e4932", b"0")
    assert text is not None
    assert len(text) == 4933
    assert text.startswith(b"1000000000000000000")
    assert add(b"-0x0.8p2501", b"0") == b"-%d" % 2**2500


digits = st.text("0123456789", min_size=1, max_size=25)
decimals = st.builds(
    lambda sign, whole, part, exponent: f"{sign}{whole}.{part}{exponent}".encode(),
    st.sampled_from(["", "-"]),
    digits,
    digits,
    st.just("") | st.integers(-30, 30).map(lambda power: f"e{power}"),
)


@given(decimals)
@example(b"18446744073709551617")
@example(b"0.1")
def test_a_number_that_is_written_and_read_again_stays_the_same(text: bytes) -> None:
    """To 17 decimals: that is what is kept of it."""
    once = add(text, b"0")
    assert once is not None
    assert add(once, b"0") == once
