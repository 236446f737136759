"""The operations of a report, packed.

A chunk holds the operations of one key or of several small ones. Before base64 and zlib it is, little-endian:

    count         uint32
    starts        count float64, shuffled
    finishes      count float64, shuffled; infinite: never
    numbers       count float64, shuffled
    versions      count float64, shuffled; -1: not told
    clients       count uint32, shuffled; an index of the report's `client_names`
    arguments     count uint32, shuffled; an index of the chunk's texts, as the next two
    conditions    count uint32, shuffled
    results       count uint32, shuffled
    kinds         count uint8; as in `paxoskv.check.history`
    outcomes      count uint8; likewise
    texts         JSON, UTF-8: the values that `text_of` describes

Shuffled: the first bytes of all numbers, then their second bytes, and so on. Neighbours share their high bytes, which
then lie side by side, and zlib finds them: some 20 bytes are left of an operation, instead of 50.

Inside a chunk each key has consecutive rows, sorted by client and then by start.
"""

import array
import base64
import bisect
import json
import math
import struct
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from paxoskv.check.history import Answer, Argument, Columns, History
from paxoskv.check.verdict import KeyVerdict

CHUNK_ROWS: Final = 20_000
"""A chunk is closed once it has so many, at the end of a key."""
TEXT_BYTES_MAX: Final = 24 * 1024 * 1024
"""All values of a report together; where they are more, they are cut, all at the same length."""
WITNESS_TEXT_BYTES_MAX: Final = 256 * 1024
"""The length at which values are cut that belong to a violation."""
_TEXT_BYTES_STEPS: Final = (16_384, 4096, 1024, 256, 64)
_SAFE_INTEGER: Final = 2**53
"""Beyond it numbers of JavaScript are not exact."""

Text = None | bool | int | str | list[str | int]


