"""Entries of the log: each is the operations of one turn, in batches by the node that took them from clients.

A batch is known by its origin, the origin's incarnation and a number that counts from 1 within that. Every log holds
the batches of one incarnation in the order of their numbers and without a gap, each at most once (E1), which is what
makes an operation take effect at most once whatever is sent again; see `leader`.

Both are msgpack arrays: a batch `[origin, incarnation, number, kinds, keys, arguments, conditions, expiries]`, its last
five columns over the operations, conditions and expiries empty when nobody has one; an entry `[term, value_bytes_max,
wall_ms, batch, ...]`, its batches as the bytes that their origins made. The bound on values and the time are the
proposing leader's, in the entry, because what an operation does must not depend on how the node that applies it is
configured, nor when.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgpack

from paxoskv.core import operations
from paxoskv.core.operations import Argument, Condition, Expiry

NUMBER_MAX: Final = 2**63 - 1
NODE_MAX: Final = 255
INCARNATION_MAX: Final = 2**24 - 1
POSITION_BITS: Final = 20
INDEX_MAX: Final = 2**43 - 1
"""So many entries fit the versions of keys: an index, and a position among the entry's operations."""
BATCH_OPERATIONS_MAX: Final = 2 ** (POSITION_BITS - 2)
ENTRY_OPERATIONS_MAX: Final = 2**POSITION_BITS - 1

# A get comes to the log when what it finds has expired.
_KINDS: Final = bytes(range(len(operations.KIND_NAMES)))
_BYTES: Final = frozenset((bytes,))


class Batch:
    """Operations of one origin, as columns, and the bytes that say the same."""

    __slots__ = ("arguments", "conditions", "encoded", "expiries", "incarnation", "keys", "kinds", "number", "origin")

    def __init__(
        self,
        origin: int,
        incarnation: int,
        number: int,
        kinds: bytes,
        keys: Sequence[bytes],
        arguments: Sequence[Argument],
        conditions: Sequence[Condition],
        expiries: Sequence[Expiry],
        encoded: bytes = b"",
    ) -> None:
        self.origin = origin
        self.incarnation = incarnation
        self.number = number
        self.kinds = kinds
        self.keys = keys
        self.arguments = arguments
        self.conditions = conditions
        self.expiries = expiries
        self.encoded: bytes = encoded or msgpack.packb(
            (origin, incarnation, number, kinds, keys, arguments, conditions, expiries)
        )

    def __repr__(self) -> str:
        return f"<batch {self.origin}.{self.incarnation}#{self.number} of {len(self.keys)}>"


class Entry:
    """One entry of the log. `batches` is empty in what opens a term, and given up once the entry is applied."""

    __slots__ = ("batches", "encoded", "term", "value_bytes_max", "wall_ms")

    def __init__(
        self, term: int, value_bytes_max: int, wall_ms: int, batches: Sequence[Batch], encoded: bytes = b""
    ) -> None:
        self.term = term
        self.value_bytes_max = value_bytes_max
        self.wall_ms = wall_ms
        self.batches: Sequence[Batch] = batches
        self.encoded: bytes = encoded or msgpack.packb(
            (term, value_bytes_max, wall_ms, *[batch.encoded for batch in batches])
        )

    def __repr__(self) -> str:
        return f"<entry of term {self.term}: {list(self.batches)}>"


def decode_batch(encoded: bytes) -> Batch:
    """The inverse, for bytes from anywhere. Raises ValueError when they are no batch."""
    body = unpack(encoded)
    if len(body) != 8:
        raise ValueError("a batch has eight parts")
    origin, incarnation, number, kinds, keys, arguments, conditions, expiries = body
    integer(origin, 1, NODE_MAX)
    integer(incarnation, 1, INCARNATION_MAX)
    integer(number, 1, NUMBER_MAX)
    if type(kinds) is not bytes or not 0 < len(kinds) <= BATCH_OPERATIONS_MAX or kinds.translate(None, _KINDS):
        raise ValueError("a batch's kinds are those of operations")
    if not type(keys) is type(arguments) is type(conditions) is type(expiries) is tuple:
        raise ValueError("a batch's columns are arrays")
    count = len(kinds)
    if len(keys) != count or len(arguments) != count:
        raise ValueError("columns of unequal length")
    if len(conditions) not in (0, count) or len(expiries) not in (0, count):
        raise ValueError("columns of unequal length")
    # The empty key is where storage keeps the log's base.
    if not _BYTES.issuperset(map(type, keys)) or b"" in keys:
        raise ValueError("a key is binary, and not empty")
    if conditions or expiries or kinds.count(operations.PUT) != count or not _BYTES.issuperset(map(type, arguments)):
        for kind, argument, condition, expiry in zip(
            kinds, arguments, conditions or (None,) * count, expiries or (None,) * count, strict=True
        ):
            if not operations.is_well_formed(kind, argument, condition, expiry):
                raise ValueError(f"wrong argument or condition for {operations.KIND_NAMES[kind]}")
    return Batch(origin, incarnation, number, kinds, keys, arguments, conditions, expiries, encoded)


def decode_entry(encoded: bytes) -> Entry:
    """The inverse, for bytes from anywhere. Raises ValueError when they are no entry."""
    body = unpack(encoded)
    if len(body) < 3:
        raise ValueError("an entry has a term, a bound on values and a time")
    term, value_bytes_max, wall_ms, *batches = body
    integer(term, 1, NUMBER_MAX)
    integer(value_bytes_max, 1, NUMBER_MAX)
    integer(wall_ms, 0, NUMBER_MAX)
    if not _BYTES.issuperset(map(type, batches)):
        raise ValueError("a batch is binary")
    decoded = tuple([decode_batch(batch) for batch in batches])
    if sum([len(batch.kinds) for batch in decoded]) > ENTRY_OPERATIONS_MAX:
        raise ValueError("an entry with more operations than its versions tell apart")
    return Entry(term, value_bytes_max, wall_ms, decoded, encoded)


def unpack(encoded: bytes) -> tuple[Any, ...]:
    """A msgpack array as a tuple. Raises ValueError for anything else."""
    try:
        body = msgpack.unpackb(encoded, use_list=False, max_map_len=0, max_ext_len=0)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except (ValueError, TypeError, OverflowError, msgpack.exceptions.UnpackException) as error:
        raise ValueError(f"not msgpack: {error or type(error).__name__}") from error
    if type(body) is not tuple:
        raise ValueError("not an array")
    return body


def integer(value: Any, least: int, most: int) -> int:
    """The value, if it is a whole number within the bounds. Raises ValueError otherwise."""
    if type(value) is not int or not least <= value <= most:
        # Not shown, if it is none: what is nested deeply enough, Python's repr gives up on.
        shown = value if type(value) is int else f"what is of type {type(value).__name__}"
        raise ValueError(f"{shown} is no number from {least} to {most}")
    return value
