"""Times to live."""

from collections.abc import Callable, Sequence
from typing import Final

from paxoskv.core.numbers import INTEGER_MAX, INTEGER_MIN
from paxoskv.core.operations import (
    EXPIRE,
    GET,
    HAS_EXPIRY,
    HAS_EXPIRY_SOONER,
    LATER,
    NEVER,
    NO_EXPIRY,
    OK,
    SOONER,
    Operation,
    Result,
)
from paxoskv.redis import replies
from paxoskv.redis.commands.table import ONE_KEY, Arguments, One, Refusal, command, integer, shown
from paxoskv.redis.session import Session

KEEPTTL: Final = b"KEEPTTL"
PERSIST: Final = b"PERSIST"
_UNITS_MS: Final = {b"EX": 1000, b"PX": 1, b"EXAT": 1000, b"PXAT": 1}
_RELATIVE: Final = frozenset((b"EX", b"PX"))
_FIRST_MS: Final = 1
"""Long past, as a time that an operation can have."""


def lifetime_option(options: Sequence[bytes], at: int) -> tuple[bytes, bytes] | None:
    """Unit and number, if there is an EX, PX, EXAT or PXAT with something behind it."""
    unit = options[at].upper()
    return (unit, options[at + 1]) if unit in _UNITS_MS and at + 1 < len(options) else None


def deadline_of(session: Session, unit: bytes, text: bytes, name: str) -> int:
    """The time in ms since the epoch that an option of SET and its like means. Raises Refusal."""
    number = integer(text)
    refusal = f"ERR invalid expire time in '{name}' command"
    if number <= 0 or number > INTEGER_MAX // _UNITS_MS[unit]:
        raise Refusal(refusal)
    number *= _UNITS_MS[unit]
    if unit in _RELATIVE:
        number += session.host.wall_ms()
        if number > INTEGER_MAX:
            raise Refusal(refusal)
    return number


def _condition(options: Sequence[bytes]) -> int | None:
    given = set()
    for option in options:
        if option.upper() not in (b"NX", b"XX", b"GT", b"LT"):
            raise Refusal(f"ERR Unsupported option {shown(option)}")
        given.add(option.upper())
    if b"NX" in given and len(given) > 1:
        raise Refusal("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {b"GT", b"LT"} <= given:
        raise Refusal("ERR GT and LT options at the same time are not compatible")
    if b"GT" in given:
        # What has no expiry has the latest of all, so that XX adds nothing.
        return LATER
    if b"LT" in given:
        return HAS_EXPIRY_SOONER if b"XX" in given else SOONER
    return NO_EXPIRY if b"NX" in given else HAS_EXPIRY if b"XX" in given else None


def _done(result: Result, protocol: int) -> bytes:
    return replies.ONE if result.status == OK else replies.ZERO


def _expire(name: str, unit_ms: int, relative: bool) -> Callable[[Session, Arguments], One]:
    def handler(session: Session, arguments: Arguments) -> One:
        key, text, *options = arguments
        condition = _condition(options)
        number = integer(text)
        refusal = f"ERR invalid expire time in '{name}' command"
        if not INTEGER_MIN <= number * unit_ms <= INTEGER_MAX:
            raise Refusal(refusal)
        number *= unit_ms
        if relative:
            number += session.host.wall_ms()
            if number > INTEGER_MAX:
                raise Refusal(refusal)
        return One(Operation(EXPIRE, key, condition=condition, expiry=max(number, _FIRST_MS)), _done)

    return handler


def _remaining(unit_ms: int, relative: bool) -> Callable[[Session, Arguments], One]:
    def handler(session: Session, arguments: Arguments) -> One:
        def finish(result: Result, protocol: int) -> bytes:
            if result.value is None:
                return replies.integer(-2)
            if not result.expires_at:
                return replies.integer(-1)
            left = max(result.expires_at - session.host.wall_ms(), 0) if relative else result.expires_at
            return replies.integer(left if unit_ms == 1 else (left + unit_ms // 2) // unit_ms)

        return One(Operation(GET, arguments[0]), finish)

    return handler


for _name, _unit, _is_relative, _since in (
    ("expire", 1000, True, "1.0.0"),
    ("pexpire", 1, True, "2.6.0"),
    ("expireat", 1000, False, "1.2.0"),
    ("pexpireat", 1, False, "2.6.0"),
):
    _what = ("in" if _is_relative else "at") + (" milliseconds" if _unit == 1 else " seconds")
    _time = ("milliseconds" if _unit == 1 else "seconds") if _is_relative else "unix-time-" + _what.split()[1]
    _syntax = f"key {_time} [NX|XX|GT|LT]"
    command(_name, -3, "write fast", ONE_KEY, "generic", _since, f"Lets a key expire, {_what}.", _syntax)(
        _expire(_name, _unit, _is_relative)
    )
for _name, _unit, _is_relative, _since in (
    ("ttl", 1000, True, "1.0.0"),
    ("pttl", 1, True, "2.6.0"),
    ("expiretime", 1000, False, "7.0.0"),
    ("pexpiretime", 1, False, "7.0.0"),
):
    _what = ("How long" if _is_relative else "When") + (", in milliseconds" if _unit == 1 else ", in seconds")
    command(_name, 2, "readonly fast", ONE_KEY, "generic", _since, f"{_what}, until a key expires.", "key")(
        _remaining(_unit, _is_relative)
    )


@command("persist", 2, "write fast", ONE_KEY, "generic", "2.2.0", "Lets a key expire no more.", "key")
def persist(session: Session, arguments: Arguments) -> One:
    return One(Operation(EXPIRE, arguments[0], condition=HAS_EXPIRY, expiry=NEVER), _done)
