"""Strings: GET, SET and what belongs to them."""

from typing import Final

from paxoskv.core.operations import (
    APPEND,
    CONDITION_FAILED,
    EXISTS,
    GET,
    KEEP,
    OK,
    PUT,
    RENEW,
    SETRANGE,
    SWAP,
    TAKE,
    VALUE_TOO_LARGE,
    Operation,
    Result,
    range_argument,
)
from paxoskv.redis import replies
from paxoskv.redis.commands.expiry import KEEPTTL, PERSIST, deadline_of, lifetime_option
from paxoskv.redis.commands.table import (
    ALL_KEYS,
    ONE_KEY,
    SYNTAX_ERROR,
    TOO_LONG,
    Arguments,
    Plan,
    Refusal,
    command,
    integer,
    one,
    several,
    value_of,
    wrong_number,
)
from paxoskv.redis.session import Session

_SET_CONDITIONS: Final = {b"NX": 0, b"XX": EXISTS}


def answer_value(result: Result, protocol: int) -> bytes:
    """The value, or null."""
    return replies.bulk_or_null(value_of(result), protocol)


def answer_ok(result: Result, protocol: int) -> bytes:
    """OK, whatever it was."""
    return replies.OK


def answer_length(result: Result, protocol: int) -> bytes:
    """The length that a change left, or that it would have been too much."""
    if result.status == VALUE_TOO_LARGE:
        return replies.error(TOO_LONG)
    assert isinstance(result.value, int)
    return replies.integer(result.value)


def _set_flag(result: Result, protocol: int) -> bytes:
    return replies.ONE if result.status == OK else replies.ZERO


@command("get", 2, "readonly fast", ONE_KEY, "string", "1.0.0", "Returns the string value of a key.")
def get(session: Session, arguments: Arguments) -> Plan:
    return one(Operation(GET, arguments[0]), answer_value)


@command("set", -3, "write denyoom", ONE_KEY, "string", "1.0.0", "Sets the string value of a key.")
def set_(session: Session, arguments: Arguments) -> Plan:
    key, value, *options = arguments
    if not options:
        return one(Operation(PUT, key, value), answer_ok)
    condition: int | None = None
    returns = False
    expiry: int | None = None
    lifetime: tuple[bytes, bytes] | None = None
    at = 0
    while at < len(options):
        option = options[at].upper()
        if option in _SET_CONDITIONS and condition in (None, _SET_CONDITIONS[option]):
            condition = _SET_CONDITIONS[option]
        elif option == b"GET":
            returns = True
        elif option == KEEPTTL and lifetime is None:
            expiry = KEEP
        elif (found := lifetime_option(options, at)) is not None and expiry is None and lifetime is None:
            lifetime = found
            at += 1
        else:
            raise Refusal(SYNTAX_ERROR)
        at += 1
    if lifetime is not None:
        expiry = deadline_of(session, *lifetime, "set")
    operation = Operation(SWAP if returns else PUT, key, value, condition, expiry=expiry)

    def finish(result: Result, protocol: int) -> bytes:
        if returns:
            return answer_value(result, protocol)
        return replies.null(protocol) if result.status == CONDITION_FAILED else replies.OK

    return one(operation, finish)


@command("setnx", 3, "write denyoom fast", ONE_KEY, "string", "1.0.0", "Sets a key if it does not exist.")
def setnx(session: Session, arguments: Arguments) -> Plan:
    return one(Operation(PUT, arguments[0], arguments[1], 0), _set_flag)


@command("setex", 4, "write denyoom", ONE_KEY, "string", "2.0.0", "Sets a key and its time to live, in seconds.")
def setex(session: Session, arguments: Arguments) -> Plan:
    key, lifetime, value = arguments
    return one(Operation(PUT, key, value, expiry=deadline_of(session, b"EX", lifetime, "setex")), answer_ok)


@command("psetex", 4, "write denyoom", ONE_KEY, "string", "2.6.0", "Sets a key and its time to live, in milliseconds.")
def psetex(session: Session, arguments: Arguments) -> Plan:
    key, lifetime, value = arguments
    return one(Operation(PUT, key, value, expiry=deadline_of(session, b"PX", lifetime, "psetex")), answer_ok)


