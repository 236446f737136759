"""Strings: GET, SET and what belongs to them."""

from typing import Final

from paxoskv.core.operations import (
    APPEND,
    CONDITION_FAILED,
    EXISTS,
    GET,
    KEEP,
    NEVER,
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
    ANSWER_BYTES_MAX,
    ANSWER_TOO_LARGE,
    ONE_KEY,
    SYNTAX_ERROR,
    TOO_LONG,
    WINDOW_LARGE,
    Arguments,
    One,
    Plan,
    Refusal,
    command,
    in_windows,
    integer,
    too_large,
    value_of,
    worst_failure,
    write_failure,
    wrong_number,
)
from paxoskv.redis.session import Session

_EXPIRATION: Final = "EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds"
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


@command("get", 2, "readonly fast", ONE_KEY, "string", "1.0.0", "Returns the string value of a key.", "key")
def get(session: Session, arguments: Arguments) -> One:
    return One(Operation(GET, arguments[0]), answer_value)


@command(
    "set",
    -3,
    "write denyoom",
    ONE_KEY,
    "string",
    "1.0.0",
    "Sets the string value of a key.",
    f"key value [NX|XX] [GET] [{_EXPIRATION}|KEEPTTL]",
)
def set_(session: Session, arguments: Arguments) -> One:
    if len(arguments) == 2:
        return One(Operation(PUT, arguments[0], arguments[1]), answer_ok)
    key, value, *options = arguments
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
        elif (
            (found := lifetime_option(options, at)) is not None
            and expiry is None
            and (lifetime is None or lifetime[0] == found[0])
        ):
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

    return One(operation, finish)


@command("setnx", 3, "write denyoom fast", ONE_KEY, "string", "1.0.0", "Sets a key if it does not exist.", "key value")
def setnx(session: Session, arguments: Arguments) -> One:
    return One(Operation(PUT, arguments[0], arguments[1], 0), _set_flag)


@command(
    "setex",
    4,
    "write denyoom",
    ONE_KEY,
    "string",
    "2.0.0",
    "Sets a key and its time to live, in seconds.",
    "key seconds value",
)
def setex(session: Session, arguments: Arguments) -> One:
    key, lifetime, value = arguments
    return One(Operation(PUT, key, value, expiry=deadline_of(session, b"EX", lifetime, "setex")), answer_ok)


@command(
    "psetex",
    4,
    "write denyoom",
    ONE_KEY,
    "string",
    "2.6.0",
    "Sets a key and its time to live, in milliseconds.",
    "key milliseconds value",
)
def psetex(session: Session, arguments: Arguments) -> One:
    key, lifetime, value = arguments
    return One(Operation(PUT, key, value, expiry=deadline_of(session, b"PX", lifetime, "psetex")), answer_ok)


@command(
    "getset", 3, "write denyoom fast", ONE_KEY, "string", "1.0.0", "Sets a key and returns its old value.", "key value"
)
def getset(session: Session, arguments: Arguments) -> One:
    return One(Operation(SWAP, arguments[0], arguments[1]), answer_value)


@command("getdel", 2, "write fast", ONE_KEY, "string", "6.2.0", "Returns the value of a key and deletes it.", "key")
def getdel(session: Session, arguments: Arguments) -> One:
    return One(Operation(TAKE, arguments[0]), answer_value)


@command(
    "getex",
    -2,
    "write fast",
    ONE_KEY,
    "string",
    "6.2.0",
    "Returns the value of a key and changes its expiry.",
    f"key [{_EXPIRATION}|PERSIST]",
)
def getex(session: Session, arguments: Arguments) -> One:
    key, *options = arguments
    if not options:
        return One(Operation(GET, key), answer_value)
    if all([option.upper() == PERSIST for option in options]):
        return One(Operation(RENEW, key, expiry=NEVER), answer_value)
    found = [lifetime_option(options, at) for at in range(0, len(options), 2)]
    lifetime = found[-1]
    if lifetime is None or any([each is None or each[0] != lifetime[0] for each in found]):
        raise Refusal(SYNTAX_ERROR)
    try:
        expiry = deadline_of(session, *lifetime, "getex")
    except Refusal as refusal:
        # Redis looks for the key before it looks at the time.
        text = str(refusal)
        return One(
            Operation(GET, key),
            lambda result, protocol: replies.null(protocol) if result.value is None else replies.error(text),
        )
    return One(Operation(RENEW, key, expiry=expiry), answer_value)


