"""The contract between an engine, which decides, and its driver, which does."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, TypeVar

from paxoskv.core.operations import Operation, Result

if TYPE_CHECKING:
    from paxoskv.core.scan import ScanOperation

MODE_NAMES: Final = ("paxos", "raft")
"""What the engines are called, in files, on the wire and in commands."""

MessageT = TypeVar("MessageT")


class Scan(NamedTuple):
    """Which records are wanted: the next ones in the order of their keys."""

    start: bytes
    """Of keys from this one on, and not the empty one."""
    end: bytes | None
    """Of keys before this one; None: all."""
    floor: bytes
    """Only records whose bytes compare at least as high as these."""
    number: int
    """Which `scanned` repeats."""
    limit: int | None = None
    """No more than so many are of use; None: as many as storage likes."""


class Effects(Generic[MessageT]):
    """What the driver has to do after a turn. Lists, in order; empty ones mean nothing to do."""

    __slots__ = ("answers", "journal", "loads", "scans", "sends", "sequence")

    def __init__(self) -> None:
        self.sequence = 0
        """Number of this turn's journal entries, ascending; 0 when there are none."""
        self.journal: list[MessageT] = []
        """Messages to append to the journal as one unit, whose commit `committed(sequence)` reports."""
        self.sends: dict[int, list[MessageT]] = {}
        """Messages by peer, to be sent at once."""
        self.answers: list[tuple[Operation, Result]] = []
        self.loads: list[bytes] = []
        """Keys whose records are wanted from storage; `loaded` brings them."""
        self.scans: list[Scan] = []
        """Some records wanted from storage, whatever their keys; `scanned` brings them."""


class Engine(Protocol[MessageT]):
    """A replica with no hands: no clock, randomness, socket, file or thread.

    What the driver owes:

    - It makes every call from one thread, and `take_effects` once after each turn's calls.
    - It appends `effects.journal` in the order of the turns and calls `committed(n)` only when everything
      up to turn n is on disk. The engine itself holds back whatever reveals state that is not (D1).
    - It sends `effects.sends` in order, or loses them; it never delivers to the engine what was addressed
      to an earlier incarnation of it (the wire's header says which one).
    - It calls `tick` at `deadline()`, or later.
    - Every key in `effects.loads` is answered by `loaded` with the last record folded for that key (None:
      there is none), or never while the disk hangs.
    - Every one of `effects.scans` is answered by `scanned`, or never while the disk hangs.
    - `now` never decreases; its zero is arbitrary.
    - It says what its wall clock shows at the beginning of each turn. That clock may be wrong, and jump either way:
      values expire too early or too late then, and nothing else goes wrong.

    At the start, before anything else, it feeds the journal to `recover`, oldest row first, and first of all an empty
    one, since records can be all there is. Then it ends a turn, from which it learns the first deadline.
    """

    def submit(self, operations: Iterable[Operation], now: float) -> None:
        """Take operations of clients. Each is answered exactly once, in some turn's `answers`."""

    def receive(self, sender: int, messages: Sequence[MessageT], now: float) -> None:
        """Take one peer's messages, in the order it sent them."""

    def wall(self, milliseconds: int) -> None:
        """The wall clock shows so many milliseconds since the epoch."""

    def committed(self, sequence: int, now: float) -> None:
        """Everything journaled up to and including that turn is on disk."""

    def loaded(self, records: Mapping[bytes, bytes | None], now: float) -> None:
        """Records that `effects.loads` asked for."""

    def scanned(self, number: int, records: Sequence[tuple[bytes, bytes]], after: bytes | None, now: float) -> None:
        """Records that `effects.scans` asked for, and the last key that was looked at; None when there are no more."""

    def scan(self, operation: "ScanOperation", now: float) -> None:
        """Take a scan of a client. It is answered exactly once, as what `submit` takes is."""

    def tick(self, now: float) -> None:
        """Time has passed."""

    def deadline(self) -> float | None:
        """When the next `tick` is wanted, None for not before something happens."""

    def take_effects(self) -> Effects[MessageT]:
        """End the turn: everything it decided. Resets the list."""

    def peer_up(self, peer: int, incarnation: int, now: float) -> None:
        """A peer can be reached, under that incarnation: what waits for a former one is moot."""

    def peer_lost(self, peer: int, now: float) -> None:
        """The connection to a peer broke: whatever was on its way may be lost. A hint, never a promise."""

    def recover(self, journal: Sequence[MessageT]) -> list[bytes]:
        """Replay journal entries, or answer the keys that have to be `loaded` before that can be done."""

    def retire(self, now: float) -> None:
        """The process is about to stop: hand over what the others would otherwise miss."""

    @property
    def retired(self) -> bool:
        """After `retire`: there is nothing, or no more, to hand over."""

    def command(self, name: str, argument: Any, now: float) -> str:
        """An operator's wish that only this engine knows; answers why it is not granted, or nothing."""

    @property
    def writes_to(self) -> int:
        """The node that takes writes with the least detour, 0 when it makes no difference or is not known. A hint."""

    def begin_checkpoint(self) -> int:
        """Fix the set of records that differ from storage; answer how many there are."""

    def order_checkpoint(self) -> bool:
        """Bring some of that set into the order of its keys; False when there is no more to order.

        A driver that must not be held up calls it until then, with other work between. `checkpoint_slice` would do
        it all at once.
        """

    def checkpoint_slice(self, limit: int) -> list[tuple[bytes, bytes]]:
        """The next records of that set, encoded for storage; empty when the set is done."""

    def folded(self, keys: Sequence[bytes]) -> None:
        """A slice is on disk. Memory is relieved of it at the end of the turn, no earlier: what was loaded before is
        still looked for there."""

    @property
    def wants_checkpoint(self) -> bool:
        """Memory would be relieved by one."""

    def status(self) -> dict[str, Any]:
        """Counters and gauges for people, JSON-compatible."""
