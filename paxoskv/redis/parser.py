"""Commands out of a stream of bytes, as Redis reads them: arrays of bulk strings, or lines typed by hand.

Source: the RESP specification, and Redis 7's networking.c (`processMultibulkBuffer`, `processInlineBuffer`), whose
error texts these are. Not hiredis, which reads replies: docs/design.md has what that would give and take.
"""

from typing import Final

from paxoskv.redis.splitting import UnbalancedQuotes, split

ARRAY_ELEMENTS_MAX: Final = 2**31 - 1
COMMAND_BYTES_MAX: Final = 64 * 1024 * 1024
INLINE_BYTES_MAX: Final = 64 * 1024
# One lookup instead of a check, a conversion and a comparison.
_COUNTS: Final = {b"*%d" % count: count for count in range(1, 64)}
_LENGTHS: Final = {b"$%d" % length: length for length in range(1024)}


class RespError(Exception):
    """The bytes are no commands; says what Redis would say. `commands` are those that came before."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.commands: list[list[bytes]] = []


class Parser:
    """Takes bytes as they come and gives whole commands.

    A bulk string has at most `bulk_bytes_max` bytes, a command at most `command_bytes_max`. No memory is taken for what
    a header claims: bytes are kept as they arrive, and no element is parsed twice.
    """

    def __init__(self, bulk_bytes_max: int, command_bytes_max: int = COMMAND_BYTES_MAX) -> None:
        self._bulk_bytes_max = bulk_bytes_max
        self._command_bytes_max = command_bytes_max
        self._is_quick = bulk_bytes_max >= len(_LENGTHS)
        self._command: list[bytes] = []
        """The elements that have arrived of a command,"""
        self._command_bytes = 0
        """how much that is,"""
        self._left = 0
        """and how many are to come."""
        self._rest = b""
        self._parts: list[bytes] = []
        """Bytes that certainly do not end the command yet."""
        self._parts_bytes = 0
        self._missing = 0
        """How many bytes more are needed at least before it is worth while to look again."""
        self._cut = False
        """The header of an array has not all arrived."""

    def feed(self, data: bytes) -> list[list[bytes]]:
        """The commands that these bytes complete. Empty ones are passed over. Raises RespError."""
        if self._missing > len(data):
            self._parts.append(data)
            self._parts_bytes += len(data)
            self._missing -= len(data)
            return []
        if self._parts:
            data = b"".join((self._rest, *self._parts, data))
            self._parts.clear()
            self._parts_bytes = 0
        elif self._rest:
            data = self._rest + data
        self._missing = 0
        self._cut = False
        commands: list[list[bytes]] = []
        at = 0
        is_quick = self._is_quick
        try:
            while at < len(data):
                if self._left:
                    at = self._elements(data, at)
                elif data[at] == 42:
                    if is_quick:
                        is_quick = False
                        at += _short(data[at:] if at else data, commands)
                        continue
                    at = self._array(data, at)
                else:
                    end = self._inline(data, at, commands)
                    if not end:
                        break
                    at = end
                    continue
                if self._left or self._cut:
                    break
                if self._command:
                    commands.append(self._command)
                    self._command, self._command_bytes = [], 0
        except RespError as error:
            self._rest = b""
            error.commands = commands
            raise
        self._rest = data[at:]
        return commands

    def _array(self, data: bytes, at: int) -> int:
        """Begin an array; where its elements go on that have not arrived."""
        # To the first CR and one byte beyond, whatever that is: so Redis has it.
        line = data.find(b"\r", at)
        if line < 0 or line + 1 == len(data):
            if line < 0 and len(data) - at > INLINE_BYTES_MAX:
                raise RespError("Protocol error: too big mbulk count string")
            self._cut = True
            return at
        count = _integer(data[at + 1 : line], ARRAY_ELEMENTS_MAX, "Protocol error: invalid multibulk length")
        self._left = max(count, 0)
        return self._elements(data, line + 2) if self._left else line + 2

    def _elements(self, data: bytes, at: int) -> int:
        """Take the elements that have arrived; where the first begins that has not."""
        find = data.find
        command = self._command
        lengths, size = _LENGTHS.get, len(data)
        begun = at
        while self._left:
            line = find(b"\r", at)
            if line < 0 or line + 1 == size:
                if line < 0 and size - at > INLINE_BYTES_MAX:
                    raise RespError("Protocol error: too big bulk count string")
                break
            length = lengths(data[at:line], -1)
            if length < 0:
                if data[at] != 36:
                    raise RespError(f"Protocol error: expected '$', got '{chr(data[at])}'")
                invalid = "Protocol error: invalid bulk length"
                length = _integer(data[at + 1 : line], self._bulk_bytes_max, invalid)
                if length < 0:
                    raise RespError(invalid)
            elif length > self._bulk_bytes_max:
                raise RespError("Protocol error: invalid bulk length")
            start = line + 2
            end = start + length + 2
            if end > size:
                self._missing = end - size
                break
            command.append(data[start : end - 2])
            at = end
            self._left -= 1
        self._command_bytes += at - begun
        if self._command_bytes > self._command_bytes_max:
            raise RespError(f"Protocol error: a command has at most {self._command_bytes_max} bytes here")
        return at

    def _inline(self, data: bytes, at: int, commands: list[list[bytes]]) -> int:
        line = data.find(b"\n", at)
        if line < 0:
            if len(data) - at > INLINE_BYTES_MAX:
                raise RespError("Protocol error: too big inline request")
            return 0
        text = data[at:line]
        try:
            command = split(text.removesuffix(b"\r"))
        except UnbalancedQuotes:
            raise RespError("Protocol error: unbalanced quotes in request") from None
        if command:
            commands.append(command)
        return line + 1


def _short(data: bytes, commands: list[list[bytes]]) -> int:
    """Take whole commands of few and short elements without a line break in them, as long as there are only such.

    Answers how many bytes they have; whatever comes next is for those who look closer. Nearly all commands are like
    this, and cutting all lines at once takes less than half the time of looking for each.
    """
    lines = data.split(b"\r\n")
    count_of, length_of = _COUNTS.get, _LENGTHS.get
    at, last = 0, len(lines) - 1
    while at < last:
        count = count_of(lines[at])
        if count is None:
            break
        end = at + 1 + 2 * count
        if end > last:
            break
        command = lines[at + 2 : end : 2]
        if [*map(len, command)] != [*map(length_of, lines[at + 1 : end : 2])]:
            break
        commands.append(command)
        at = end
    return len(data) if at == last and not lines[last] else sum(map(len, lines[:at])) + 2 * at


def _integer(text: bytes, largest: int, refusal: str) -> int:
    """A length from a header."""
    digits = text[1:] if text[:1] == b"-" else text
    if not digits.isdigit() or len(digits) > 19 or (digits[:1] == b"0" and text != b"0") or int(text) > largest:
        raise RespError(refusal)
    return int(text)