@command("mget", -2, "readonly fast", ALL_KEYS, "string", "1.0.0", "Returns the values of several keys.", "key...")
def mget(session: Session, arguments: Arguments) -> Plan:
    found: list[bytes] = []
    size = 0

    def take(results: list[Result], protocol: int) -> bytes | None:
        nonlocal size
        failed = worst_failure(results)
        if failed is not None:
            return failed
        latest = [answer_value(result, protocol) for result in results]
        size += sum(map(len, latest))
        found.extend(latest)
        return replies.error(ANSWER_TOO_LARGE) if size > ANSWER_BYTES_MAX else None

    wanted = [Operation(GET, key) for key in arguments]
    return in_windows(wanted, take, lambda protocol: replies.array(found), WINDOW_LARGE)


@command(
    "mset", -3, "write denyoom", (1, -1, 2), "string", "1.0.1", "Sets several keys, each for itself.", "(key value)..."
)
def mset(session: Session, arguments: Arguments) -> Plan:
    if len(arguments) % 2:
        raise Refusal(wrong_number("mset"))
    last = dict(zip(arguments[::2], arguments[1::2], strict=True))
    longest = max(map(len, arguments[1::2]))
    if longest > session.host.value_bytes_max:
        raise Refusal(too_large(session.host.value_bytes_max, longest))
    changed = False

    def take(results: list[Result], protocol: int) -> bytes | None:
        nonlocal changed
        failed = write_failure(results, changed)
        changed = True
        return failed

    return in_windows([Operation(PUT, key, value) for key, value in last.items()], take, lambda protocol: replies.OK)


@command("append", 3, "write denyoom fast", ONE_KEY, "string", "2.0.0", "Appends to the value of a key.", "key value")
def append(session: Session, arguments: Arguments) -> One:
    return One(Operation(APPEND, arguments[0], arguments[1]), answer_length)


@command("strlen", 2, "readonly fast", ONE_KEY, "string", "2.2.0", "Returns the length of a value.", "key")
def strlen(session: Session, arguments: Arguments) -> One:
    return One(Operation(GET, arguments[0]), lambda result, protocol: replies.integer(len(value_of(result) or b"")))


def _getrange(session: Session, arguments: Arguments) -> One:
    key, first, last = arguments
    start, end = integer(first), integer(last)

    def finish(result: Result, protocol: int) -> bytes:
        value = value_of(result) or b""
        if start < 0 and end < 0 and start > end:
            return replies.EMPTY_BULK
        begin = max(start + len(value), 0) if start < 0 else start
        stop = max(end + len(value), 0) if end < 0 else end
        return replies.bulk(value[begin : stop + 1])

    return One(Operation(GET, key), finish)


command("getrange", 4, "readonly", ONE_KEY, "string", "2.4.0", "Returns a part of a value.", "key start end")(_getrange)
command(
    "substr", 4, "readonly", ONE_KEY, "string", "1.0.0", "Returns a part of a value. Use GETRANGE.", "key start end"
)(_getrange)


@command(
    "setrange", 4, "write denyoom", ONE_KEY, "string", "2.2.0", "Overwrites a part of a value.", "key offset value"
)
def setrange(session: Session, arguments: Arguments) -> One:
    key, text, part = arguments
    offset = integer(text)
    if offset < 0:
        raise Refusal("ERR offset is out of range")
    if part and offset + len(part) > session.host.value_bytes_max:
        raise Refusal(TOO_LONG)
    return One(Operation(SETRANGE, key, range_argument(offset, part)), answer_length)
