"""What clients and nodes say to each other on the client port.

Every frame is an array whose first element is its type:

- client to node: ``[HELLO, wire_version]``, ``[REQUESTS, [request, ...]]``, ``[STATUS, id]``,
  ``[FAULT, id, name, argument]``
- node to client: ``[HELLO, wire_version, cluster, node, key_bytes_max, value_bytes_max]``,
  ``[ANSWERS, [answer, ...]]``, ``[STATUS, id, json]``, ``[FAULT, id, error or ""]``, ``[GOODBYE, reason]``

A request is ``[id, kind, key, argument, condition, timeout_ms]``, an answer ``[id, status, value, version]``,
as in `core.operations`. Answers come in any order; `id` is the client's, unsigned 32-bit, unique while in
flight. GOODBYE says why the node closes the connection.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from paxoskv.core import operations
from paxoskv.core.errors import ProtocolError
from paxoskv.core.operations import Argument
from paxoskv.wire import framing

WIRE_VERSION: Final = 1

HELLO: Final = 0
REQUESTS: Final = 1
ANSWERS: Final = 2
STATUS: Final = 3
FAULT: Final = 4
GOODBYE: Final = 5

ID_MAX: Final = 2**32 - 1
TIMEOUT_MS_MAX: Final = 3_600_000

Request = tuple[int, int, bytes, Argument, Argument, int]
Answer = tuple[int, int, Argument, int]


class NodeHello(NamedTuple):
    """How a node introduces itself."""

    cluster: str
    node: int
    key_bytes_max: int
    value_bytes_max: int


def check_request(request: Any) -> Request:
    """The request itself, its shape proven. Bounds on lengths are for the node, which answers them politely."""
    if type(request) is not tuple or len(request) != 6:
        raise ProtocolError("a request is [id, kind, key, argument, condition, timeout_ms]")
    identifier, kind, key, argument, condition, timeout_ms = request
    if type(identifier) is not int or not 0 <= identifier <= ID_MAX:
        raise ProtocolError("a request's id is an unsigned 32-bit number")
    if type(kind) is not int or not 0 <= kind < len(operations.KIND_NAMES):
        raise ProtocolError(f"a request's kind is 0 to {len(operations.KIND_NAMES) - 1}")
    if type(key) is not bytes:
        raise ProtocolError("a key is binary")
    if type(timeout_ms) is not int or not 0 < timeout_ms <= TIMEOUT_MS_MAX:
        raise ProtocolError(f"a timeout is 1 to {TIMEOUT_MS_MAX} ms")
    if not operations.is_well_formed(kind, argument, condition):
        raise ProtocolError(f"wrong argument or condition for {operations.KIND_NAMES[kind]}")
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
        raise ProtocolError(f"the node speaks another version of the client protocol: {body[1:2]}")
    if len(body) != 6 or [type(item) for item in body[2:]] != [str, int, int, int]:
        raise ProtocolError("malformed HELLO")
    return NodeHello(*body[2:])


def parse_answers(body: tuple[Any, ...]) -> Iterable[Answer]:
    """The answers of an ANSWERS frame."""
    if len(body) != 2 or type(body[1]) is not tuple:
        raise ProtocolError("malformed ANSWERS")
    answers: tuple[Any, ...] = body[1]
    for answer in answers:
        if type(answer) is not tuple or len(answer) != 4 or type(answer[0]) is not int:
            raise ProtocolError("an answer is [id, status, value, version]")
        # Clients have statuses of their own below 0, for what no node can know.
        if type(answer[1]) is not int or answer[1] < 0:
            raise ProtocolError("a status is a number, 0 or above")
    return answers
