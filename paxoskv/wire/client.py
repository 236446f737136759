"""What clients and nodes say to each other on the client port.

Every frame is an array whose first element is its type:

- client to node: ``[HELLO, wire_version]``, ``[REQUESTS, [request, ...]]``, ``[STATUS, id]``,
  ``[FAULT, id, name, argument]``, ``[SCAN, id, start, end, cursor, keys_only, timeout_ms, limit]``,
  ``[COMMAND, id, name, argument]``
- node to client: ``[HELLO, wire_version, cluster, node, key_bytes_max, value_bytes_max]``,
  ``[ANSWERS, [answer, ...]]``, ``[STATUS, id, json]``, ``[FAULT, id, error or ""]``, ``[GOODBYE, reason]``,
  ``[PAGE, id, status, reason, [[key, value, version, expires_at], ...], cursor]``, ``[COMMAND, id, error or ""]``,
  ``[WRITES_TO, address]``, ``[LEAVING]``

A request is ``[id, kind, key, argument, condition, timeout_ms]``, an answer ``[id, status, value, version]``,
as in `core.operations`. A request goes on with ``expiry, lifetime_ms`` if it has an expiry: as in `core.operations`,
or, with a lifetime, so many milliseconds from when the node takes it; the other is nil. An answer goes on with
``expires_at, left_ms`` if the key expires: the time in milliseconds since the epoch, and how long until then by the
node's clock. Answers come in any order; `id` is the client's, unsigned 32-bit, unique while in flight. WRITES_TO comes
after HELLO, and again when it changes: the client address of the node that takes writes with the least detour, "" when
that is any, or not known. GOODBYE says why the node closes the connection. LEAVING says that the node is about to stop:
the client sends nothing more, and closes the connection when it has all answers; so none is lost.

A page is made of at most `limit` keys, if that is not nil. It may have fewer, even none, and a cursor all the same:
those that were deleted count.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from paxoskv.core import operations
from paxoskv.core.errors import ProtocolError
from paxoskv.core.operations import Argument, Condition, Expiry
from paxoskv.wire import framing

WIRE_VERSION: Final = 1

HELLO: Final = 0
REQUESTS: Final = 1
ANSWERS: Final = 2
STATUS: Final = 3
FAULT: Final = 4
GOODBYE: Final = 5
SCAN: Final = 6
PAGE: Final = 7
COMMAND: Final = 8
WRITES_TO: Final = 9
LEAVING: Final = 10

ID_MAX: Final = 2**32 - 1
TIMEOUT_MS_MAX: Final = 3_600_000
LIFETIME_MS_MAX: Final = 2**62
"""Added to any clock it stays a time that an expiry can be."""

Request = (
    tuple[int, int, bytes, Argument, Condition, int]
    | tuple[int, int, bytes, Argument, Condition, int, Expiry, int | None]
)
Answer = tuple[int, int, bytes | int | None, int] | tuple[int, int, bytes | int | None, int, int, int]


class NodeHello(NamedTuple):
    """How a node introduces itself."""

    cluster: str
    node: int
    key_bytes_max: int
    value_bytes_max: int


def make_cursor(cluster: str, mode: str, start: bytes, end: bytes | None, following: bytes) -> bytes:
    """What a client hands back to have a scan of that range go on at `following`. Any node of the cluster knows it."""
    return _seal(cluster, mode, start, end, following) + following


def parse_cursor(cluster: str, mode: str, start: bytes, end: bytes | None, cursor: bytes) -> bytes:
    """Where the scan goes on. Raises ValueError, with a sentence, for what is no cursor of this scan and cluster."""
    seal, following = cursor[:_SEAL_BYTES], cursor[_SEAL_BYTES:]
    if seal != _seal(cluster, mode, start, end, following):
        raise ValueError("this is no cursor of a scan of that range in this cluster and mode; begin the scan again")
    return following


def _seal(cluster: str, mode: str, start: bytes, end: bytes | None, following: bytes) -> bytes:
    """No secret: it tells cursors from what never was one."""
    return hashlib.blake2s(framing.pack((cluster, mode, start, end, following)), digest_size=_SEAL_BYTES).digest()


_SEAL_BYTES: Final = 8
# What goes with a kind that has no condition and no expiry: most requests need no closer look.
_PLAIN_ARGUMENTS: Final = {operations.GET: type(None), operations.PUT: bytes, operations.DELETE: type(None)}


def check_request(request: Any) -> Request:
    """The request itself, its shape proven. Bounds on lengths are for the node, which answers them politely."""
    if type(request) is not tuple or len(request) not in (6, 8):
        raise ProtocolError("a request is [id, kind, key, argument, condition, timeout_ms] and maybe its expiry")
    identifier, kind, key, argument, condition, timeout_ms, *timing = request
    if type(identifier) is not int or not 0 <= identifier <= ID_MAX:
        raise ProtocolError("a request's id is an unsigned 32-bit number")
    if type(kind) is not int or not 0 <= kind < len(operations.KIND_NAMES):
        raise ProtocolError(f"a request's kind is 0 to {len(operations.KIND_NAMES) - 1}")
    if type(key) is not bytes:
        raise ProtocolError("a key is binary")
    if type(timeout_ms) is not int or not 0 < timeout_ms <= TIMEOUT_MS_MAX:
        raise ProtocolError(f"a timeout is 1 to {TIMEOUT_MS_MAX} ms")
    if condition is None and not timing and type(argument) is _PLAIN_ARGUMENTS.get(kind):
        return request
    expiry = None
    if timing:
        expiry, lifetime_ms = timing
        if lifetime_ms is not None:
            if expiry is not None or type(lifetime_ms) is not int or not 0 <= lifetime_ms <= LIFETIME_MS_MAX:
                raise ProtocolError(f"a lifetime is 0 to {LIFETIME_MS_MAX} ms, and stands for the expiry")
            expiry = operations.EXPIRY_MAX
    if not operations.is_well_formed(kind, argument, condition, expiry):
        raise ProtocolError(f"wrong argument, condition or expiry for {operations.KIND_NAMES[kind]}")
    return request


def pack_hello() -> bytes:
    """A client's first frame."""
    return framing.pack((HELLO, WIRE_VERSION))


