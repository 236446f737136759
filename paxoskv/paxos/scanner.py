"""Scans: keys in order, from a quorum of acceptors, repaired as they are met.

Every replica is asked for its keys in a range and the versions that it has accepted of them, as far as a page goes.
What a quorum reports at the same version is chosen, and answered from the own acceptor's page. All else is read as any
key is, which finishes what it finds unfinished, and has what has expired made absent (protocol.md sections 4 and 8). A
key that was chosen before the scan began is in some page of every quorum.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from paxoskv.core import errors
from paxoskv.core.operations import Operation, Result
from paxoskv.core.scan import Assembly, LocalPages, ScanOperation
from paxoskv.paxos import register as registers
from paxoskv.paxos.acceptor import Acceptor
from paxoskv.paxos.context import Context
from paxoskv.paxos.messages import Page, Pages
from paxoskv.paxos.records import Record


class _Scan:
    """One page that a client waits for."""

    __slots__ = ("answers", "attempt", "began", "number", "operation", "others_at", "own", "wake")

    def __init__(self, number: int, operation: ScanOperation, began: float) -> None:
        self.number = number
        self.operation = operation
        self.began = began
        self.answers: dict[int, tuple[dict[bytes, int], bytes | None]] = {}
        """By node: versions, and the key to go on from."""
        self.own: Mapping[bytes, bytes] = {}
        """The own acceptor's registers."""
        self.others_at: float | None = None
        """When a quorum of others had answered, if the own acceptor had not by then."""
        self.wake = 0.0
        self.attempt = 0