@command("getset", 3, "write denyoom fast", ONE_KEY, "string", "1.0.0", "Sets a key and returns its old value.")
def getset(session: Session, arguments: Arguments) -> Plan:
    return one(Operation(SWAP, arguments[0], arguments[1]), answer_value)


@command("getdel", 2, "write fast", ONE_KEY, "string", "6.2.0", "Returns the value of a key and deletes it.")
def getdel(session: Session, arguments: Arguments) -> Plan:
    return one(Operation(TAKE, arguments[0]), answer_value)


@command("getex", -2, "write fast", ONE_KEY, "string", "6.2.0", "Returns the value of a key and changes its expiry.")
def getex(session: Session, arguments: Arguments) -> Plan:
    key, *options = arguments
    if not options:
        return one(Operation(GET, key), answer_value)
    if len(options) == 1 and options[0].upper() == PERSIST:
        return one(Operation(RENEW, key, expiry=0), answer_value)
    lifetime = lifetime_option(options, 0)
    if lifetime is None or len(options) != 2:
        raise Refusal(SYNTAX_ERROR)
    try:
        expiry = deadline_of(session, *lifetime, "getex")
    except Refusal as refusal:
        # Redis looks for the key before it looks at the time.
        text = str(refusal)
        return one(
            Operation(GET, key),
            lambda result, protocol: replies.null(protocol) if result.value is None else replies.error(text),
        )
    return one(Operation(RENEW, key, expiry=expiry), answer_value)


@command("mget", -2, "readonly fast", ALL_KEYS, "string", "1.0.0", "Returns the values of several keys.")
def mget(session: Session, arguments: Arguments) -> Plan:
    return several(
        [Operation(GET, key) for key in arguments],
        lambda results, protocol: replies.array([answer_value(result, protocol) for result in results]),
    )


@command("mset", -3, "write denyoom", (1, -1, 2), "string", "1.0.1", "Sets several keys, each for itself.")
def mset(session: Session, arguments: Arguments) -> Plan:
    if len(arguments) % 2:
        raise Refusal(wrong_number("mset"))
    last = dict(zip(arguments[::2], arguments[1::2], strict=True))
    return several([Operation(PUT, key, value) for key, value in last.items()], lambda results, protocol: replies.OK)


@command("append", 3, "write denyoom fast", ONE_KEY, "string", "2.0.0", "Appends to the value of a key.")
def append(session: Session, arguments: Arguments) -> Plan:
    return one(Operation(APPEND, arguments[0], arguments[1]), answer_length)


@command("strlen", 2, "readonly fast", ONE_KEY, "string", "2.2.0", "Returns the length of a value.")
def strlen(session: Session, arguments: Arguments) -> Plan:
    return one(Operation(GET, arguments[0]), lambda result, protocol: replies.integer(len(value_of(result) or b"")))


def _getrange(session: Session, arguments: Arguments) -> Plan:
    key, first, last = arguments
    start, end = integer(first), integer(last)

    def finish(result: Result, protocol: int) -> bytes:
        value = value_of(result) or b""
        if start < 0 and end < 0 and start > end:
            return replies.EMPTY_BULK
        begin = max(start + len(value), 0) if start < 0 else start
        stop = max(end + len(value), 0) if end < 0 else end
        return replies.bulk(value[begin : stop + 1])

    return one(Operation(GET, key), finish)


command("getrange", 4, "readonly", ONE_KEY, "string", "2.4.0", "Returns a part of a value.")(_getrange)
command("substr", 4, "readonly", ONE_KEY, "string", "1.0.0", "Returns a part of a value. Use GETRANGE.")(_getrange)


@command("setrange", 4, "write denyoom", ONE_KEY, "string", "2.2.0", "Overwrites a part of a value.")
def setrange(session: Session, arguments: Arguments) -> Plan:
    key, text, part = arguments
    offset = integer(text)
    if offset < 0:
        raise Refusal("ERR offset is out of range")
    if part and offset + len(part) > session.host.value_bytes_max:
        raise Refusal(TOO_LONG)
    return one(Operation(SETRANGE, key, range_argument(offset, part)), answer_length)
