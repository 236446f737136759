"""Splits a line into arguments, as Redis does for commands that were typed by hand (sds.c, `sdssplitargs`)."""

import re
from typing import Final

_ESCAPES: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}
_PLAIN: Final = re.compile(rb"[^ \n\r\t\0\"']+")
_ESCAPE: Final = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_QUOTED: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"(?=\s|\Z)', re.DOTALL)
_VERBATIM: Final = re.compile(rb"'((?:\\'|[^'])*+)'(?=\s|\Z)", re.DOTALL)
_WHITE: Final = b" \n\r\t\v\f\0"
# Within an argument two of these are as any other byte.
_ENDS: Final = b" \n\r\t\0"


class UnbalancedQuotes(ValueError):
    """A quotation mark without its partner, or with something right behind it."""


def split(line: bytes) -> list[bytes]:
    """The arguments. "..." knows escapes such as \\n and \\x41, '...' only \\'. Raises UnbalancedQuotes."""
    arguments: list[bytes] = []
    at, size = 0, len(line)
    while True:
        while at < size and line[at] in _WHITE:
            at += 1
        if at == size:
            return arguments
        argument = b""
        is_quoted = False
        # What was quoted to its end is the end of an argument, too.
        while not is_quoted and at < size and line[at] not in _ENDS:
            if line[at] == 34:
                match = _QUOTED.match(line, at)
                if match is None:
                    raise UnbalancedQuotes
                argument += _ESCAPE.sub(_unescape, match[1])
                is_quoted = True
            elif line[at] == 39:
                match = _VERBATIM.match(line, at)
                if match is None:
                    raise UnbalancedQuotes
                argument += match[1].replace(b"\\'", b"'")
                is_quoted = True
            else:
                match = _PLAIN.match(line, at)
                assert match is not None
                argument += match[0]
            at = match.end()
        arguments.append(argument)


def _unescape(match: re.Match[bytes]) -> bytes:
    escaped = match[1]
    if len(escaped) == 3:
        return bytes.fromhex(escaped[1:].decode())
    return _ESCAPES.get(escaped, escaped)
