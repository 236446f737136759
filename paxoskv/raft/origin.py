"""What this node's clients ask, from its arrival until its answer, whoever leads meanwhile.

Mutations of one turn become a batch with a number, and from then on are exposed: the batch goes to the leader, which
may be this node, and goes again, as it is, to every later one, until this node applies the entry that holds it. That
entry exists at most once (E1), and applying it gives the results; nobody relays answers. What was never put into a
batch certainly did not happen.

Reads of one turn become a request to the leader, which answers with an index. Once the log is applied up to there, the
records here may answer them (dissertation, section 6.4). Nothing is exposed by a read, so it is simply asked again.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from paxoskv.core import errors, operations
from paxoskv.core.operations import Operation, Result
from paxoskv.core.scan import ScanOperation
from paxoskv.raft.context import Context
from paxoskv.raft.entry import Batch
from paxoskv.raft.machine import PASSED, Session, StateMachine
from paxoskv.raft.messages import Forward
from paxoskv.raft.records import Record

BATCH_BYTES_MAX: Final = 256 * 1024
_REQUEST_BITS: Final = 39
# Batches on their way, past which operations wait and make the next one larger.
PENDING_MAX: Final = 32
PENDING_BYTES_MAX: Final = 4 * 1024 * 1024
REQUESTS_MAX: Final = 4
_FORWARD_BYTES_MAX: Final = 512 * 1024
_REWIND_S: Final = 0.010


class Pending:
    """A batch that is not known to be applied, and who waits for it."""

    __slots__ = ("batch", "operations", "sent_at")

    def __init__(self, batch: Batch, operations_: list[Operation]) -> None:
        self.batch = batch
        self.operations = operations_
        self.sent_at = 0.0


class Request:
    """Reads that wait for an index."""

    __slots__ = ("operations", "sent_at")

    def __init__(self, operations_: list[Operation], sent_at: float) -> None:
        self.operations = operations_
        self.sent_at = sent_at


class Origin:
    """All operations of this node's clients."""

    def __init__(
        self, context: Context, machine: StateMachine, incarnation: int, load: Callable[[bytes], None]
    ) -> None:
        """`load` asks storage for a key's record."""
        self._context = context
        self._machine = machine
        self.incarnation = incarnation
        self._load = load
        self._waiting: list[Operation] = []
        self._number = 0
        """Of the last batch."""
        self._pending: deque[Pending] = deque()
        self._pending_bytes = 0
        self._next = 1
        """Number of the first batch that the present leader was not sent."""
        self._rewound_at = float("-inf")
        self._reads: list[Operation] = []
        # Not from 1 on in each incarnation: a leader may have an answer to the former one's on its way.
        self._request_number = incarnation << _REQUEST_BITS
        self._requests: dict[int, Request] = {}
        self._ready: deque[tuple[int, list[Operation]]] = deque()
        """Reads with the index that they wait for, ascending."""
        self._parked: dict[bytes, list[Operation]] = {}
        """Reads whose record is being loaded."""
        self._earliest = float("inf")
        """No deadline comes before it."""
        self.on_scan: Callable[[ScanOperation], None] = _unheard
        """Takes scans for which enough is applied."""
        self.settling = False
        """In this turn reads were found that go to the log, since what they read has expired."""
        self.counters = dict.fromkeys(
            (
                "batches",
                "batched_operations",
                "relays_sent",
                "resends",
                "timeouts",
                "unknown_outcomes",
                "expired_reads",
                "refused_while_behind",
            ),
            0,
        )

    def submit(self, operation: Operation) -> None:
        """Take an operation."""
        if operation.deadline < self._earliest:
            self._earliest = operation.deadline
        if operation.kind == operations.GET:
            self._reads.append(operation)
        else:
            self._waiting.append(operation)

    # Mutations.

    def batches(self, number: int) -> list[Batch]:
        """What the log of the present leader lacks, given that it lacks all from `number` on; those count as sent."""
        self._fill()
        self._next = max(self._next, number)
        if self._next > self._number:
            return []
        found = [pending for pending in self._pending if pending.batch.number >= self._next]
        for pending in found:
            pending.sent_at = self._context.now
        self._next = self._number + 1
        return [pending.batch for pending in found]

    def forward(self, leader: int, term: int) -> None:
        """Send the leader what it was not sent yet."""
        batches: list[Batch] = []
        size = 0
        for batch in self.batches(0):
            if batches and size + len(batch.encoded) > _FORWARD_BYTES_MAX:
                self._context.send(leader, Forward(term, tuple(batches)))
                batches, size = [], 0
            batches.append(batch)
            size += len(batch.encoded)
        if batches:
            self._context.send(leader, Forward(term, tuple(batches)))
            self.counters["relays_sent"] += 1

    def _fill(self) -> None:
        """Make batches of what waits."""
        waiting = self._waiting
        start, count = 0, len(waiting)
        while start < count and len(self._pending) < PENDING_MAX and self._pending_bytes < PENDING_BYTES_MAX:
            end, size = start + 1, _size(waiting[start])
            while end < count and (size := size + _size(waiting[end])) <= BATCH_BYTES_MAX:
                end += 1
            operations_ = waiting[start:end]
            start = end
            conditions: list[Any] = [operation.condition for operation in operations_]
            expiries: list[Any] = [operation.expiry for operation in operations_]
            batch = Batch(
                self._context.node,
                self.incarnation,
                self._number + 1,
                bytes([operation.kind for operation in operations_]),
                [operation.key for operation in operations_],
                [operation.argument for operation in operations_],
                conditions if any([condition is not None for condition in conditions]) else (),
                expiries if any([expiry is not None for expiry in expiries]) else (),
            )
            self._number += 1
            self._pending.append(Pending(batch, operations_))
            self._pending_bytes += len(batch.encoded)
            self.counters["batches"] += 1
            self.counters["batched_operations"] += len(operations_)
        if start:
            # The rest waits until some of these are applied.
            self._waiting = waiting[start:]

    def on_expected(self, number: int) -> None:
        """The leader lacks the batch of that number, and so has taken none after it."""
        # Every batch behind a gap is answered so; one rewind is enough for all of them.
        now = self._context.now
        if (
            self._pending
            and self._pending[0].batch.number <= number < self._next
            and now >= self._rewound_at + _REWIND_S
        ):
            self._rewound_at = now
            self._next = number
            self.counters["resends"] += 1

    def applied(self, number: int, results: Sequence[Result]) -> None:
        """The log has come to one of this node's batches."""
        pending = self._pending.popleft()
        assert pending.batch.number == number, "(E1)"
        self._pending_bytes -= len(pending.batch.encoded)
        answer = self._context.answer
        for operation, result in zip(pending.operations, results, strict=True):
            if result is PASSED:
                if operation.kind == operations.GET:
                    self._reads.append(operation)
                    continue
                self.counters["unknown_outcomes"] += 1
            answer(operation, result)

    def skipped(self, sessions: Mapping[int, Session]) -> None:
        """The records come from a snapshot, whose entries nobody will apply here."""
        session = sessions.get(self._context.node)
        if session is not None and session.incarnation == self.incarnation:
            while self._pending and self._pending[0].batch.number <= session.number:
                batch = self._pending[0].batch
                self.applied(batch.number, [PASSED] * len(batch.keys))

    def leader_changed(self) -> None:
        """Somebody else leads, or nobody, or the way there was broken: all of it goes again."""
        self._next = self._pending[0].batch.number if self._pending else self._number + 1
        for request in self._requests.values():
            self._reads += request.operations
        self._requests.clear()

    # Reads.

    def request(self, ask: Callable[[int], None]) -> None:
        """Have the leader asked for an index, under a number, for the reads that wait."""
        if not self._reads or len(self._requests) >= REQUESTS_MAX:
            return
        self._request_number += 1
        self._requests[self._request_number] = Request(self._reads, self._context.now)
        self._reads = []
        ask(self._request_number)

    def on_read_index(self, number: int, index: int) -> None:
        """The leader's answer."""
        request = self._requests.pop(number, None)
        if request is None:
            return
        if index < 0:
            self._reads += request.operations
            return
        # Leaders' indexes only grow, but their answers may overtake each other.
        if self._ready and self._ready[-1][0] > index:
            index = self._ready[-1][0]
        self._ready.append((index, request.operations))

    def answer_reads(self) -> None:
        """Answer the reads for which enough is applied."""
        ready = self._ready
        applied = self._machine.applied
        if not ready or ready[0][0] > applied:
            return
        records = self._machine.records
        resident = records.resident
        while ready and ready[0][0] <= applied:
            for operation in ready.popleft()[1]:
                if type(operation) is ScanOperation:
                    self.on_scan(operation)
                    continue
                record = resident.get(operation.key)
                if record is not None or records.complete:
                    self._answer_read(operation, record)
                elif operation.key in self._parked:
                    self._parked[operation.key].append(operation)
                else:
                    self._parked[operation.key] = [operation]
                    self._load(operation.key)

    def loaded(self, key: bytes) -> None:
        """The key's record is in memory."""
        for operation in self._parked.pop(key, ()):
            self._answer_read(operation, self._machine.records.resident[key])

    def _answer_read(self, operation: Operation, record: Record | None) -> None:
        result = self._machine.read(record)
        if 0 != result.expires_at <= self._context.wall_ms:
            # Its time has passed, by this node's clock. That it is gone, the log has to say, or another node would
            # still show it.
            self.counters["expired_reads"] += 1
            self.settling = True
            self._waiting.append(operation)
        else:
            self._context.answer(operation, result)

    def refuse(self, result: Result) -> None:
        """Send clients to other nodes, with this result; but those whose operations are in batches have to wait."""
        waiting, self._waiting = self._waiting, []
        reads, self._reads = self._reads, []
        requests, self._requests = self._requests, {}
        ready, self._ready = self._ready, deque()
        refused = [
            waiting,
            reads,
            *[request.operations for request in requests.values()],
            *[found for _, found in ready],
        ]
        for operations_ in refused:
            for operation in operations_:
                self.counters["refused_while_behind"] += not operation.done
                self._context.answer(operation, result)

    # Time.

    def tick(self) -> None:
        """Look for what has waited too long."""
        now = self._context.now
        resend_s = self._context.timing.resend_s
        if self._pending and self._pending[0].batch.number < self._next and self._pending[0].sent_at + resend_s <= now:
            self._next = self._pending[0].batch.number
            self.counters["resends"] += 1
        for number, request in list(self._requests.items()):
            if request.sent_at + resend_s <= now:
                del self._requests[number]
                self._reads += request.operations
        if self._earliest <= now:
            self._expire()

    def _expire(self) -> None:
        """Answer what is past its deadline: definite if it was in no batch, unknown otherwise."""
        now = self._context.now
        live: list[Operation] = []

        def expire(operations_: list[Operation], result: Result) -> list[Operation]:
            left = []
            for operation in operations_:
                if operation.done:
                    continue
                if operation.deadline <= now:
                    self.counters["timeouts"] += 1
                    self._context.answer(operation, result)
                else:
                    left.append(operation)
            live.extend(left)
            return left

        self._waiting = expire(self._waiting, _UNAVAILABLE)
        self._reads = expire(self._reads, _UNAVAILABLE)
        for request in self._requests.values():
            request.operations = expire(request.operations, _UNAVAILABLE)
        self._ready = deque([(index, expire(reads, _UNAVAILABLE)) for index, reads in self._ready])
        parked = {key: expire(reads, _UNAVAILABLE) for key, reads in self._parked.items()}
        self._parked = {key: reads for key, reads in parked.items() if reads}
        before = self.counters["timeouts"]
        for pending in self._pending:
            # A batch stays as it is: its results come for all of it.
            expire([o for o in pending.operations if o.kind != operations.GET], _UNKNOWN)
        self.counters["unknown_outcomes"] += self.counters["timeouts"] - before
        for pending in self._pending:
            expire([o for o in pending.operations if o.kind == operations.GET], _UNAVAILABLE)
        self._earliest = min([operation.deadline for operation in live], default=float("inf"))

    def deadline(self) -> float:
        """When the next tick is of use."""
        return self._earliest


def _unheard(operation: ScanOperation) -> None:
    raise AssertionError("nobody takes scans")


_UNKNOWN: Final = Result(
    errors.OutcomeUnknown.status,
    b"the operation may or may not have happened: it was handed to the leader, and nothing was heard of it in time",
    0,
)
BEHIND: Final = Result(
    errors.Unavailable.status,
    b"this node was away and is catching up with the others; nothing was changed, ask another node",
    0,
)
HANGING: Final = Result(
    errors.Unavailable.status, b"this node's disk hangs, or is full; nothing was changed, ask another node", 0
)
_UNAVAILABLE: Final = Result(
    errors.Unavailable.status,
    b"no leader that a majority follows could be reached in time; nothing was changed, try again",
    0,
)


def _size(operation: Operation) -> int:
    """At least as many bytes as the operation takes in a batch."""
    size = len(operation.key) + 32
    if type(operation.argument) is bytes:
        size += len(operation.argument)
    if type(operation.condition) is bytes:
        size += len(operation.condition)
    return size
