"""Scans: once enough of the log is applied, as for any read, this node's own records in the order of their keys.

Each key is as it was at some moment after that, and so after the scan was asked for (dissertation, section 6.4). What
is not at hand, and what has expired by this node's clock, is read as any key is.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from paxoskv.core import errors
from paxoskv.core.operations import Operation, Result
from paxoskv.core.scan import Assembly, LocalPages, ScanOperation
from paxoskv.raft.context import Context
from paxoskv.raft.records import Records, parse


class Scanner:
    """The scans of this node's clients."""

    def __init__(self, context: Context, records: Records, pages: LocalPages, get: Callable[[Operation], None]) -> None:
        """`get` takes a get whose answer the scan waits for."""
        self._context = context
        self._records = records
        self._pages = pages
        self._get = get
        self._waiting: list[ScanOperation] = []
        self.counters = dict.fromkeys(("scan_pages", "scan_reads", "scan_keys"), 0)

    def take(self, operation: ScanOperation) -> None:
        """Make the page of a scan."""
        self.counters["scan_pages"] += 1
        self._waiting.append(operation)
        self._pages.page(
            operation.key,
            operation.end,
            lambda *page: self._found(operation, *page),
            self._context.now,
            operation.limit,
        )

    def _found(
        self, operation: ScanOperation, keys: Sequence[bytes], blobs: Mapping[bytes, bytes], following: bytes | None
    ) -> None:
        if operation.done:
            return
        self._waiting.remove(operation)
        resident = self._records.resident
        wall_ms = self._context.wall_ms
        found: list[tuple[bytes, tuple[bytes | None, int, int] | None]] = []
        size = 0
        page_bytes = self._context.capacity.page_bytes
        for key in keys:
            if size > page_bytes:
                following = key
                break
            record = resident.get(key)
            known: tuple[bytes | None, int, int] | None = None
            if record is not None:
                known = (record.value, record.version, record.expires_at)
            elif key in blobs:
                known = parse(blobs[key])
            if known is not None:
                if known[0] is None:
                    continue
                size += len(key) + len(known[0]) + 32
                if 0 != known[2] <= wall_ms:
                    known = None
            if known is None:
                self.counters["scan_reads"] += 1
            found.append((key, known))
        self.counters["scan_keys"] += len(found)
        Assembly(operation, found, following, page_bytes, self._get, self._context.answer).advance()

    def tick(self) -> None:
        """Give up what is past its deadline while the disk hangs."""
        for operation in [each for each in self._waiting if each.deadline <= self._context.now]:
            self._waiting.remove(operation)
            self._context.answer(operation, _UNAVAILABLE)


_UNAVAILABLE: Final = Result(
    errors.Unavailable.status, b"this node's disk did not bring the page in time; nothing was read, try again", 0
)
