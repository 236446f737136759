"""As much of EDN as histories need: https://github.com/edn-format/edn.

Values become: nil None; true and false bool; integers int; other numbers float; strings str; keywords and symbols
`Keyword` and `Symbol`; vectors and lists tuple; maps dict; sets frozenset; a tagged value the value without its tag.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from paxoskv.check.formats.unreadable import Unreadable

_TOKEN: Final = re.compile(
    r"""[\s,]+ | ;[^\n]*                                # nothing
    | (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<character>\\(?:newline|space|tab|return|u[0-9a-fA-F]{4}|\S))
    | (?P<open>\#?\{|[\[(])
    | (?P<close>[\])}])
    | (?P<discard>\#_)
    | (?P<tag>\#[A-Za-z][^\s,()\[\]{}";]*)
    | (?P<atom>[^\s,()\[\]{}";\\]+)""",
    re.VERBOSE | re.DOTALL,
)
_INTEGER: Final = re.compile(r"[+-]?[0-9]+N?\Z")
_FLOAT: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?M?\Z")
_ESCAPES: Final = {"t": "\t", "r": "\r", "n": "\n", "\\": "\\", '"': '"', "b": "\b", "f": "\f"}
_CHARACTERS: Final = {"newline": "\n", "space": " ", "tab": "\t", "return": "\r"}
_CLOSING: Final = {"{": "}", "#{": "}", "[": "]", "(": ")"}
_DEPTH_MAX: Final = 100
_DIGITS_MAX: Final = 1000


class Symbol(str):
    """A word."""

    __slots__ = ()


class Keyword(Symbol):
    """A word with a colon before it, which is not part of the string."""

    __slots__ = ()


class Outermost(tuple[Any, ...]):
    """A vector or list that is in no other, and the line on which each of its elements begins."""

    lines: list[int]


class _Discarded:
    pass


_CLOSE: Final = object()


def parse(text: str) -> Iterator[tuple[int, Any]]:
    """Each value at the top of a text, with the number of the line where it begins. Raises Unreadable."""
    reader = _Reader(text)
    while True:
        item = reader.next()
        if item is None:
            return
        yield item


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._depth = 0
        self._tags = 0
        self._counted = 0

    def next(self) -> tuple[int, Any] | None:
        while (token := self._token()) is not None:
            line = self._line
            value = self._value(*token)
            if value is _CLOSE:
                raise Unreadable(line, f'"{token[1]}" closes nothing')
            if not isinstance(value, _Discarded):
                return line, value
        return None

    def _token(self) -> tuple[str, str] | None:
        """Kind and text of the next token; the line is where it begins."""
        text = self._text
        while self._at < len(text):
            found = _TOKEN.match(text, self._at)
            if found is None:
                self._skip_to(self._at)
                what = "a string that does not end" if text[self._at] == '"' else f'"{text[self._at]}"'
                raise Unreadable(self._line, f"{what}, expected EDN")
            start, self._at = self._at, found.end()
            kind = found.lastgroup
            if kind is not None:
                self._skip_to(start)
                return kind, found.group()
        return None

    def _skip_to(self, at: int) -> None:
        self._line += self._text.count("\n", self._counted, at)
        self._counted = at

    def _value(self, kind: str, token: str) -> Any:
        if kind == "atom":
            return self._atom(token)
        if kind == "open":
            return self._collection(token)
        if kind == "string":
            return self._string(token)
        if kind == "close":
            return _CLOSE
        if kind == "character":
            name = token[1:]
            if len(name) == 5 and name[0] == "u":
                return self._whole(chr(int(name[1:], 16)), token)
            return _CHARACTERS.get(name, name)
        line = self._line
        self._tags += 1
        if self._tags > _DEPTH_MAX:
            raise Unreadable(line, f"more than {_DEPTH_MAX} tags before each other")
        following = self._token()
        while following is not None and isinstance(value := self._value(*following), _Discarded):
            following = self._token()
        if following is None or value is _CLOSE:
            raise Unreadable(line, f'nothing after "{token}"')
        self._tags -= 1
        return _Discarded() if kind == "discard" else value

    def _atom(self, token: str) -> Any:
        if token == "nil":
            return None
        if token == "true":
            return True
        if token == "false":
            return False
        if token[0] == ":":
            return Keyword(token[1:])
        if token[0] in "+-0123456789":
            if _INTEGER.match(token):
                if len(token) > _DIGITS_MAX:
                    raise Unreadable(self._line, f"a number of more than {_DIGITS_MAX} digits")
                return int(token.rstrip("N"))
            if _FLOAT.match(token):
                return float(token.rstrip("M"))
            if token[0] not in "+-":
                raise Unreadable(self._line, f'"{token}" is no number')
        return Symbol(token)

    def _string(self, token: str) -> str:
        inner = token[1:-1]
        if "\\" not in inner:
            return inner

        def unescape(found: "re.Match[str]") -> str:
            name = found.group(1)
            if len(name) == 5:
                return chr(int(name[1:], 16))
            if name not in _ESCAPES:
                raise Unreadable(self._line, f'"\\{name}" is no escape')
            return _ESCAPES[name]

        return self._whole(re.sub(r"\\(u[0-9a-fA-F]{4}|.)", unescape, inner, flags=re.DOTALL), token)

    def _whole(self, text: str, token: str) -> str:
        """A text with characters in place of their halves, which is what UTF-16 escapes beyond \\uffff are."""
        if text.isascii():
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise Unreadable(self._line, f"{token[:60]} has half of a character in it, expected text") from None

    def _collection(self, opening: str) -> Any:
        line = self._line
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise Unreadable(line, f"more than {_DEPTH_MAX} brackets inside each other")
        items: list[Any] = []
        lines: list[int] = []
        while True:
            token = self._token()
            if token is None:
                raise Unreadable(line, f'"{opening}" is never closed')
            begins = self._line
            value = self._value(*token)
            if value is _CLOSE:
                if token[1] != _CLOSING[opening]:
                    raise Unreadable(self._line, f'"{token[1]}" where "{_CLOSING[opening]}" should close line {line}')
                break
            if not isinstance(value, _Discarded):
                items.append(value)
                lines.append(begins)
        self._depth -= 1
        if opening == "{":
            if len(items) % 2:
                raise Unreadable(line, "a map with a key that has no value")
            return dict(zip(map(_hashable, items[::2]), items[1::2], strict=True))
        if opening == "#{":
            return frozenset(map(_hashable, items))
        if self._depth:
            return tuple(items)
        outermost = Outermost(items)
        outermost.lines = lines
        return outermost


def _hashable(value: Any) -> Any:
    """A value that can be the key of a map: maps become sets of pairs."""
    if isinstance(value, dict):
        return frozenset((key, _hashable(inner)) for key, inner in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, tuple) else value


def show(value: Any) -> str:
    """A value as EDN again."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Keyword):
        return f":{value}"
    if isinstance(value, Symbol):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        return "[" + " ".join(map(show, value)) + "]"
    if isinstance(value, dict):
        # Of equal maps the same, whatever the order in which they were written.
        return "{" + ", ".join(sorted(f"{show(key)} {show(inner)}" for key, inner in value.items())) + "}"
    if isinstance(value, frozenset):
        return "#{" + " ".join(sorted(map(show, value))) + "}"
    return str(value)
