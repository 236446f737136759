"""What comes after a command's name, as people write it and as COMMAND DOCS shows it.

The notation: `name` is an argument and `name:type` one of another type than its name has by itself, `TOKEN` a word and
`TOKEN name` an argument behind one, `[a|b]` at most one of several, `(a|b)` exactly one, `(a b)` both, `a...` any
number of them, at least one.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from paxoskv.redis import replies

_WORDS: Final = re.compile(r"\.\.\.|[\[\]|()]|[^\s\[\]|().]+")
_TYPES: Final = {
    "key": "key",
    "pattern": "pattern",
    "timestamp": "unix-time",
    "unix-time-seconds": "unix-time",
    "unix-time-milliseconds": "unix-time",
    **dict.fromkeys(
        ("client-id", "count", "cursor", "decrement", "end", "increment", "index", "milliseconds", "offset", "protover",
         "seconds", "start", "version"),
        "integer",
    ),
}  # fmt: skip


@dataclass(slots=True)
class Argument:
    """One argument, or a group of them."""

    name: str
    type: str
    token: str = ""
    flags: list[str] = field(default_factory=list)
    parts: "list[Argument]" = field(default_factory=list)

    def reply(self, protocol: int) -> bytes:
        """As COMMAND DOCS shows it."""
        facts = [("name", replies.bulk(self.name.encode())), ("type", replies.bulk(self.type.encode()))]
        if self.type == "key":
            facts.append(("key_spec_index", replies.ZERO))
        if self.token:
            facts.append(("token", replies.bulk(self.token.encode())))
        if self.flags:
            facts.append(("flags", replies.set_of([replies.simple(flag) for flag in self.flags], protocol)))
        if self.parts:
            facts.append(("arguments", replies.array([part.reply(protocol) for part in self.parts])))
        return replies.mapping([(replies.bulk(name.encode()), value) for name, value in facts], protocol)


def arguments_of(syntax: str) -> list[Argument]:
    """The arguments that a syntax has."""
    words = _WORDS.findall(syntax)
    found, at = _sequence(words, 0)
    assert at == len(words), syntax
    return found


def _sequence(words: list[str], at: int) -> tuple[list[Argument], int]:
    """Arguments one after the other, up to what ends them."""
    found: list[Argument] = []
    while at < len(words) and words[at] not in ("]", ")", "|"):
        if words[at] in ("[", "("):
            argument, at = _group(words, at)
        elif not words[at].isupper():
            name, _, kind = words[at].partition(":")
            argument, at = Argument(name, kind or _TYPES.get(name, "string")), at + 1
        else:
            token, at = words[at], at + 1
            if at < len(words) and (words[at].islower() or words[at] == "("):
                following, at = _sequence(words[: _end(words, at)], at)
                argument = following[0]
                argument.token = token
            else:
                argument = Argument(token.lower(), "pure-token", token)
        if words[at : at + 1] == ["..."]:
            argument.flags.append("multiple")
            at += 1
        found.append(argument)
    return found, at


def _end(words: list[str], at: int) -> int:
    """Where the word or the group at a place ends."""
    if words[at] != "(":
        return at + 1
    depth = 0
    while True:
        depth += {"(": 1, ")": -1}.get(words[at], 0)
        at += 1
        if not depth:
            return at


def _group(words: list[str], at: int) -> tuple[Argument, int]:
    optional = words[at] == "["
    choices: list[list[Argument]] = []
    while words[at] not in ("]", ")"):
        choice, at = _sequence(words, at + 1)
        choices.append(choice)
    parts = [choice[0] if len(choice) == 1 else _block(choice) for choice in choices]
    if len(parts) == 1:
        group = parts[0]
    else:
        group = Argument("_".join(part.name for part in parts), "oneof", parts=parts)
    if optional:
        group.flags.append("optional")
    return group, at + 1


def _block(parts: list[Argument]) -> Argument:
    return Argument("_".join(part.name for part in parts), "block", parts=parts)
