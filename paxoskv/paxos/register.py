"""A key's register: what Paxos decides on.

Acceptors never look inside one: they store and ship it as the bytes that its proposer made. That keeps the hot
path of two nodes out of three free of decoding, makes (A3) a comparison of bytes, and costs less memory.

Layout, big-endian: flags u8 (0: absent, 1: a value is present, 3: one that expires), number of lineage entries u8,
modified u64, expires_at u64 (ms since the epoch, 0: never), horizon u64, then per lineage entry origin u8, number u64,
version u64, then the value.
Empty bytes stand for the register of a key that was never written.
"""

from struct import Struct
from typing import Any, Final

_HEAD: Final = Struct(">BBQQQ")
_ENTRY: Final = Struct(">BQQ")
# Most registers have been written through one node.
_HEAD_AND_ENTRY: Final = Struct(">BBQQQBQQ")
HEAD_BYTES: Final = _HEAD.size
ENTRY_BYTES: Final = _ENTRY.size

EMPTY: Final = b""

# The flags say that there is an expiry, so that a read need not look for one.
_ABSENT: Final = 0
_PRESENT: Final = 1
EXPIRING: Final = 3


class Register:
    """One register, decoded; the tail of a chain is one that changes with every step.

    `lineage` maps an origin to (number, version): the last of its operations that this history has evaluated, and
    the version at which it did. `modified` is the version at which the value was proposed.
    """

    __slots__ = ("expires_at", "horizon", "lineage", "modified", "value")

    def __init__(self) -> None:
        self.value: bytes | None = None
        self.modified = 0
        self.expires_at = 0
        self.horizon = 0
        self.lineage: dict[int, tuple[int, int]] = {}

    @property
    def version(self) -> int:
        """The key's version as users see it: 0 for an absent key, whatever made it absent."""
        return 0 if self.value is None else self.modified


def encode(register: Register) -> bytes:
    """The register's bytes. Equal registers that one proposer built in the same way give equal bytes."""
    value = register.value
    lineage = register.lineage
    expires_at = register.expires_at
    flags = _ABSENT if value is None else EXPIRING if expires_at else _PRESENT
    if len(lineage) == 1:
        [(origin, (number, version))] = lineage.items()
        head = _HEAD_AND_ENTRY.pack(flags, 1, register.modified, expires_at, register.horizon, origin, number, version)
    else:
        head = _HEAD.pack(flags, len(lineage), register.modified, expires_at, register.horizon)
        head += b"".join([_ENTRY.pack(origin, *last) for origin, last in lineage.items()])
    return head if value is None else head + value


def successor(encoded: bytes, origin: int, number: int, version: int, value: bytes) -> bytes | None:
    """What `encode` makes of the register in the bytes after a plain put, without a Register in between.

    None where that is not all there is to it: another origin in the lineage, an expiry, a horizon, a number that the
    lineage has, or nothing written yet.
    """
    if len(encoded) < _HEAD_AND_ENTRY.size:
        return None
    _, entries, _, expires_at, horizon, last_origin, last_number, _ = _HEAD_AND_ENTRY.unpack_from(encoded)
    if entries != 1 or last_origin != origin or last_number >= number or expires_at or horizon:
        return None
    return _HEAD_AND_ENTRY.pack(_PRESENT, 1, version, 0, 0, origin, number, version) + value


def decode(encoded: bytes) -> Register:
    """The inverse, for bytes that `check` has passed, as it has all that came from a peer or a disk."""
    register = Register()
    if not encoded:
        return register
    entries = encoded[1]
    start = HEAD_BYTES + entries * ENTRY_BYTES
    if entries == 1:
        flags, _, register.modified, expires_at, register.horizon, origin, number, version = (
            _HEAD_AND_ENTRY.unpack_from(encoded)
        )
        register.lineage[origin] = (number, version)
    else:
        flags, _, register.modified, expires_at, register.horizon = _HEAD.unpack_from(encoded)
        for origin, number, version in _ENTRY.iter_unpack(encoded[HEAD_BYTES:start]):
            register.lineage[origin] = (number, version)
    if flags == EXPIRING:
        # Without the flag the field means nothing, as reads take it (`user_view`).
        register.expires_at = expires_at
    if flags:
        register.value = encoded[start:]
    return register


def user_view(encoded: bytes) -> tuple[bytes | None, int, int]:
    """Value, user-visible version and expiry alone, which is all that a read needs."""
    if not encoded or not encoded[0]:
        return None, 0, 0
    expires_at = expiry(encoded) if encoded[0] == EXPIRING else 0
    return encoded[HEAD_BYTES + encoded[1] * ENTRY_BYTES :], int.from_bytes(encoded[2:10], "big"), expires_at


def expiry(encoded: bytes) -> int:
    """When the value ceases to exist; 0 for never, and where there is none."""
    return int.from_bytes(encoded[10:18], "big")


def is_shaped(encoded: Any) -> bool:
    """Whether it is bytes, and they have the shape of a register that was written."""
    if type(encoded) is not bytes or len(encoded) < HEAD_BYTES:
        return False
    flags = encoded[0]
    end = HEAD_BYTES + encoded[1] * ENTRY_BYTES
    if flags in (_PRESENT, EXPIRING):
        return len(encoded) >= end
    return flags == _ABSENT and len(encoded) == end


def check(encoded: bytes) -> None:
    """Raise ValueError unless the bytes have a register's shape (empty is one)."""
    if encoded and not is_shaped(encoded):
        raise ValueError("not a register")
