"""What the parts of one leaderless engine share."""

import random
from dataclasses import dataclass
from typing import Final

from paxoskv.core.context import EngineContext
from paxoskv.core.limits import Capacity
from paxoskv.core.placement import Placement
from paxoskv.paxos.messages import Message

# The driver comes by at least every tick while anything is in flight.
_PAUSE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. Only liveness depends on them; every wait also grows with the rounds measured (`patience`)."""

    tick_s: float = 0.010
    """How often time-outs are looked at while anything is in flight."""
    resend_s: float = 0.100
    relay_s: float = 0.015
    load_patience_s: float = 0.030
    """How long a coordinator waits for its own disk to read a record before it goes on without."""
    backoff_s_min: float = 0.001
    backoff_s_max: float = 0.500
    hint_s: float = 0.200
    """How long after a relay was answered the next operations on the key go the same way."""
    silence_s: float = 0.020
    """A peer that was not heard of for so long is not relayed to, nor waited for."""
    own_first_s: float = 0.015
    """How long the own disk may take until a key's first Accept goes to the others."""
    own_first_lag_s: float = 0.004
    """Where it has kept anything for longer, or does so in the mean, it is not waited for."""
    own_first_pause_s: float = 1.000
    """So long after a disk was found slow in the mean it is not tried again."""
    repair_delay_s: float = 0.500
    patience_s_max: float = 1.000
    """Where the doubling of waits ends, unless rounds take longer."""


class Context(EngineContext[Message]):
    """One engine's surroundings, and what it knows of rounds."""

    def __init__(
        self,
        node: int,
        incarnation: int,
        placement: Placement,
        rng: random.Random,
        timing: Timing,
        value_bytes_max: int,
        capacity: Capacity,
    ) -> None:
        super().__init__(node, rng, capacity)
        self.placement = placement
        self.timing = timing
        self.value_bytes_max = value_bytes_max
        self.now = 0.0
        self.heard: dict[int, float] = {}
        """When each peer last said anything."""
        self.round_s = 0.0
        """Moving average of the time from sending a batch until a quorum has answered it."""
        self._resumed_at = 0.0
        self._batch_number = 0
        # 24 bits of incarnation above 40 bits of counting, so that numbers of one node never repeat (B13).
        self._operation_number = incarnation << 40

    def advance(self, now: float) -> None:
        """Set the time. A step that large means that this process did not run, so what it waited for proves nothing."""
        if now - self.now > _PAUSE_S:
            self._resumed_at = now
        self.now = now

    def next_batch(self) -> int:
        """A number for a request, unique in this incarnation."""
        self._batch_number += 1
        return self._batch_number

    def next_operation(self) -> int:
        """A number for an operation that is about to be exposed. Increases, over incarnations too."""
        self._operation_number += 1
        return self._operation_number

    def is_silent(self, peer: int) -> bool:
        """The peer cannot be reached, or has said nothing for longer than its answers ever take."""
        silence = self.now - self.heard.get(peer, float("-inf"))
        return peer not in self.up or silence > self.patience(self.timing.silence_s)

    def measured(self, sent_at: float) -> None:
        """A quorum has answered what was sent then."""
        if self.was_paused_since(sent_at):
            return
        seconds = self.now - sent_at
        self.round_s += (seconds - self.round_s) * 0.05 if self.round_s else seconds

    def was_paused_since(self, moment: float) -> bool:
        """This process did not run for a while, so a time that began then measures nothing."""
        return moment < self._resumed_at

    def patience(self, seconds: float, attempt: int = 0) -> float:
        """How long to wait for an answer: at least `seconds`, several rounds, and doubling with each attempt.

        Not for ever: what was lost while a link was bad is asked for soon after it has become good.
        """
        least = max(seconds, 4 * self.round_s)
        return min(least * 2.0 ** min(attempt, 6), max(least, self.timing.patience_s_max))
