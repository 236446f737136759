"""The frames in which replicas send each other messages, whatever the engine.

A connection carries messages in one direction. Its first frame is ``[PEER_HELLO, wire_version, mode, cluster, epoch,
node, incarnation, storage_uuid, [node, ...], key_bytes_max, value_bytes_max]`` from who connects, answered by the same
from who accepts, or by ``[GOODBYE, reason]``. After that every frame is ``[FRAME, cluster, epoch, sender, incarnation,
recipient_incarnation, message, ...]``, each message as one binary that the mode's codec packed. `recipient_incarnation`
is the one that the answers in the frame are for: a receiver of another incarnation drops the frame (protocol.md, B9).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar

from paxoskv.core.errors import ProtocolError
from paxoskv.wire import framing

MessageT = TypeVar("MessageT")

WIRE_VERSION: Final = 3

PEER_HELLO: Final = 16
FRAME: Final = 17
GOODBYE: Final = 5

_HEADER: Final = (str, int, int, int, int)
_BYTES: Final = frozenset((bytes,))
_INTEGERS: Final = frozenset((int,))
# Of what a stranger says, so much goes into the log, or onto the disk.
_REASON_CHARACTERS: Final = 500
_NAME_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class Codec(Generic[MessageT]):
    """One engine's messages as bytes, for the wire and for the journal."""

    encode: Callable[[MessageT], bytes]
    decode: Callable[[bytes], MessageT]
    """Takes bytes from anywhere; raises ProtocolError and nothing else."""


class PeerHello(NamedTuple):
    """How a node introduces itself to another."""

    mode: str
    cluster: str
    epoch: int
    node: int
    incarnation: int
    storage_uuid: str
    nodes: tuple[int, ...]
    """All that it takes for the cluster, ascending."""
    key_bytes_max: int
    value_bytes_max: int


class Header(NamedTuple):
    """What every frame between peers says of itself."""

    cluster: str
    epoch: int
    sender: int
    incarnation: int
    recipient_incarnation: int


def pack_hello(hello: PeerHello) -> bytes:
    """The first frame in either direction."""
    return framing.pack((PEER_HELLO, WIRE_VERSION, *hello))


def parse_hello(body: tuple[Any, ...]) -> PeerHello:
    """A peer's first frame. Raises ProtocolError with the peer's own words when it said GOODBYE."""
    if body[0] == GOODBYE and len(body) == 2 and type(body[1]) is str:
        raise ProtocolError(f"the peer refused: {body[1][:_REASON_CHARACTERS]}")
    if body[0] != PEER_HELLO or len(body) < 2:
        raise ProtocolError("expected a peer's HELLO")
    if body[1] != WIRE_VERSION:
        version = framing.shown(body[1])
        raise ProtocolError(f"the peer speaks version {version} of the peer protocol, this node {WIRE_VERSION}")
    if [type(item) for item in body[2:]] != [str, str, int, int, int, str, tuple, int, int]:
        raise ProtocolError("malformed peer HELLO")
    hello = PeerHello(*body[2:])
    if not 0 < hello.node < 256 or not 0 < hello.incarnation < 2**24:
        raise ProtocolError("a peer HELLO with an impossible node id or incarnation")
    if max(len(hello.mode), len(hello.storage_uuid)) > _NAME_CHARACTERS:
        raise ProtocolError("a peer HELLO with an impossible mode or storage")
    if not _INTEGERS.issuperset(map(type, hello.nodes)) or not all([0 < node < 256 for node in hello.nodes]):
        raise ProtocolError("a peer HELLO with impossible node ids")
    return hello


def pack_frames(header: Header, encoded: Sequence[bytes], frame_bytes_max: int) -> list[bytes]:
    """Frames of these messages, as few as the limit on their length allows, in order."""
    frames = []
    part: list[bytes] = []
    size = 128
    for message in encoded:
        if part and size + len(message) > frame_bytes_max:
            frames.append(framing.pack((FRAME, *header, *part)))
            part, size = [], 128
        part.append(message)
        size += len(message) + 5
    frames.append(framing.pack((FRAME, *header, *part)))
    return frames


def parse_frame(body: tuple[Any, ...]) -> tuple[Header, tuple[bytes, ...]]:
    """A frame's header and its messages, still encoded."""
    if body[0] == GOODBYE and len(body) == 2 and type(body[1]) is str:
        raise ProtocolError(f"the peer refused: {body[1][:_REASON_CHARACTERS]}")
    fields = body[1:6]
    if len(body) < 6 or body[0] != FRAME or tuple(map(type, fields)) != _HEADER:
        raise ProtocolError("malformed frame from a peer")
    encoded = body[6:]
    if not _BYTES.issuperset(map(type, encoded)):
        raise ProtocolError("malformed frame from a peer")
    return Header(*fields), encoded
