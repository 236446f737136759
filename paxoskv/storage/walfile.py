"""What can be told from a WAL and its index when a node has not closed its data file.

SQLite takes the frames of a WAL up to the first one whose checksum is wrong, and drops the rest without a word: that
is how it gets rid of a commit that a crash has torn. It drops as silently what was committed, if the WAL is missing,
cut off, damaged or another's. For a node that would mean to forget what it has promised. So this looks by hand:

- The data file itself says whether it was closed, and how long its WAL was at the least (`datafile`).
- The index, `-shm`, outlives a killed process, and says how many frames were committed. SQLite rebuilds it from the
  WAL, so it has to be read before. After a power cut it is old, or not there.
- A commit begins only when the one before it is synced. So what lies torn at the end is one commit; two behind the
  last valid frame mean that the first of them was synced, and is damaged.

What no one can tell: the very last commit damaged, and no index of that time.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HEADER_BYTES: Final = 32
FRAME_HEADER_BYTES: Final = 24
_MAGICS: Final = (0x377F0682, 0x377F0683)
_VERSION: Final = 3_007_000
_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">II8s")
# sqlite.org/walformat.html, "The WAL-Index Header": native byte order, two copies.
_INDEX: Final = struct.Struct("=III4xII8s8s2I")
_WORD: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Log:
    """A WAL with a valid header. A new salt begins whenever it is written from its beginning again."""

    path: Path
    salt: bytes
    page_bytes: int

    def commits_beyond(self, frames: int, most: int) -> int:
        """How many commits of the present salt there are behind so many frames; counts to `most`."""
        found = 0
        with self.path.open("rb") as file:
            step = FRAME_HEADER_BYTES + self.page_bytes
            offset = HEADER_BYTES + frames * step
            while found < most:
                file.seek(offset)
                header = file.read(_FRAME.size)
                if len(header) < _FRAME.size:
                    break
                _, pages_after_commit, salt = _FRAME.unpack(header)
                found += salt == self.salt and pages_after_commit > 0
                offset += step
        return found


@dataclass(frozen=True, slots=True)
class Index:
    """What the index says of the WAL that it was made for."""

    salt: bytes
    frames: int
    """Committed ones."""

    def is_newer_than(self, salt: bytes) -> bool:
        """Whether its WAL was begun after that of the other salt, whose first half counts them."""
        ahead = int.from_bytes(self.salt[:4], "big") - int.from_bytes(salt[:4], "big")
        return 0 < ahead % _WORD < _WORD // 2


def _sum(data: bytes, order: str) -> tuple[int, int]:
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    first = second = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) % _WORD
        second = (second + odd + first) % _WORD
    return first, second


def read_log(path: Path) -> Log | None:
    """The WAL at that path, None where its header is not valid. Raises OSError."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return None
    magic, version, page_bytes, _, _, _, *total = _HEADER.unpack(header)
    if magic not in _MAGICS or version != _VERSION:
        return None
    if tuple(total) != _sum(header[:24], ">" if magic & 1 else "<"):
        return None
    return Log(path, header[16:24], page_bytes)


def read_index(path: Path) -> Index | None:
    """The index at that path, None where there is none, or a torn one. Raises OSError."""
    try:
        with path.open("rb") as file:
            data = file.read(2 * _INDEX.size)
    except FileNotFoundError:
        return None
    if len(data) < 2 * _INDEX.size or data[: _INDEX.size] != data[_INDEX.size :]:
        return None
    version, _, _, frames, _, _, salt, *total = _INDEX.unpack_from(data)
    if version != _VERSION or tuple(total) != _sum(data[: _INDEX.size - 8], "="):
        return None
    return Index(salt, frames)
