"""What packing and parsing cost, beside what bare msgpack takes for the same bytes.

The difference is the price of frames, of proof that bytes from anywhere are what they should be, and of messages as
objects. By the number of operations in a frame and the size of their values.

Not measured: sockets, and how a stream is cut into frames when it comes in pieces.
"""

import functools
import statistics
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgpack

from bench import measuring
from bench.measuring import BATCHES, Figures
from paxoskv.core import operations
from paxoskv.paxos import ballot, register
from paxoskv.paxos.messages import (
    Accepted,
    Message,
    Proposals,
    Reads,
    RelayedOperation,
    RelayItem,
    Relays,
    Versions,
)
from paxoskv.wire import client, framing, paxos, peer

VALUE_BYTES: Final = (64, 1024, 16_384)
ROUNDS: Final = 7
SECONDS: Final = 0.004
# What is longer, nodes and clients send in pieces.
FRAME_VALUES_BYTES_MAX: Final = 512 << 10
FRAME_BYTES_MAX: Final = 3 << 20
TIMEOUT_MS: Final = 5000

HEADER: Final = peer.Header("bench", 1, 1, 1, 1)
BALLOT: Final = ballot.make_ballot(3, 1)
VERSION: Final = BALLOT << ballot.STEP_BITS | 7


class Step(NamedTuple):
    """One way of a frame: ours, and what msgpack alone has to do for it."""

    name: str
    ours: Callable[[], object]
    bare: Callable[[], object]


def key(number: int) -> bytes:
    return b"key%08d" % number


def cut(frame: bytes) -> tuple[Any, ...]:
    """A frame's body, as it comes off a stream."""
    [body] = framing.FrameBuffer(FRAME_BYTES_MAX).feed(frame)
    return framing.unpack(body)


def parse_requests(frame: bytes) -> list[client.Request]:
    """As `server.clients` does it."""
    return [client.check_request(request) for request in cut(frame)[1]]


def parse_answers(frame: bytes) -> list[client.Answer]:
    """As `client.connection` does it."""
    return list(client.parse_answers(cut(frame)))


def pack_peer_frame(message: Message) -> bytes:
    """As `server.peers` does it, for a message that was not packed before."""
    if type(message) is Proposals:
        message.encoded = b""
    [frame] = peer.pack_frames(HEADER, [paxos.CODEC.encode(message)], FRAME_BYTES_MAX)
    return frame


def parse_peer_frame(frame: bytes) -> list[Message]:
    """As `server.peers` does it."""
    _, encoded = peer.parse_frame(cut(frame))
    return [paxos.CODEC.decode(message) for message in encoded]


def both_ways(
    name: str, message: Any, pack: Callable[[Any], bytes], parse: Callable[[bytes], object], inner: bytes = b""
) -> Iterator[Step]:
    """Packing and parsing of one frame; `inner` is the message's own bytes where the frame only wraps them."""
    frame = pack(message)
    plain = inner or frame[framing.LENGTH_BYTES :]
    unpack = functools.partial(msgpack.unpackb, plain, use_list=False)
    yield Step(f"pack {name}", functools.partial(pack, message), functools.partial(msgpack.packb, unpack()))
    yield Step(f"parse {name}", functools.partial(parse, frame), unpack)


def client_frames(batch: int, value: bytes) -> Iterator[Step]:
    size = f"{len(value)} bytes"
    puts = [(i, operations.PUT, key(i), value, None, TIMEOUT_MS) for i in range(batch)]
    yield from both_ways(f"puts, {size}", puts, client.pack_requests, parse_requests)
    got = [(i, operations.OK, value, VERSION) for i in range(batch)]
    yield from both_ways(f"answers to gets, {size}", got, client.pack_answers, parse_answers)


def peer_frame(name: str, message: Message) -> Iterator[Step]:
    return both_ways(name, message, pack_peer_frame, parse_peer_frame, paxos.CODEC.encode(message))


def peer_frames(batch: int, value: bytes) -> Iterator[Step]:
    size = f"{len(value)} bytes"
    tail = register.Register()
    tail.value = value
    tail.modified = VERSION
    tail.lineage = {1: (VERSION, VERSION)}
    keys = tuple(key(number) for number in range(batch))
    accepts = Proposals(1, (), (), (), keys, (VERSION,) * batch, (register.encode(tail),) * batch)
    yield from peer_frame(f"Proposals, {size}", accepts)
    relayed = (RelayedOperation(VERSION, BALLOT, operations.PUT, value, None),)
    yield from peer_frame(f"Relays, {size}", Relays(tuple(RelayItem(1, key, BALLOT, relayed) for key in keys)))


def frames_without_values(batch: int) -> Iterator[Step]:
    done = [(i, operations.OK, None, VERSION) for i in range(batch)]
    yield from both_ways("answers to puts", done, client.pack_answers, parse_answers)
    yield from peer_frame("Accepted", Accepted(1, ()))
    yield from peer_frame("Reads", Reads(1, tuple(key(number) for number in range(batch))))
    yield from peer_frame("Versions", Versions(1, (VERSION,) * batch, 0))


def measure(step: Step, batch: int, quick: bool) -> dict[str, float]:
    """Both in turns."""
    seconds, rounds = (0.0, 1) if quick else (SECONDS, ROUNDS)
    actions = {"ours": step.ours, "bare": step.bare}
    calls = {name: 8 if quick else measuring.calls_for(action, seconds) for name, action in actions.items()}
    samples = measuring.in_turns(
        {name: functools.partial(measuring.cpu_us, action, calls[name]) for name, action in actions.items()}, rounds
    )
    return {
        "us": statistics.median(samples["ours"]) / batch,
        "msgpack_us": statistics.median(samples["bare"]) / batch,
        "times_msgpack": measuring.median_ratio(samples["ours"], samples["bare"]),
    }


def run(quick: bool) -> Figures:
    """By frame, and by the number of operations in it."""
    figures: Figures = {}
    for batch in BATCHES:
        steps = list(frames_without_values(batch))
        for size in VALUE_BYTES:
            if batch * size <= FRAME_VALUES_BYTES_MAX:
                steps += [*client_frames(batch, bytes(size)), *peer_frames(batch, bytes(size))]
        for step in steps:
            figures.setdefault(step.name, {})[str(batch)] = measure(step, batch, quick)
    return figures


def show(figures: Figures) -> None:
    """Print the tables."""
    measuring.show(figures, "Wire: us of CPU for an operation, by operations in a frame", "us", 2)
    measuring.show(figures, "As a multiple of bare msgpack", "times_msgpack")


main = measuring.command(__doc__, run, show)

if __name__ == "__main__":
    main()
