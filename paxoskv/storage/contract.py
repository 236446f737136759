"""What a driver asks of a disk.

Three things are kept, and none of them means anything to the storage: a **journal** of opaque rows, appended
in order by group commit and replayed at the start; **records**, one blob a key, written by checkpoints in
slices; and the node's **identity** with its incarnation.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose disk this is. A file with another identity is refused."""

    cluster: str
    node: int
    mode: str
    nodes: tuple[int, ...]
    """All nodes of the cluster, ascending. It keeps them: two majorities, each of other nodes, need not meet."""


class Storage(Protocol):
    """One node's disk. All calls are made on the event loop's thread, all callbacks come there.

    A failed commit, or a failed fsync in any place, is reported once to `on_failed`, after which nothing is
    ever committed again: the driver ends the process (D2). A full disk is no failed commit: nothing was
    written, the rows stay queued and are tried again until there is room; meanwhile `disk_full` is true.
    """

    identity: Identity
    uuid: str
    """Drawn when the file was created; tells a disk from its successor under the same node id."""
    incarnation: int
    """Durably one more at every open, 1 at the first."""
    on_committed: Callable[[int], None]
    """Called after each commit with the highest sequence that is on disk, ascending. Nobody listens at first."""
    on_failed: Callable[[BaseException], None]
    """Called once, from the loop itself. At first it raises, so that a failure is at least logged."""
    disk_full: bool
    journal_bytes: int
    """Size of all rows that are journaled and not yet trimmed."""
    record_count: int
    """How many keys have a record on disk."""
    peers: Mapping[int, str]
    """The uuid of every peer's storage, as far as remembered."""

    @property
    def changing_s(self) -> float:
        """For so long the change that is on its way to the disk has been, 0.0 when none is."""
        ...

    def append(self, sequence: int, row: bytes) -> None:
        """Queue a row; sequences ascend. While one commit is on its way, rows gather for the next; each is one fsync.

        After a failure the row is dropped without a word: the driver has been told. After `close` StorageError.
        """

    async def replay(self) -> AsyncIterator[list[bytes]]:
        """All rows, oldest first, in handy chunks, exactly as appended. Before the first `append` only."""
        yield []

    async def load(self, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """The records of `keys`, None for those that have none. Not delayed by commits.

        Raises StorageError when the file is found damaged.
        """
        ...

    async def scan(
        self, start: bytes, end: bytes | None, floor: bytes, limit: int | None = None
    ) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """Records whose bytes compare at least as high as `floor`, in the order of their keys, from `start` on and
        before `end` (None: to the last one); never that of the empty key.

        Answers some 256 KiB of them, or one, or none if a good many in a row are lower, having looked at no more than
        `limit`, which is 1 or above; and the last key that was looked at, None at the end. Not delayed by commits.
        Raises StorageError when the file is found damaged.
        """
        ...

    async def fold(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Write one slice of records, durably, in place of the former ones, between two group commits.

        This, `trim` and `remember_peer` wait while the disk is full or hangs; StorageError once it has failed
        or is closing.
        """

    def boundary(self) -> int:
        """The newest committed journal row. Everything appended later, or not yet committed, is beyond it."""
        ...

    async def trim(self, boundary: int) -> None:
        """Forget the journal up to `boundary`, a former result of `boundary()`, in slices between group commits."""

    async def remember_peer(self, node: int, uuid: str) -> None:
        """Durably note whose storage was first seen under a node id."""

    def stall(self, stalled: bool) -> None:
        """Fault injection: what begins from now on hangs, until told otherwise."""

    def status(self) -> dict[str, Any]:
        """JSON-compatible: journal_rows, journal_bytes, commits, commit_p50_ms, commit_p99_ms, batch sizes."""
        ...

    async def close(self) -> None:
        """Commit what is queued, then close. Waiting for a hung or full disk is the caller's to bound, by cancelling.

        After a failure nothing is touched: files and lock stay as they are until the process ends.
        """
