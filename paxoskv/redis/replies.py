"""Replies as bytes, in RESP2 and RESP3. Source: the RESP specification.

Most replies are the same bytes in both; what differs takes the protocol's number, 2 or 3.
"""

from collections.abc import Iterable, Sequence
from typing import Final

OK: Final = b"+OK\r\n"
ZERO: Final = b":0\r\n"
ONE: Final = b":1\r\n"
EMPTY_BULK: Final = b"$0\r\n\r\n"
EMPTY_ARRAY: Final = b"*0\r\n"
_NULLS: Final = {2: b"$-1\r\n", 3: b"_\r\n"}


def simple(text: str) -> bytes:
    """A status, one line."""
    return b"+%b\r\n" % text.encode()


def error(text: str) -> bytes:
    """An error whose first word is its code."""
    try:
        # What the client said is shown to it byte by byte, as it was taken for text.
        line = text.encode("latin-1")
    except UnicodeEncodeError:
        line = text.encode(errors="replace")
    return b"-%b\r\n" % line.rstrip(b"\r\n").replace(b"\r", b" ").replace(b"\n", b" ")


def integer(number: int) -> bytes:
    return b":%d\r\n" % number


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def null(protocol: int) -> bytes:
    return _NULLS[protocol]


def bulk_or_null(value: bytes | None, protocol: int) -> bytes:
    return _NULLS[protocol] if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def array(replies: Sequence[bytes]) -> bytes:
    """An array of replies."""
    return b"*%d\r\n%b" % (len(replies), b"".join(replies))


def bulks(values: Iterable[bytes]) -> bytes:
    """An array of bulk strings."""
    return array(each_bulk(values))


def each_bulk(values: Iterable[bytes]) -> list[bytes]:
    """Bulk strings, for an array to come."""
    return [b"$%d\r\n%b\r\n" % (len(value), value) for value in values]


def set_of(replies: Sequence[bytes], protocol: int) -> bytes:
    """A set; an array in RESP2."""
    return b"%b%d\r\n%b" % (b"*" if protocol == 2 else b"~", len(replies), b"".join(replies))


def mapping(pairs: Sequence[tuple[bytes, bytes]], protocol: int) -> bytes:
    """A map of replies to replies; in RESP2 an array of keys and values in turn."""
    body = b"".join([key + value for key, value in pairs])
    return b"*%d\r\n%b" % (2 * len(pairs), body) if protocol == 2 else b"%%%d\r\n%b" % (len(pairs), body)


def verbatim(text: str, protocol: int) -> bytes:
    """Text for people; a bulk string in RESP2."""
    encoded = text.encode()
    return bulk(encoded) if protocol == 2 else b"=%d\r\ntxt:%b\r\n" % (len(encoded) + 4, encoded)
