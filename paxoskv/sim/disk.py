"""A disk in virtual time: it takes time, stalls, fills up, fails, and forgets what it had not yet committed."""

import random
import zlib
from collections.abc import Callable, Mapping, Sequence

from paxoskv.core.engine import Scan
from paxoskv.sim.timeline import Timeline

_CHECKSUM_BYTES = 4

_SCAN_RECORDS = 3


class Disk:
    """One node's disk, which outlives the node's processes. What `storage.contract` promises, without the waiting.

    A process that dies calls `crash`: callbacks of its time are never called then, and of the rows that were on their
    way any prefix may have arrived, the next one torn.
    """

    def __init__(self, timeline: Timeline, rng: random.Random, commit_s_min: float, commit_s_max: float) -> None:
        self.incarnation = 0
        self.records: dict[bytes, bytes] = {}
        self.journal_bytes = 0
        self.stalled = 0
        self.full = 0
        self.fail_next = False
        self.torn = 0
        """How many torn rows were found by those that started on it."""
        self.on_committed: Callable[[int], None] = lambda sequence: None
        self.on_failed: Callable[[], None] = lambda: None
        self._timeline = timeline
        self._rng = rng
        self._commit_s_min = commit_s_min
        self._commit_s_max = commit_s_max
        self._rows: list[bytes] = []
        self._trimmed = 0
        """How many rows were forgotten: the index of the first that is left."""
        self._queue: list[tuple[int, bytes]] = []
        self._committing: list[tuple[int, bytes]] = []
        self._hanging: list[Callable[[], None]] = []
        """What has reached the end of its time while the disk stalled."""
        self._life = 0

    # The journal.

    def append(self, sequence: int, row: bytes) -> None:
        """Queue a row. While one commit is on its way, rows gather for the next."""
        self._queue.append((sequence, zlib.crc32(row).to_bytes(_CHECKSUM_BYTES, "big") + row))
        self._begin_commit()

    def _begin_commit(self) -> None:
        if self._queue and not self._committing and not self.full:
            self._committing, self._queue = self._queue, []
            self._later(self._end_commit)

    def _end_commit(self) -> None:
        if self.full:
            self._queue[:0] = self._committing
            self._committing = []
            return
        if self.fail_next:
            self.fail_next = False
            self.on_failed()
            return
        rows, self._committing = self._committing, []
        for _, row in rows:
            self._rows.append(row)
            self.journal_bytes += len(row)
        self._begin_commit()
        self.on_committed(rows[-1][0])

    def replay(self) -> list[bytes]:
        """All rows, oldest first. A torn one at the end was never acknowledged; it is dropped."""
        rows = []
        for index, stored in enumerate(self._rows):
            row = stored[_CHECKSUM_BYTES:]
            if zlib.crc32(row).to_bytes(_CHECKSUM_BYTES, "big") != stored[:_CHECKSUM_BYTES]:
                assert index == len(self._rows) - 1, "only the last row can be torn"
                self._rows.pop()
                self.torn += 1
                break
            rows.append(row)
        return rows

    def boundary(self) -> int:
        """How many rows there ever were that are committed now."""
        return self._trimmed + len(self._rows)

    def trim(self, boundary: int, then: Callable[[], None]) -> None:
        """Forget the rows before a former `boundary()`."""

        def trimmed() -> None:
            count = boundary - self._trimmed
            self.journal_bytes -= sum(len(row) for row in self._rows[:count])
            del self._rows[:count]
            self._trimmed = boundary
            then()

        self._later(trimmed)

    # Records.

    def load(self, keys: Sequence[bytes], then: Callable[[Mapping[bytes, bytes | None]], None]) -> None:
        """Read records, as they are when the reading is done."""
        self._later(lambda: then({key: self.records.get(key) for key in keys}))

    def scan(self, scan: Scan, then: Callable[[int, Sequence[tuple[bytes, bytes]], bytes | None], None]) -> None:
        """Read some records in the order of their keys. They may have changed when they arrive."""

        def read() -> None:
            keys = sorted(
                key for key in self.records if key and key >= scan.start and (scan.end is None or key < scan.end)
            )
            looked = keys[: _SCAN_RECORDS if scan.limit is None else min(scan.limit, _SCAN_RECORDS)]
            found = [(key, self.records[key]) for key in looked if self.records[key] >= scan.floor]
            last = looked[-1] if len(looked) < len(keys) else None
            self._later(lambda: then(scan.number, found, last))

        self._later(read)

    def fold(self, records: Sequence[tuple[bytes, bytes]], then: Callable[[], None]) -> None:
        """Write a slice of records, all or none."""

        def folded() -> None:
            self.records.update(records)
            then()

        self._later(folded)

    # Trouble.

    def crash(self) -> int:
        """The process is gone. Everything not committed is lost, but for a random prefix of what was on its way.

        Answers the last sequence that has arrived all the same, 0 for none.
        """
        arrived = self._rng.randint(0, len(self._committing))
        for _, row in self._committing[:arrived]:
            self._rows.append(row)
            self.journal_bytes += len(row)
        last = self._committing[arrived - 1][0] if arrived else 0
        if arrived < len(self._committing) and self._rng.random() < 0.5:
            torn = self._committing[arrived][1]
            self._rows.append(torn[: self._rng.randrange(len(torn))])
        self._committing = []
        self._queue = []
        self._hanging = []
        self._life += 1
        return last

    def stall(self) -> None:
        """Nothing ends any more, until as many `resume`."""
        self.stalled += 1

    def resume(self) -> None:
        """Undo one `stall`."""
        self.stalled -= 1
        if not self.stalled:
            hanging, self._hanging = self._hanging, []
            for action in hanging:
                self._later(action)

    def fill(self) -> None:
        """No commit has room any more, until as many `make_room`. Reading works."""
        self.full += 1

    def make_room(self) -> None:
        """Undo one `fill`."""
        self.full -= 1
        self._begin_commit()

    def _later(self, action: Callable[[], None]) -> None:
        self._timeline.after(self._rng.uniform(self._commit_s_min, self._commit_s_max), self._end, self._life, action)

    def _end(self, life: int, action: Callable[[], None]) -> None:
        if life != self._life:
            return
        if self.stalled:
            self._hanging.append(action)
        else:
            action()