def text_of(value: Argument | Answer, bytes_max: int) -> Text:
    """A value for JSON.

    None, booleans and small integers are themselves; an integer that JavaScript cannot hold is ["int", digits]. Bytes
    that are UTF-8 are a string, or ["cut", head, tail, size] where they are longer than `bytes_max`; others are
    ["hex", digits, size], the digits likewise cut, at the end.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _SAFE_INTEGER else ["int", _digits(value)]
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return ["hex", value[: bytes_max // 2].hex(), len(value)]
    if len(value) <= bytes_max:
        return text
    # Both ends: lists grow at the end, and that is where two of them differ.
    half = bytes_max // 2
    return ["cut", value[:half].decode(errors="ignore"), value[-half:].decode(errors="ignore"), len(value)]


def _digits(number: int) -> str:
    # Python refuses to print integers of more digits than this, as that takes quadratic time.
    return str(number) if number.bit_length() < 10_000 else f"{number:#x}"


@dataclass(slots=True)
class Shown:
    """Where the operations of a key are."""

    chunk: int
    offset: int
    count: int
    witness: list[int]
    """Rows of the witness, counted from `offset`; -1 where one is not among the operations."""


class Chunks:
    """Packs keys, as long as there is room: those that are wrong, of which there are `wrong`, must come first."""

    def __init__(self, history: History, rows_max: int, wrong: int) -> None:
        self.rows = 0
        """Operations packed so far."""
        self.clients: list[str] = []
        self._client_indices: dict[int | str, int] = {}
        self._history = history
        self._rows_max = rows_max
        self._wrong_left = wrong
        self._text_share = TEXT_BYTES_MAX / max(1, min(rows_max, len(history)))
        self._chunk = 0
        self._open = _Chunk()
        self._closed: list[bytes] = []

    def add(self, verdict: KeyVerdict) -> Shown | None:
        """Pack a key; None if there is no room for it.

        One that is wrong always gets in with the operations that prove it, and with as many others as its equal share
        of the room allows. Another that is too large for the room gets in only if nothing else did, and then in part.
        """
        room = max(0, self._rows_max - self.rows)
        if verdict.witness:
            room //= max(1, self._wrong_left)
            self._wrong_left -= 1
        elif room == 0 or (verdict.operations > room and self.rows):
            return None
        columns = self._history.columns(verdict.key)
        picked = _pick(columns, verdict, room)
        picked.sort(key=lambda row: (self._client(columns.clients[row]), columns.starts[row]))
        names = {(each.number, each.client, each.start): at for at, each in enumerate(verdict.witness)}
        witness = [-1] * len(verdict.witness)
        if names:
            for at, row in enumerate(picked):
                found = names.get((columns.numbers[row], columns.clients[row], columns.starts[row]))
                if found is not None:
                    witness[found] = at
        shown = Shown(self._chunk, len(self._open), len(picked), witness)
        self._open.add(columns, picked, self._client, [picked[at] for at in witness if at >= 0])
        self.rows += len(picked)
        if len(self._open) >= CHUNK_ROWS:
            self.finish()
        return shown

    def finish(self) -> None:
        """Close the chunk that is being filled."""
        if len(self._open):
            self._closed.append(self._open.pack(int(self._text_share * len(self._open))))
            self._open = _Chunk()
            self._chunk += 1

    def take(self) -> list[bytes]:
        """The chunks closed since the last time, in base64."""
        taken, self._closed = self._closed, []
        return taken

    def _client(self, client: int | str) -> int:
        index = self._client_indices.get(client)
        if index is None:
            index = self._client_indices[client] = len(self.clients)
            self.clients.append(str(client))
        return index


def _pick(columns: Columns, verdict: KeyVerdict, room: int) -> list[int]:
    """The rows to show: all, or as many as there is room for, around the witness, by time of their start."""
    rows = list(range(len(columns)))
    if len(rows) <= room:
        return rows
    starts = columns.starts
    rows.sort(key=starts.__getitem__)
    wanted = {(each.number, each.client, each.start) for each in verdict.witness}
    if not wanted:
        return rows[:room]
    times = [starts[row] for row in rows]
    middle = bisect.bisect_left(times, verdict.witness[0].start)
    begin = max(0, min(middle - room // 2, len(rows) - room))
    picked = rows[begin : begin + room]
    there = set(picked)
    numbers, clients = columns.numbers, columns.clients
    # The rest of the witness may have happened long before.
    return picked + [row for row in rows if row not in there and (numbers[row], clients[row], starts[row]) in wanted]


class _Chunk:
    """One chunk in the making."""

    def __init__(self) -> None:
        self._starts = array.array("d")
        self._finishes = array.array("d")
        self._numbers = array.array("d")
        self._versions = array.array("d")
        self._clients = array.array("I")
        self._arguments = array.array("I")
        self._conditions = array.array("I")
        self._results = array.array("I")
        self._kinds = bytearray()
        self._outcomes = bytearray()
        # Python has True == 1, so that integers need a table of their own.
        self._values: list[Argument | Answer] = [None, False, True]
        self._bytes: dict[bytes, int] = {}
        self._integers: dict[int, int] = {}
        self._uncut: set[int] = set()

    def __len__(self) -> int:
        return len(self._starts)

    def add(
        self, columns: Columns, rows: Sequence[int], client: Callable[[int | str], int], witness: Sequence[int]
    ) -> None:
        """Add rows of a key; the values of `witness` are hardly cut."""
        for row in witness:
            for value in (columns.arguments[row], columns.conditions[row], columns.results[row]):
                self._uncut.add(self._index(value))
        self._starts.extend(map(columns.starts.__getitem__, rows))
        self._finishes.extend(map(columns.finishes.__getitem__, rows))
        self._numbers.extend(_float(columns.numbers[row]) for row in rows)
        self._versions.extend(-1.0 if (told := columns.versions[row]) is None else _float(told) for row in rows)
        self._clients.extend(client(columns.clients[row]) for row in rows)
        index = self._index
        self._arguments.extend(index(columns.arguments[row]) for row in rows)
        self._conditions.extend(index(columns.conditions[row]) for row in rows)
        self._results.extend(index(columns.results[row]) for row in rows)
        self._kinds.extend(map(columns.kinds.__getitem__, rows))
        self._outcomes.extend(map(columns.outcomes.__getitem__, rows))

    def _index(self, value: Argument | Answer) -> int:
        if isinstance(value, bytes):
            found = self._bytes.get(value)
            if found is None:
                found = self._bytes[value] = len(self._values)
                self._values.append(value)
            return found
        if value is None or isinstance(value, bool):
            return 0 if value is None else 1 + value
        found = self._integers.get(value)
        if found is None:
            found = self._integers[value] = len(self._values)
            self._values.append(value)
        return found

    def pack(self, text_bytes: int) -> bytes:
        """The chunk in base64, its values cut so that all of them take `text_bytes` or little more."""
        sizes = [len(value) for value in self._bytes]
        longest = next(
            (step for step in _TEXT_BYTES_STEPS if sum(min(size, step) for size in sizes) <= text_bytes),
            _TEXT_BYTES_STEPS[-1],
        )
        texts = [
            text_of(value, WITNESS_TEXT_BYTES_MAX if at in self._uncut else longest)
            for at, value in enumerate(self._values)
        ]
        data = [struct.pack("<I", len(self))]
        data += map(_shuffled, (self._starts, self._finishes, self._numbers, self._versions))
        data += map(_shuffled, (self._clients, self._arguments, self._conditions, self._results))
        data += [bytes(self._kinds), bytes(self._outcomes)]
        data.append(json.dumps(texts, separators=(",", ":")).encode())
        return base64.b64encode(zlib.compress(b"".join(data), 6))


def _float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _shuffled(column: "array.array[float] | array.array[int]") -> bytes:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    data = column.tobytes()
    return b"".join(data[at :: column.itemsize] for at in range(column.itemsize))
