"""Frames: a length of 4 bytes, big-endian, then that many bytes of one msgpack array.

A frame's first byte is 0 to 8 (a length is below 144 MiB), which no Redis command begins with.
"""

import reprlib
from typing import Any, Final

import msgpack

from paxoskv.core.errors import ProtocolError

LENGTH_BYTES: Final = 4
FRAME_BYTES_CEILING: Final = 0x09000000


# Making one takes half as long as packing a small message does. It may be used from any thread, since it lets go of the
# interpreter's lock nowhere, and keeps room for the largest frame that it made.
_PACKER: Final = msgpack.Packer()


def encode(value: object) -> bytes:
    """The value as msgpack."""
    encoded: bytes = _PACKER.pack(value)
    return encoded


def pack(body: object) -> bytes:
    """One frame around `body`."""
    packed = encode(body)
    return len(packed).to_bytes(LENGTH_BYTES, "big") + packed


def unpack(body: bytes | memoryview) -> tuple[Any, ...]:
    """The array in a frame's body. Arrays become tuples, and binary stays bytes.

    Memory is bounded by the frame's length: msgpack refuses a count that exceeds the bytes that are left,
    nesting is limited to 1,024, and maps are refused in whole. An empty array costs nothing as a tuple.
    """
    try:
        value = msgpack.unpackb(body, use_list=False, max_map_len=0, max_ext_len=0)
    except RecursionError as error:
        raise ProtocolError("the frame is nested too deeply") from error
    except (ValueError, TypeError, OverflowError, msgpack.exceptions.UnpackException) as error:
        raise ProtocolError(f"the frame is not msgpack: {error or type(error).__name__}") from error
    if type(value) is not tuple or not value:
        raise ProtocolError(f"a frame holds an array, not {type(value).__name__}")
    return value


def shown(value: object) -> str:
    """What somebody sent, for a sentence about it: short, and never so nested that Python's own `repr` gives up."""
    return _SHOWN.repr(value)


_SHOWN: Final = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 200


class FrameBuffer:
    """Cuts a byte stream into frame bodies, fed whole or a byte at a time."""

    __slots__ = ("_buffer", "_frame_bytes_max")

    def __init__(self, frame_bytes_max: int) -> None:
        assert 0 < frame_bytes_max < FRAME_BYTES_CEILING
        self._frame_bytes_max = frame_bytes_max
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that `data` completes. Raises ProtocolError at a length out of bounds."""
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < LENGTH_BYTES:
                return []
            # Until the frame is whole nothing is sliced, so a large one that trickles in costs one copy.
            if len(buffer) < LENGTH_BYTES + self._length(int.from_bytes(buffer[:LENGTH_BYTES], "big")):
                return []
            data = bytes(buffer)
            buffer.clear()
        bodies = []
        position = 0
        size = len(data)
        while size - position >= LENGTH_BYTES:
            start = position + LENGTH_BYTES
            end = start + self._length(int.from_bytes(data[position:start], "big"))
            if end > size:
                break
            bodies.append(data[start:end])
            position = end
        if position < size:
            buffer += data[position:] if position else data
        return bodies

    def _length(self, length: int) -> int:
        if not 0 < length <= self._frame_bytes_max:
            raise ProtocolError(f"a frame of {length} bytes; the limit is {self._frame_bytes_max}")
        return length

    def __len__(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return len(self._buffer)