def pack_node_hello(hello: NodeHello) -> bytes:
    """A node's answer to it."""
    return framing.pack((HELLO, WIRE_VERSION, *hello))


def pack_requests(requests: Sequence[Request]) -> bytes:
    """One frame of requests; keep it below the frame limit."""
    return framing.pack((REQUESTS, requests))


def pack_answers(answers: Sequence[Answer]) -> bytes:
    """One frame of answers; keep it below the frame limit."""
    return framing.pack((ANSWERS, answers))


def parse_node_hello(body: tuple[Any, ...]) -> NodeHello:
    """A node's HELLO. Raises ProtocolError when it speaks another version or is malformed."""
    if len(body) < 2 or body[1] != WIRE_VERSION:
        raise ProtocolError(f"the node speaks another version of the client protocol: {framing.shown(body[1:2])}")
    if len(body) != 6 or [type(item) for item in body[2:]] != [str, int, int, int]:
        raise ProtocolError("malformed HELLO")
    return NodeHello(*body[2:])


def parse_answers(body: tuple[Any, ...]) -> Iterable[Answer]:
    """The answers of an ANSWERS frame."""
    if len(body) != 2 or type(body[1]) is not tuple:
        raise ProtocolError("malformed ANSWERS")
    answers: tuple[Any, ...] = body[1]
    for answer in answers:
        if type(answer) is not tuple or len(answer) not in (4, 6) or type(answer[0]) is not int:
            raise ProtocolError("an answer is [id, status, value, version] and maybe its expiry")
        if len(answer) == 6 and (type(answer[4]) is not int or type(answer[5]) is not int):
            raise ProtocolError("when a key expires is a number")
        # Clients have statuses of their own below 0, for what no node can know.
        if type(answer[1]) is not int or answer[1] < 0:
            raise ProtocolError("a status is a number, 0 or above")
    return answers


def parse_page(body: tuple[Any, ...]) -> tuple[int, int, Any, tuple[Any, ...], bytes | None]:
    """The id, status, reason, items and cursor of a PAGE frame."""
    if len(body) != 6 or type(body[1]) is not int or type(body[2]) is not int or type(body[4]) is not tuple:
        raise ProtocolError("malformed PAGE")
    _, identifier, status, reason, items, cursor = body
    if status < 0 or not (cursor is None or type(cursor) is bytes):
        raise ProtocolError("malformed PAGE")
    if not all([type(item) is tuple and len(item) == 4 and type(item[0]) is bytes for item in items]):
        raise ProtocolError("malformed PAGE")
    return identifier, status, reason, items, cursor
