"""What operations return."""

from typing import NamedTuple


class Entry(NamedTuple):
    """A key's value and version; None and 0 when the key is absent."""

    value: bytes | None
    version: int


class Found(NamedTuple):
    """A key that a scan found. The value is None where keys alone were asked for."""

    key: bytes
    value: bytes | None
    version: int


class Counter(NamedTuple):
    """The number after an increment, and the key's new version."""

    value: int
    version: int


class Appended(NamedTuple):
    """The value's length in bytes after an append, and the key's new version."""

    length: int
    version: int


class Swapped(NamedTuple):
    """The value that was replaced (None: there was none), and the key's new version."""

    old: bytes | None
    version: int
