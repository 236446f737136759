"""What the parts of one log engine share."""

import random
from dataclasses import dataclass

from paxoskv.core.context import EngineContext
from paxoskv.core.limits import Capacity
from paxoskv.raft.messages import Message


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. But for leases, which are off by default, only liveness depends on them."""

    heartbeat_s: float = 0.050
    election_s: float = 0.400
    """A follower that hears nothing for this long, up to twice as long, stands for election; a leader that hears
    nothing from a majority for this long steps down; who heard from a leader within it grants no vote (9.6, 4.2.3)."""
    resend_s: float = 0.500
    """How long a forwarded batch, a read request or a part of a snapshot waits for its answer before it goes again."""
    disk_patience_s: float = 1.000
    """A leader whose own disk has taken nothing for so long hands over."""
    clock_drift: float = 0.1
    """Leases alone (6.4.1): the most by which clocks of two nodes differ in speed, relative."""


@dataclass(frozen=True, slots=True)
class Flow:
    """How much goes into one message, and how much is on its way at a time. Small ones make many messages of little."""

    append_bytes: int = 512 * 1024
    """Of entries in one Append, though never less than one entry."""
    window_bytes: int = 2 * 1024 * 1024
    """Of entries on their way to one follower."""
    window_messages: int = 128
    chunk_bytes: int = 256 * 1024
    """Of records in one part of a snapshot, though never less than one record."""
    window_chunks: int = 2


class Context(EngineContext[Message]):
    """One engine's surroundings, and since when it has been looking at them."""

    def __init__(
        self, node: int, nodes: tuple[int, ...], rng: random.Random, timing: Timing, flow: Flow, capacity: Capacity
    ) -> None:
        super().__init__(node, rng, capacity)
        self.peers = tuple(sorted(set(nodes) - {node}))
        self.quorum = len(nodes) // 2 + 1
        self.timing = timing
        self.flow = flow
        self.now = float("-inf")
        self.began_at = float("-inf")
        """When this process came to be."""
        self.resumed_at = float("-inf")
        """When this process last came to after a pause; what it did not hear before that proves nothing."""

    def advance(self, now: float) -> None:
        """Set the time."""
        if self.began_at == float("-inf"):
            self.began_at = now
        # Ticks come with every heartbeat at the least.
        if now - self.now > 4 * self.timing.heartbeat_s:
            self.resumed_at = now
        self.now = now
