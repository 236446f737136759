"""Patterns for keys, as Redis has them (util.c, `stringmatchlen`): * ? [abc] [^a] [a-z] and a backslash."""

import re
from collections.abc import Callable


def matcher(pattern: bytes) -> Callable[[bytes], bool]:
    """Says whether a whole key is as the pattern has it."""
    if pattern.strip(b"*") == b"" and pattern:
        return lambda key: True
    compiled = re.compile(_regular(pattern), re.DOTALL)
    return lambda key: compiled.fullmatch(key) is not None


def prefix_of(pattern: bytes) -> tuple[bytes, bytes | None]:
    """The range of keys that can match: the first, and the first beyond (None: there is none)."""
    literal = re.match(rb"[^*?\[\\]*", pattern)
    assert literal is not None
    start = literal[0]
    return start, beyond(start)


def beyond(prefix: bytes) -> bytes | None:
    """The first key after all that begin with a prefix."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else None


def _regular(pattern: bytes) -> bytes:
    parts: list[bytes] = []
    at, size = 0, len(pattern)
    while at < size:
        byte = pattern[at : at + 1]
        at += 1
        if byte == b"*":
            # Once is enough, and many would be slow.
            if parts[-1:] != [b".*"]:
                parts.append(b".*")
        elif byte == b"?":
            parts.append(b".")
        elif byte == b"[":
            part, at = _class(pattern, at)
            parts.append(part)
        else:
            if byte == b"\\" and at < size:
                byte = pattern[at : at + 1]
                at += 1
            parts.append(re.escape(byte))
    return b"".join(parts)


def _class(pattern: bytes, at: int) -> tuple[bytes, int]:
    """A class as a regular expression, and where it ends. One that is not closed ends with the pattern."""
    size = len(pattern)
    negated = pattern[at : at + 1] == b"^"
    at += negated
    members: set[int] = set()
    while at < size and pattern[at] != 93:
        if pattern[at] == 92 and at + 1 < size:
            at += 1
            members.add(pattern[at])
        elif at + 2 < size and pattern[at + 1] == 45:
            low, high = sorted((pattern[at], pattern[at + 2]))
            members.update(range(low, high + 1))
            at += 2
        else:
            members.add(pattern[at])
        at += 1
    chosen = set(range(256)) - members if negated else members
    if not chosen:
        return b"(?!)", at + 1
    return b"[" + b"".join(b"\\x%02x" % member for member in sorted(chosen)) + b"]", at + 1
