"""The connection itself: what a client says about itself and asks about it."""

from collections import deque
from typing import Final

from paxoskv.core.numbers import parse_integer
from paxoskv.redis import replies
from paxoskv.redis.commands.table import (
    NO_KEY,
    SYNTAX_ERROR,
    Arguments,
    Refusal,
    command,
    container,
    integer,
    shown,
    wrong_number,
)
from paxoskv.redis.session import OFF, ON, SKIP_NEXT, Session

REDIS_VERSION: Final = "7.0.15"
"""Whose answers these are."""
_ALWAYS: Final = "noscript loading stale fast no_auth allow_busy"
_HELLO: Final = "[protover [AUTH (username password)] [SETNAME clientname]]"
_BAD_NAME: Final = "ERR Client names cannot contain spaces, newlines or special characters."
_NAME_BYTES_MAX: Final = 1024
_PRINTABLE: Final = bytes(range(33, 127))


@command("ping", -1, "fast", NO_KEY, "connection", "1.0.0", "Answers PONG, or what it was given.", "[message]")
def ping(session: Session, arguments: Arguments) -> bytes:
    if len(arguments) > 1:
        raise Refusal(wrong_number("ping"))
    return replies.bulk(arguments[0]) if arguments else replies.simple("PONG")


@command("echo", 2, "loading stale fast", NO_KEY, "connection", "1.0.0", "Answers what it was given.", "message")
def echo(session: Session, arguments: Arguments) -> bytes:
    return replies.bulk(arguments[0])


@command("select", 2, "loading stale fast", NO_KEY, "connection", "1.0.0", "Chooses a database; there is 0.", "index")
def select(session: Session, arguments: Arguments) -> bytes:
    index = integer(arguments[0])
    if not -(2**31) <= index < 2**31:
        raise Refusal("ERR value is out of range, value must between -2147483648 and 2147483647")
    if index != 0:
        raise Refusal("ERR DB index is out of range")
    return replies.OK


@command(
    "auth", -2, _ALWAYS, NO_KEY, "connection", "1.0.0", "Says who one is: the default user.", "[username] password"
)
def auth(session: Session, arguments: Arguments) -> bytes:
    if len(arguments) > 2:
        raise Refusal(SYNTAX_ERROR)
    if len(arguments) == 1:
        raise Refusal(
            "ERR AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?"
        )
    _check_user(arguments[0])
    return replies.OK


def _check_user(name: bytes) -> None:
    if name != b"default":
        raise Refusal("WRONGPASS invalid username-password pair or user is disabled.")


@command("hello", -1, _ALWAYS, NO_KEY, "connection", "6.0.0", "Chooses RESP2 or RESP3.", _HELLO)
def hello(session: Session, arguments: Arguments) -> bytes:
    protocol = session.protocol
    options = deque(arguments)
    if options:
        version = parse_integer(options.popleft())
        if version is None:
            raise Refusal("ERR Protocol version is not an integer or out of range")
        if version not in (2, 3):
            raise Refusal("NOPROTO unsupported protocol version")
        protocol = version
    while options:
        option = options.popleft()
        if option.upper() == b"AUTH" and len(options) >= 2:
            _check_user(options[0])
            options.popleft()
            options.popleft()
        elif option.upper() == b"SETNAME" and options:
            name = options.popleft()
            _check_name(name)
            # At once, as Redis does, whatever comes of the other options.
            session.name = name
        else:
            raise Refusal(f"ERR Syntax error in HELLO option '{shown(option)}'")
    session.protocol = protocol
    facts = [
        (b"server", replies.bulk(b"redis")),
        (b"version", replies.bulk(REDIS_VERSION.encode())),
        (b"proto", replies.integer(protocol)),
        (b"id", replies.integer(session.id)),
        (b"mode", replies.bulk(b"standalone")),
        (b"role", replies.bulk(b"master")),
        (b"modules", replies.EMPTY_ARRAY),
    ]
    return replies.mapping([(replies.bulk(fact), value) for fact, value in facts], protocol)


def _check_name(name: bytes, refusal: str = _BAD_NAME) -> None:
    if len(name) > _NAME_BYTES_MAX:
        raise Refusal(f"ERR a name has at most {_NAME_BYTES_MAX} bytes, this one {len(name)}")
    if name.translate(None, _PRINTABLE):
        raise Refusal(refusal)


container("client", "connection", "2.4.0", "About connections.")
_OWN: Final = "noscript loading stale"
_ADMIN: Final = "admin noscript loading stale"
_IDS_MAX: Final = 4096
_KINDS: Final = frozenset((b"normal", b"master", b"replica", b"slave", b"pubsub"))


