"""Numbers in values: signed 64-bit integers, and the long doubles of x86-64, both as Redis reads and writes them.

A long double is computed with whole numbers here, since Python's own floats are shorter, and since every node has to
come to the same bytes, on whatever machine it runs. Source: Redis 7, util.c: `string2ll`, `string2ld`, `ld2string`
(LD_STR_HUMAN); ISO/IEC 9899:2011, 7.22.1.3; IEEE 754 for rounding to nearest, ties to even.
"""

import re
from functools import lru_cache
from typing import Final

INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**63 - 1
_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]{0,18}")

# The 80-bit format: bits of its significand, the exponent of the unit that all its numbers are multiples of, and that
# of what is greater than all of them.
_SIGNIFICAND_BITS: Final = 64
_EXPONENT_MIN: Final = -16445
_EXPONENT_MAX: Final = 16384
_MAX: Final = (2**_SIGNIFICAND_BITS - 1) << (_EXPONENT_MAX - _EXPONENT_MIN - _SIGNIFICAND_BITS)
_ONE: Final = 1 << -_EXPONENT_MIN
# Bits beyond the significand that tell how to round: one for the half, one for whether there is anything more.
_SPARE_BITS: Final = 2
_TEXT_BYTES_MAX: Final = 5 * 1024 - 1
_DECIMALS: Final = 17
# Powers of ten beyond these leave the range whatever digits stand before them.
_POWER_MAX: Final = 5000 + _TEXT_BYTES_MAX
_EXPONENT_DIGITS_MAX: Final = 6
# Python turns no more than 4,300 digits at a time into a number, or a number into these.
_DIGITS_AT_ONCE: Final = 2500

_DECIMAL: Final = re.compile(rb"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]+))?")
_HEXADECIMAL: Final = re.compile(rb"([+-]?)0[xX]([0-9a-fA-F]*)(?:\.([0-9a-fA-F]*))?(?:[pP]([+-]?[0-9]+))?")
_INFINITY: Final = re.compile(rb"([+-]?)inf(?:inity)?", re.IGNORECASE)

Extended = int | float
"""A long double: how many times 2**-16445 it is, or one of the two infinities, which add up to nothing."""


def parse_integer(text: bytes) -> int | None:
    """The signed 64-bit number in canonical decimal `text` (no sign but "-", no leading zero), or None."""
    if _INTEGER.fullmatch(text) is None:
        return None
    number = int(text)
    return number if INTEGER_MIN <= number <= INTEGER_MAX else None


def parse_extended(text: bytes) -> Extended | None:
    """The long double nearest to the number that `text` holds, None if it holds none, or one beyond the range.

    Of what `strtold` takes, the decimal and hexadecimal forms and infinity; no white space, no not-a-number.
    """
    if not text or len(text) > _TEXT_BYTES_MAX:
        return None
    match = _INFINITY.fullmatch(text)
    if match is not None:
        return float("-inf" if match[1] == b"-" else "inf")
    base, power_base, digit_power = 10, 10, 1
    match = _DECIMAL.fullmatch(text)
    if match is None:
        base, power_base, digit_power = 16, 2, 4
        match = _HEXADECIMAL.fullmatch(text)
    if match is None:
        return None
    sign, whole, part, exponent = match.groups(b"")
    if not whole and not part:
        return None
    significand = 0
    digits = whole + part
    for at in range(0, len(digits), _DIGITS_AT_ONCE):
        piece = digits[at : at + _DIGITS_AT_ONCE]
        significand = significand * base ** len(piece) + int(piece, base)
    if not significand:
        return 0
    power = _exponent(exponent) - digit_power * len(part)
    if power_base == 10:
        if abs(power) > _POWER_MAX:
            return None
        rounded = _times_power_of_ten(significand, power)
    else:
        if not _EXPONENT_MIN <= significand.bit_length() + power <= _EXPONENT_MAX:
            return None
        rounded = _round(significand, power)
    if not 0 < rounded <= _MAX:
        return None
    return -rounded if sign == b"-" else rounded


def _exponent(text: bytes) -> int:
    """The number, or one as far beyond the range, if it is longer: Python converts no 4,301 digits."""
    digits = text.lstrip(b"+-").lstrip(b"0")
    number = int(digits or b"0") if len(digits) <= _EXPONENT_DIGITS_MAX else 10**_EXPONENT_DIGITS_MAX
    return -number if text[:1] == b"-" else number


def add_extended(first: Extended, second: Extended) -> bytes | None:
    """The text of the sum, to 17 decimals at the most and without trailing zeros; None if it is infinite or none."""
    if isinstance(first, float) or isinstance(second, float):
        return None
    total = first + second
    magnitude = _round(abs(total), _EXPONENT_MIN)
    if magnitude > _MAX:
        return None
    # To 17 decimals, which rounds once more, as printf does: to the nearest, ties to even.
    scaled, rest = divmod(magnitude * 10**_DECIMALS, _ONE)
    if 2 * rest > _ONE or (2 * rest == _ONE and scaled & 1):
        scaled += 1
    whole, part = divmod(scaled, 10**_DECIMALS)
    upper, lower = divmod(whole, 10**_DIGITS_AT_ONCE)
    text = f"{upper}{lower:0{_DIGITS_AT_ONCE}d}" if upper else str(lower)
    if part:
        text += "." + f"{part:017d}".rstrip("0")
    # Zero has no sign, be it of a sum that is too small to show.
    return (f"-{text}" if total < 0 and scaled else text).encode()


def _round(number: int, power: int) -> int:
    """Of `number` times 2**`power`, the nearest with 64 bits, or fewer below the least normal one; ties to even. In
    multiples of 2**-16445. For numbers from 0 up."""
    extra = max(number.bit_length() - _SIGNIFICAND_BITS, _EXPONENT_MIN - power)
    if extra > 0:
        rest = number & (1 << extra) - 1
        half = 1 << extra - 1
        number >>= extra
        power += extra
        if rest > half or (rest == half and number & 1):
            number += 1
    return number << power - _EXPONENT_MIN


def _times_power_of_ten(significand: int, power: int) -> int:
    """`_round`, of `significand` times 10**`power`."""
    if power >= 0:
        return _round(significand * _power_of_ten(power), 0)
    divisor = _power_of_ten(-power)
    # As many bits of the quotient as rounding looks at, and whether anything is left.
    shift = divisor.bit_length() - significand.bit_length() + _SIGNIFICAND_BITS + _SPARE_BITS
    if shift >= 0:
        quotient, left = divmod(significand << shift, divisor)
    else:
        quotient, left = divmod(significand, divisor << -shift)
    return _round(quotient << 1 | (left > 0), -shift - 1)


@lru_cache(maxsize=256)
def _power_of_ten(power: int) -> int:
    found: int = 10**power
    return found
