"""What one turn proposes, while it is put together (`Outbox`) and while it is on its way (`Batch`)."""

from itertools import compress
from typing import Final

from paxoskv.core.placement import ReplicaSet
from paxoskv.paxos.chain import PREPARING, Chain, Flight
from paxoskv.paxos.messages import Proposals

# How a batch and the own acceptor go together.
AT_ONCE: Final = 0  # it votes while the batch is on its way to the others
UNREAD: Final = 1  # its vote waits until the own disk has brought the last of the batch's records
OWN_FIRST: Final = 2  # the others get the batch when its vote is on disk


class Outbox:
    """What this turn proposes to one set of replicas."""

    __slots__ = (
        "bytes",
        "flights",
        "group",
        "keys",
        "kind",
        "known",
        "prepare_ballots",
        "prepare_keys",
        "preparing",
        "registers",
        "versions",
    )

    def __init__(self, group: ReplicaSet, kind: int) -> None:
        self.group = group
        self.kind = kind
        self.preparing: list[Chain] = []
        self.prepare_keys: list[bytes] = []
        self.prepare_ballots: list[int] = []
        self.known: list[int] = []
        self.flights: list[Flight] = []
        self.keys: list[bytes] = []
        self.versions: list[int] = []
        self.registers: list[bytes] = []
        self.bytes = 0

    def drop_stale(self) -> None:
        """Leave out Prepares of chains that have moved on within the turn.

        A batch names each key once, since refusals go by the key.
        """
        current = [
            chain.ballot == ballot and chain.phase == PREPARING
            for chain, ballot in zip(self.preparing, self.prepare_ballots, strict=True)
        ]
        if not all(current):
            self.preparing = list(compress(self.preparing, current))
            self.prepare_keys = list(compress(self.prepare_keys, current))
            self.prepare_ballots = list(compress(self.prepare_ballots, current))
            self.known = list(compress(self.known, current))


class Batch:
    """One turn's proposals, on their way."""

    __slots__ = (
        "_flights_by_key",
        "_preparing_by_key",
        "acks",
        "acks_count",
        "attempt",
        "flights",
        "group",
        "number",
        "preparing",
        "sent_at",
        "unsent",
        "wake",
    )

    def __init__(self, number: int, outbox: Outbox, now: float, wake: float) -> None:
        self.number = number
        self.group = outbox.group
        self.flights = outbox.flights
        self.preparing = list(zip(outbox.preparing, outbox.prepare_ballots, strict=True))
        self.sent_at = now
        self.unsent: Proposals | None = None
        """What the others get when the own vote is on disk."""
        self.wake = wake
        self.attempt = 0
        self.acks = 0
        """Bits by node: who has accepted and stored all its Accepts (for exceptions the chain is lost anyhow)."""
        self.acks_count = 0
        self._flights_by_key: dict[bytes, Flight] | None = None
        self._preparing_by_key: dict[bytes, tuple[Chain, int]] | None = None

    def flight(self, key: bytes) -> Flight | None:
        """The one that carries a step of this key. Where one is refused, many mostly are: looked for each time, they
        would cost the square of a batch."""
        if self._flights_by_key is None:
            self._flights_by_key = {flight.key: flight for flight in self.flights}
        return self._flights_by_key.get(key)

    def prepared(self, key: bytes) -> tuple[Chain, int] | None:
        """The chain that asked for promises on this key, and the ballot."""
        if self._preparing_by_key is None:
            self._preparing_by_key = {asked[0].key: asked for asked in self.preparing}
        return self._preparing_by_key.get(key)
