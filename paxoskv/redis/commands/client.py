"""The connection itself: what a client says about itself and asks about it."""

from typing import Final

from paxoskv.core.numbers import parse_integer
from paxoskv.redis import replies
from paxoskv.redis.commands.table import (
    NO_KEY,
    SYNTAX_ERROR,
    Arguments,
    Refusal,
    command,
    integer,
    wrong_number,
)
from paxoskv.redis.session import OFF, ON, SKIP_NEXT, Session

REDIS_VERSION: Final = "7.0.15"
"""Whose answers these are."""
_BAD_NAME: Final = "ERR Client names cannot contain spaces, newlines or special characters."


@command("ping", -1, "fast", NO_KEY, "connection", "1.0.0", "Answers PONG, or what it was given.")
def ping(session: Session, arguments: Arguments) -> bytes:
    if len(arguments) > 1:
        raise Refusal(wrong_number("ping"))
    return replies.bulk(arguments[0]) if arguments else replies.simple("PONG")


@command("echo", 2, "fast", NO_KEY, "connection", "1.0.0", "Answers what it was given.")
def echo(session: Session, arguments: Arguments) -> bytes:
    return replies.bulk(arguments[0])


@command("select", 2, "fast", NO_KEY, "connection", "1.0.0", "Chooses a database; there is number 0.")
def select(session: Session, arguments: Arguments) -> bytes:
    if integer(arguments[0]) != 0:
        raise Refusal("ERR DB index is out of range")
    return replies.OK


@command("auth", -2, "noauth fast", NO_KEY, "connection", "1.0.0", "Says who one is; everybody is the default user.")
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


@command("hello", -1, "noauth fast", NO_KEY, "connection", "6.0.0", "Chooses RESP2 or RESP3.")
def hello(session: Session, arguments: Arguments) -> bytes:
    protocol = session.protocol
    options = list(arguments)
    if options:
        version = parse_integer(options.pop(0))
        if version is None:
            raise Refusal("ERR Protocol version is not an integer or out of range")
        if version not in (2, 3):
            raise Refusal("NOPROTO unsupported protocol version")
        protocol = version
    name = None
    while options:
        option = options.pop(0)
        if option.upper() == b"AUTH" and len(options) >= 2:
            _check_user(options[0])
            del options[:2]
        elif option.upper() == b"SETNAME" and options:
            name = options.pop(0)
            _check_name(name)
        else:
            raise Refusal(f"ERR Syntax error in HELLO option '{option.decode('latin-1')}'")
    session.protocol = protocol
    if name is not None:
        session.name = name
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


def _check_name(name: bytes) -> None:
    if any(not 33 <= byte <= 126 for byte in name):
        raise Refusal(_BAD_NAME)


_SUBCOMMANDS: Final = {
    "id": 2,
    "setname": 3,
    "getname": 2,
    "setinfo": 4,
    "info": 2,
    "list": -2,
    "no-evict": 3,
    "no-touch": 3,
    "reply": 3,
}


@command("client", -2, "", NO_KEY, "connection", "2.4.0", "About connections.", tuple(_SUBCOMMANDS))
def client(session: Session, arguments: Arguments) -> bytes:
    given = arguments[0].decode("latin-1")
    name = given.lower()
    arity = _SUBCOMMANDS.get(name)
    if arity is None:
        raise Refusal(f"ERR unknown subcommand '{given[:128]}'. Try CLIENT HELP.")
    count = len(arguments) + 1
    if count != arity and (arity > 0 or count < -arity):
        raise Refusal(wrong_number(f"client|{name}"))
    value = arguments[1] if len(arguments) > 1 else b""
    if name == "id":
        return replies.integer(session.id)
    if name == "getname":
        return replies.bulk_or_null(session.name or None, session.protocol)
    if name == "info":
        return replies.verbatim(session.describe() + "\n", session.protocol)
    if name == "list":
        return _list(session, arguments[1:])
    if name == "setname":
        _check_name(value)
        session.name = value
    elif name == "setinfo":
        _set_info(session, value.decode("latin-1"), arguments[2])
    elif name == "reply":
        modes = {b"ON": ON, b"OFF": OFF, b"SKIP": SKIP_NEXT}
        if value.upper() not in modes:
            raise Refusal(SYNTAX_ERROR)
        session.replies = modes[value.upper()]
        if session.replies == SKIP_NEXT:
            # Neither this nor the next is answered.
            return b""
    else:
        if value.upper() not in (b"ON", b"OFF"):
            raise Refusal(SYNTAX_ERROR)
        setattr(session, name.replace("-", "_"), value.upper() == b"ON")
    return replies.OK


def _set_info(session: Session, attribute: str, value: bytes) -> None:
    if attribute.lower() not in session.library:
        raise Refusal(f"ERR Unrecognized option '{attribute}'")
    if any(not 33 <= byte <= 126 for byte in value):
        raise Refusal(f"ERR {attribute} cannot contain spaces, newlines or special characters.")
    session.library[attribute.lower()] = value


def _list(session: Session, options: Arguments) -> bytes:
    chosen = list(session.sessions.open.values())
    if options:
        kind = options[0].upper()
        if kind == b"TYPE" and len(options) == 2:
            if options[1].lower() != b"normal":
                if options[1].lower() not in (b"master", b"replica", b"slave", b"pubsub"):
                    raise Refusal(f"ERR Unknown client type '{options[1].decode('latin-1')}'")
                chosen = []
        elif kind == b"ID" and len(options) > 1:
            wanted = {integer(option, "ERR Invalid client ID") for option in options[1:]}
            chosen = [each for each in chosen if each.id in wanted]
        else:
            raise Refusal(SYNTAX_ERROR)
    return replies.verbatim("".join(each.describe() + "\n" for each in chosen), session.protocol)


@command("reset", 1, "noauth fast", NO_KEY, "connection", "6.2.0", "Makes the connection as new.")
def reset(session: Session, arguments: Arguments) -> bytes:
    session.reset()
    return replies.simple("RESET")


@command("quit", -1, "noauth fast", NO_KEY, "connection", "1.0.0", "Closes the connection.")
def quit_(session: Session, arguments: Arguments) -> bytes:
    session.closing = True
    return replies.OK
