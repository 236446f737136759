"""Patterns for keys, as Redis has them (util.c, `stringmatchlen`): * ? [abc] [^a] [a-z] and a backslash."""

import re
from collections.abc import Callable
from typing import Final

from paxoskv.core.scan import prefix_end
from paxoskv.redis.commands.table import Refusal

PATTERN_BYTES_MAX: Final = 65_536


def matcher(pattern: bytes, longest: int) -> Callable[[bytes], bool]:
    """Says whether a whole key is as the pattern has it; keys have at most `longest` bytes.

    At the worst it takes time in proportion to the pattern's length times the key's, however stars are nested. Raises
    Refusal for a pattern that is too long.
    """
    if pattern.strip(b"*") == b"" and pattern:
        return lambda key: True
    if len(pattern) > PATTERN_BYTES_MAX:
        raise Refusal(f"ERR a pattern has at most {PATTERN_BYTES_MAX} bytes, this one {len(pattern)}")
    parts = _fixed_parts(pattern, longest)
    if parts is None:
        return lambda key: False
    first, *others = parts
    expression = b"".join(first)
    if others:
        # Whatever lies between two stars is best taken as early as it is there, so there is no going back on it
        # (`?>`). Else "a*a*a*a*b" would try every way to pick those letters from a long row of them.
        *between, last = map(b"".join, others)
        expression += b"".join([b"(?>.*?" + part + b")" for part in between]) + b".*" + last
    compiled = re.compile(expression, re.DOTALL)
    return lambda key: compiled.fullmatch(key) is not None


def prefix_of(pattern: bytes) -> tuple[bytes, bytes | None]:
    """The range of keys that can match: the first, and the first beyond (None: there is none)."""
    literal = re.match(rb"[^*?\[\\]*", pattern)
    assert literal is not None
    start = literal[0]
    return start, prefix_end(start)


def _fixed_parts(pattern: bytes, longest: int) -> list[list[bytes]] | None:
    """What stands between the stars: of each part the regular expressions of its bytes.

    None if these are more than `longest`. To compile a million would take a minute, for a pattern that matches nothing.
    """
    parts: list[list[bytes]] = [[]]
    at, size, count = 0, len(pattern), 0
    while at < size and count <= longest:
        byte = pattern[at : at + 1]
        at += 1
        if byte == b"*":
            if parts[-1] or len(parts) == 1:
                parts.append([])
            continue
        count += 1
        if byte == b"?":
            parts[-1].append(b".")
        elif byte == b"[":
            part, at = _class(pattern, at)
            parts[-1].append(part)
        else:
            if byte == b"\\" and at < size:
                byte = pattern[at : at + 1]
                at += 1
            parts[-1].append(re.escape(byte))
    return None if count > longest else parts


def _class(pattern: bytes, at: int) -> tuple[bytes, int]:
    """A class as a regular expression, and where it ends. One that is not closed ends with the pattern."""
    size = len(pattern)
    negated = pattern[at : at + 1] == b"^"
    at += negated
    members: dict[bytes, None] = {}
    while at < size and pattern[at] != 93:
        if pattern[at] == 92 and at + 1 < size:
            at += 1
            members[b"\\x%02x" % pattern[at]] = None
        elif at + 2 < size and pattern[at + 1] == 45:
            low, high = sorted((pattern[at], pattern[at + 2]))
            members[b"\\x%02x-\\x%02x" % (low, high)] = None
            at += 2
        else:
            members[b"\\x%02x" % pattern[at]] = None
        at += 1
    if not members:
        return b"." if negated else b"(?!)", at + 1
    return b"[" + b"^" * negated + b"".join(members) + b"]", at + 1