class Scanner:
    """All scans of this node, and its share in others'."""

    def __init__(
        self, context: Context, acceptor: Acceptor, pages: LocalPages, get: Callable[[Operation], None]
    ) -> None:
        """`get` takes a get whose answer the scan waits for."""
        self._context = context
        self._acceptor = acceptor
        self._pages = pages
        self._get = get
        self._scans: dict[int, _Scan] = {}
        self._restarts: dict[int, int] = {}
        self.counters = dict.fromkeys(("scan_pages", "scan_reads", "scan_keys"), 0)

    def submit(self, operation: ScanOperation) -> None:
        """Take a scan."""
        context = self._context
        scan = _Scan(context.next_batch(), operation, context.now)
        self._scans[scan.number] = scan
        self.counters["scan_pages"] += 1
        self._ask(scan)

    def _ask(self, scan: _Scan) -> None:
        context = self._context
        operation = scan.operation
        group = context.placement.replicas(operation.key)
        scan.wake = context.now + context.patience(context.timing.resend_s, scan.attempt)
        scan.attempt += 1
        for node in group.nodes:
            if node in scan.answers:
                continue
            if node != context.node:
                context.send(node, Pages(scan.number, operation.key, operation.end, operation.limit))
            elif scan.attempt == 1:
                self._read(operation.key, operation.end, operation.limit, lambda *page: self._own(scan, *page))

    def _read(
        self,
        start: bytes,
        end: bytes | None,
        limit: int | None,
        then: Callable[[dict[bytes, int], dict[bytes, bytes], bytes | None], None],
    ) -> None:
        """Have `then` called with versions and registers of the own acceptor, and the key to go on from."""

        def found(keys: Sequence[bytes], blobs: Mapping[bytes, bytes], following: bytes | None) -> None:
            resident = self._acceptor.records.resident
            versions: dict[bytes, int] = {}
            own: dict[bytes, bytes] = {}
            size = 0
            page_bytes = self._context.capacity.page_bytes
            for key in keys:
                if size > page_bytes:
                    following = key
                    break
                if key in resident:
                    [version], [register] = self._acceptor.read([key], use=False)
                elif key in blobs:
                    record = Record.from_blob(key, blobs[key])
                    version, register = record.accepted, record.register
                else:
                    # It has left memory since storage was asked: 0 makes it be read like any key.
                    version, register = 0, registers.EMPTY
                versions[key] = version
                own[key] = register
                size += len(key) + len(register) + 16
            then(versions, own, following)

        self._pages.page(start, end, found, self._context.now, limit)

    def on_pages(self, sender: int, message: Pages) -> None:
        """Another node scans."""

        generation = self._restarts.get(sender, 0)

        def found(versions: dict[bytes, int], own: dict[bytes, bytes], following: bytes | None) -> None:
            if self._restarts.get(sender, 0) != generation:
                # Its successor may have another scan of this number, which this page is older than (B9).
                return
            self._context.send(
                sender,
                Page(message.number, message.start, tuple(versions), tuple(versions.values()), following),
            )

        self._read(message.start, message.end, message.limit, found)

    def peer_restarted(self, peer: int) -> None:
        """What its former incarnation asked is nobody's any more."""
        self._restarts[peer] = self._restarts.get(peer, 0) + 1

    def on_page(self, sender: int, message: Page) -> None:
        """A replica's page."""
        scan = self._scans.get(message.number)
        if scan is not None and scan.operation.key == message.start:
            scan.answers[sender] = (dict(zip(message.keys, message.versions, strict=True)), message.following)
            self._proceed(scan)

    def _own(self, scan: _Scan, versions: dict[bytes, int], own: dict[bytes, bytes], following: bytes | None) -> None:
        if scan.number in self._scans:
            scan.own = own
            scan.answers[self._context.node] = (versions, following)
            self._proceed(scan)

    def _proceed(self, scan: _Scan) -> None:
        context = self._context
        operation = scan.operation
        group = context.placement.replicas(operation.key)
        if len(scan.answers) < group.quorum:
            return
        if context.node in group.nodes and context.node not in scan.answers:
            # The values are there. Without them each is fetched, so who is late for having much to do would get more of
            # it, and stay late: only a disk that hangs takes longer than it took the others, and as long again.
            if scan.others_at is None:
                scan.others_at = context.now
            took = scan.others_at - scan.began
            if context.now < scan.others_at + max(took, context.patience(context.timing.load_patience_s)):
                return
        del self._scans[scan.number]
        ends = [following for _, following in scan.answers.values() if following is not None]
        following = min(ends, default=None)
        pages = [versions for versions, _ in scan.answers.values()]
        keys = sorted({key for page in pages for key in page if following is None or key < following})
        if operation.limit is not None and len(keys) > operation.limit:
            # Each page has as many, and not all of them the same.
            following = keys[operation.limit]
            del keys[operation.limit :]
        found: list[tuple[bytes, tuple[bytes | None, int, int] | None]] = []
        for key in keys:
            version = pages[0].get(key, 0)
            register = scan.own.get(key)
            known = None
            if version and register is not None and all([page.get(key, 0) == version for page in pages]):
                known = registers.user_view(register)
                if known[0] is None:
                    continue
                if 0 != known[2] <= context.wall_ms:
                    known = None
            if known is None:
                self.counters["scan_reads"] += 1
            found.append((key, known))
        self.counters["scan_keys"] += len(found)
        Assembly(operation, found, following, context.capacity.page_bytes, self._get, context.answer).advance()

    def tick(self) -> None:
        """Ask again who did not answer, and give up what is past its deadline."""
        now = self._context.now
        for scan in list(self._scans.values()):
            if scan.operation.deadline <= now:
                del self._scans[scan.number]
                self._context.answer(scan.operation, _UNAVAILABLE)
                continue
            self._proceed(scan)
            if scan.number in self._scans and scan.wake <= now:
                self._ask(scan)

    @property
    def waiting(self) -> bool:
        """Somebody waits for a page."""
        return bool(self._scans)

    def status(self) -> dict[str, Any]:
        """Counters."""
        return dict(self.counters)


_UNAVAILABLE = Result(
    errors.Unavailable.status, b"no majority of the replicas answered this scan in time; try again", 0
)
