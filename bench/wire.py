"""What packing and parsing cost: `python bench/wire.py [--json] [--quick]`.

Client frames of requests and answers, and a Proposals message of the leaderless engine, by the number of operations in
one. Not measured: sockets.
"""

import argparse
import functools
import json
import time
from collections.abc import Callable
from typing import Any

from paxoskv.core import operations
from paxoskv.paxos import register
from paxoskv.paxos.messages import Proposals
from paxoskv.wire import client, framing, paxos

BATCHES = (1, 16, 64, 256, 1000)
VALUE_BYTES = (64, 4096)
SECONDS = 0.1
ROUNDS = 3


def best(action: Callable[[], object], quick: bool) -> float:
    """Seconds for one call: the least of some rounds, which noise can only add to."""
    calls = 1
    while True:
        began = time.perf_counter()
        for _ in range(calls):
            action()
        elapsed = time.perf_counter() - began
        if quick or elapsed > SECONDS / 10:
            break
        calls *= 2
    if quick:
        return elapsed / calls
    calls = max(1, int(calls * SECONDS / elapsed))
    least = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(calls):
            action()
        least = min(least, (time.perf_counter() - began) / calls)
    return least


def proposals(batch: int, value_bytes: int) -> Proposals:
    made = register.Register()
    made.value = bytes(value_bytes)
    made.modified = 1 << 40
    made.lineage = {1: (1 << 40, 1 << 40)}
    encoded = register.encode(made)
    keys = tuple(b"key%06d" % number for number in range(batch))
    return Proposals(1, (), (), (), keys, tuple(range(1, batch + 1)), (encoded,) * batch)


def run(quick: bool) -> dict[str, dict[str, float]]:
    """Microseconds for one operation, by what is done and the number of operations in a frame."""
    found: dict[str, dict[str, float]] = {}

    def note(name: str, batch: int, action: Callable[..., object], *arguments: object) -> None:
        seconds = best(functools.partial(action, *arguments), quick)
        found.setdefault(name, {})[str(batch)] = round(seconds * 1e6 / batch, 2)

    for size in VALUE_BYTES:
        for batch in BATCHES:
            requests = [(i, operations.PUT, b"key%06d" % i, bytes(size), None, 5000) for i in range(batch)]
            frame = client.pack_requests(requests)
            note(f"pack requests, {size} bytes", batch, client.pack_requests, requests)
            note(f"parse requests, {size} bytes", batch, parse_requests, frame)
            message = proposals(batch, size)
            encoded = paxos.encode(message)
            note(f"pack Proposals, {size} bytes", batch, pack_anew, message)
            note(f"parse Proposals, {size} bytes", batch, paxos.decode, encoded)
    for batch in BATCHES:
        answers = [(i, operations.OK, None, 1 << 40) for i in range(batch)]
        note("pack answers", batch, client.pack_answers, answers)
    return found


def parse_requests(frame: bytes) -> None:
    for body in framing.FrameBuffer(64 << 20).feed(frame):
        for request in framing.unpack(body)[1]:
            client.check_request(request)


def pack_anew(message: Proposals) -> bytes:
    message.encoded = b""
    return paxos.encode(message)


def show(found: dict[str, Any]) -> None:
    print(f"{'us for an operation':36}" + "".join(f"{batch:>8}" for batch in BATCHES))
    for name, row in found.items():
        print(f"{name:36}" + "".join(f"{row[str(batch)]:8.2f}" for batch in BATCHES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="one call each")
    arguments = parser.parse_args()
    found = run(arguments.quick)
    print(json.dumps(found)) if arguments.json else show(found)


if __name__ == "__main__":
    main()
