"""Counters."""

from paxoskv.core.numbers import INTEGER_MIN, parse_extended
from paxoskv.core.operations import (
    INCR,
    INCRFLOAT,
    INTEGER_OVERFLOW,
    NOT_A_NUMBER,
    NOT_AN_INTEGER,
    NUMBER_OVERFLOW,
    VALUE_TOO_LARGE,
    Operation,
    Result,
)
from paxoskv.redis import replies
from paxoskv.redis.commands import table
from paxoskv.redis.commands.table import ONE_KEY, TOO_LONG, Arguments, One, Refusal, command, integer
from paxoskv.redis.session import Session

_NO_FLOAT = "ERR value is not a valid float"


def _sum(result: Result, protocol: int) -> bytes:
    if result.status == NOT_AN_INTEGER:
        return replies.error(table.NOT_AN_INTEGER)
    if result.status == INTEGER_OVERFLOW:
        return replies.error("ERR increment or decrement would overflow")
    assert isinstance(result.value, int)
    return replies.integer(result.value)


@command("incr", 2, "write denyoom fast", ONE_KEY, "string", "1.0.0", "Adds one to a number.", "key")
def incr(session: Session, arguments: Arguments) -> One:
    return One(Operation(INCR, arguments[0], 1), _sum)


@command("decr", 2, "write denyoom fast", ONE_KEY, "string", "1.0.0", "Takes one from a number.", "key")
def decr(session: Session, arguments: Arguments) -> One:
    return One(Operation(INCR, arguments[0], -1), _sum)


@command("incrby", 3, "write denyoom fast", ONE_KEY, "string", "1.0.0", "Adds to a number.", "key increment")
def incrby(session: Session, arguments: Arguments) -> One:
    return One(Operation(INCR, arguments[0], integer(arguments[1])), _sum)


@command("decrby", 3, "write denyoom fast", ONE_KEY, "string", "1.0.0", "Takes from a number.", "key decrement")
def decrby(session: Session, arguments: Arguments) -> One:
    amount = integer(arguments[1])
    if amount == INTEGER_MIN:
        raise Refusal("ERR decrement would overflow")
    return One(Operation(INCR, arguments[0], -amount), _sum)


@command(
    "incrbyfloat",
    3,
    "write denyoom fast",
    ONE_KEY,
    "string",
    "2.6.0",
    "Adds to a number with a fraction.",
    "key increment:double",
)
def incrbyfloat(session: Session, arguments: Arguments) -> One:
    if parse_extended(arguments[1]) is None:
        raise Refusal(_NO_FLOAT)

    def finish(result: Result, protocol: int) -> bytes:
        if result.status == NOT_A_NUMBER:
            return replies.error(_NO_FLOAT)
        if result.status == NUMBER_OVERFLOW:
            return replies.error("ERR increment would produce NaN or Infinity")
        if result.status == VALUE_TOO_LARGE:
            return replies.error(TOO_LONG)
        assert isinstance(result.value, bytes)
        return replies.bulk(result.value)

    return One(Operation(INCRFLOAT, arguments[0], arguments[1]), finish)