@command("client|id", 2, _OWN, NO_KEY, "connection", "5.0.0", "The number of this connection.")
def client_id(session: Session, arguments: Arguments) -> bytes:
    return replies.integer(session.id)


@command("client|getname", 2, _OWN, NO_KEY, "connection", "2.6.9", "The name of this connection.")
def client_getname(session: Session, arguments: Arguments) -> bytes:
    return replies.bulk_or_null(session.name or None, session.protocol)


@command("client|setname", 3, _OWN, NO_KEY, "connection", "2.6.9", "Names this connection.", "connection-name")
def client_setname(session: Session, arguments: Arguments) -> bytes:
    _check_name(arguments[0])
    session.name = arguments[0]
    return replies.OK


_ATTRIBUTES: Final = "(LIB-NAME libname|LIB-VER libver)"


@command("client|setinfo", 4, _OWN, NO_KEY, "connection", "7.2.0", "Says which library this is.", _ATTRIBUTES)
def client_setinfo(session: Session, arguments: Arguments) -> bytes:
    attribute, value = shown(arguments[0]), arguments[1]
    if attribute.lower() not in session.library:
        raise Refusal(f"ERR Unrecognized option '{attribute}'")
    _check_name(value, f"ERR {attribute} cannot contain spaces, newlines or special characters.")
    session.library[attribute.lower()] = value
    return replies.OK


@command("client|info", 2, _OWN, NO_KEY, "connection", "6.2.0", "Describes this connection.")
def client_info(session: Session, arguments: Arguments) -> bytes:
    return replies.verbatim(session.describe() + "\n", session.protocol)


_FILTERS: Final = "[TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID client-id...]"


@command("client|list", -2, _ADMIN, NO_KEY, "connection", "2.4.0", "Describes all connections.", _FILTERS)
def client_list(session: Session, arguments: Arguments) -> bytes:
    chosen = list(session.sessions.open.values())
    if arguments:
        kind = arguments[0].upper()
        if kind == b"TYPE" and len(arguments) == 2:
            if arguments[1].lower() not in _KINDS:
                raise Refusal(f"ERR Unknown client type '{shown(arguments[1])}'")
            if arguments[1].lower() != b"normal":
                chosen = []
        elif kind == b"ID" and len(arguments) > 1:
            if len(arguments) > _IDS_MAX + 1:
                raise Refusal(f"ERR too many ids: {len(arguments) - 1}, at most {_IDS_MAX} at a time")
            # As often as it was asked for, and in that order.
            connected = session.sessions.open
            wanted = [integer(each, "ERR Invalid client ID") for each in arguments[1:]]
            chosen = [connected[number] for number in wanted if number in connected]
        else:
            raise Refusal(SYNTAX_ERROR)
    return replies.verbatim("".join(each.describe() + "\n" for each in chosen), session.protocol)


@command("client|reply", 3, _OWN, NO_KEY, "connection", "3.2.0", "Which commands to answer.", "(ON|OFF|SKIP)")
def client_reply(session: Session, arguments: Arguments) -> bytes:
    modes = {b"ON": ON, b"OFF": OFF, b"SKIP": SKIP_NEXT}
    mode = modes.get(arguments[0].upper())
    if mode is None:
        raise Refusal(SYNTAX_ERROR)
    if mode != SKIP_NEXT or session.replies != OFF:
        session.replies = mode
    # Only being switched on is answered.
    return replies.OK if mode == ON else b""


def _switch(arguments: Arguments) -> bool:
    if arguments[0].upper() not in (b"ON", b"OFF"):
        raise Refusal(SYNTAX_ERROR)
    return arguments[0].upper() == b"ON"


@command("client|no-evict", 3, _ADMIN, NO_KEY, "connection", "7.0.0", "Nothing is evicted here.", "(ON|OFF)")
def client_no_evict(session: Session, arguments: Arguments) -> bytes:
    session.no_evict = _switch(arguments)
    return replies.OK


@command("client|no-touch", 3, _OWN, NO_KEY, "connection", "7.2.0", "Nothing is evicted here.", "(ON|OFF)")
def client_no_touch(session: Session, arguments: Arguments) -> bytes:
    session.no_touch = _switch(arguments)
    return replies.OK


@command("reset", 1, _ALWAYS, NO_KEY, "connection", "6.2.0", "Makes the connection as new.")
def reset(session: Session, arguments: Arguments) -> bytes:
    session.reset()
    return replies.simple("RESET")


@command("quit", -1, _ALWAYS, NO_KEY, "connection", "1.0.0", "Closes the connection.")
def quit_(session: Session, arguments: Arguments) -> bytes:
    session.closing = True
    return replies.OK
