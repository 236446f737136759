"""Background: replicas that missed a chosen step get it again, within bounds. protocol.md section 9."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from paxoskv.paxos.acceptor import Acceptor
from paxoskv.paxos.chain import Flight
from paxoskv.paxos.context import Context
from paxoskv.paxos.directed import Directed

_SLICE_KEYS: Final = 128
_SLICE_BYTES_MAX: Final = 256 * 1024


class Repair:
    """What each peer is known to lack. A hint that is lost or dropped costs a later reader one more round trip."""

    def __init__(
        self,
        context: Context,
        acceptor: Acceptor,
        directed: Directed,
        load: Callable[[Sequence[bytes]], None],
    ) -> None:
        """`load` asks for records that are not in memory."""
        self._context = context
        self._acceptor = acceptor
        self._directed = directed
        self._load = load
        self._behind: dict[int, dict[bytes, None]] = {}
        self._on_its_way: dict[int, int] = {}
        self._wake: dict[int, float] = {}
        self.counters = {"repaired": 0, "repairs_dropped": 0}

    def add(self, peer: int, flights: Iterable[Flight]) -> None:
        """A replica did not acknowledge these steps, all of them chosen or lost since."""
        behind = self._behind.setdefault(peer, {})
        for flight in flights:
            if len(behind) >= self._context.capacity.repairs and flight.key not in behind:
                self.counters["repairs_dropped"] += 1
            else:
                behind[flight.key] = None

    def on_accepted(self, node: int, key: bytes) -> None:
        """It has it now."""
        self.counters["repaired"] += 1
        self._on_its_way[node] = self._on_its_way.get(node, 1) - 1

    def on_refused(self, node: int, key: bytes) -> None:
        """It has promised the key to a higher ballot, whose owner will see to it."""
        self._on_its_way[node] = self._on_its_way.get(node, 1) - 1

    def peer_lost(self, peer: int) -> None:
        """Nothing comes back from there any more."""
        self._on_its_way.pop(peer, None)

    def tick(self) -> None:
        """Send each peer that is up its next slice, when the last one is done."""
        context = self._context
        for peer, behind in self._behind.items():
            if not behind or peer not in context.up:
                continue
            if self._on_its_way.get(peer, 0) > 0 and self._wake.get(peer, 0.0) > context.now:
                continue
            keys = []
            for key in behind:
                keys.append(key)
                if len(keys) >= _SLICE_KEYS:
                    break
            self._wake[peer] = context.now + context.patience(context.timing.repair_delay_s)
            self._on_its_way[peer] = 0
            size = 0
            missing = []
            for key in keys:
                if size > _SLICE_BYTES_MAX:
                    break
                if not self._acceptor.records.has((key,)):
                    missing.append(key)
                    continue
                del behind[key]
                # Only what is on the own disk, so that nothing is revealed which a crash here could undo (D1).
                [version], [register] = self._acceptor.read([key])
                if version:
                    size += len(register)
                    self._on_its_way[peer] += 1
                    self._directed.accept(peer, key, version, register, self)
            if missing:
                self._load(missing)

    def deadline(self) -> float | None:
        """When the next tick is of use."""
        for peer, behind in self._behind.items():
            if behind and peer in self._context.up:
                return self._context.now + self._context.timing.tick_s
        return None

    def status(self) -> dict[str, Any]:
        """Counters and gauges."""
        return {**self.counters, "behind": {str(peer): len(keys) for peer, keys in self._behind.items()}}
