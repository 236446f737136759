"""Checksums of what is kept, since SQLite has none of its own outside the WAL.

CRC-32 finds every change of up to 32 bits in a row. What names a row is part of its sum, so that the content of one
row is not taken for that of another.
"""

import zlib
from typing import Any


def of_group(number: int, group: bytes) -> int:
    """Of a row of the journal."""
    return zlib.crc32(group, number & 0xFFFFFFFF)


def of_record(key: bytes, record: bytes) -> int:
    """Of a key and its record."""
    return zlib.crc32(record, zlib.crc32(key))


def of_fact(name: str, value: int | str) -> int:
    """Of a row of the table `meta`."""
    return zlib.crc32(repr((name, value)).encode())


def is_group(number: Any, group: Any, crc: Any) -> bool:
    """Whether what was read is a row of the journal as it was written, whatever types it has come to have."""
    return type(number) is int and type(group) is bytes and of_group(number, group) == crc


def is_record(key: Any, record: Any, crc: Any) -> bool:
    """The same of a record."""
    return type(key) is bytes and type(record) is bytes and of_record(key, record) == crc


def is_fact(name: Any, value: Any, crc: Any) -> bool:
    """The same of a row of `meta`."""
    return type(name) is str and type(value) in (int, str) and of_fact(name, value) == crc
