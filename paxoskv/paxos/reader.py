"""Quorum reads: one round trip, no disk. protocol.md section 4.

Replicas ship versions, not values. The value comes from the own acceptor, when its version is the one that a whole
quorum reports (it nearly always is, Accepts go to everybody); otherwise the write that was seen is finished first.
"""

from collections.abc import Callable, Sequence
from typing import Any

from paxoskv.core import errors, operations
from paxoskv.core.operations import Operation, Result
from paxoskv.core.placement import ReplicaSet
from paxoskv.paxos import ballot as ballots
from paxoskv.paxos import register as registers
from paxoskv.paxos.acceptor import Acceptor
from paxoskv.paxos.context import Context
from paxoskv.paxos.directed import Directed
from paxoskv.paxos.messages import Fetch, Fetches, Reads, Registers, Versions
from paxoskv.paxos.relays import cut

# After so many reads of one key whose unfinished write could not be finished, the key is taken instead.
_ATTEMPTS_MAX = 3
# For so many of the longest pauses it is remembered that a key was found expired.
_EXPIRED_PAUSES = 4
_NEVER = (0, True, 0.0, 0)
_BATCH_BYTES_MAX = 256 * 1024


def _fetch_size(item: Fetch) -> int:
    return 16 + len(item.key)


class _Wanted:
    """The gets of one key that share a read, and how often it was tried already."""

    __slots__ = ("attempt", "operations")

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.attempt = 0


class _Pending:
    """Keys to be read at the end of this turn, from one set of replicas."""

    __slots__ = ("bytes", "wanted")

    def __init__(self) -> None:
        self.wanted: dict[bytes, _Wanted] = {}
        self.bytes = 0


class ReadBatch:
    """One turn's reads, on their way. `answers` holds each node's versions in the order of `keys`."""

    __slots__ = (
        "answers",
        "attempt",
        "deadline",
        "group",
        "keys",
        "number",
        "own",
        "partial",
        "sent_at",
        "wake",
        "wanted",
    )

    def __init__(self, number: int, group: ReplicaSet, wanted: dict[bytes, _Wanted], now: float) -> None:
        self.number = number
        self.group = group
        self.keys = tuple(wanted)
        self.wanted = list(wanted.values())
        self.answers: dict[int, tuple[int, ...]] = {}
        self.own: list[bytes] = []
        """The own acceptor's registers, of the versions that it answered."""
        self.partial: dict[int, KeyRead | None] | None = None
        """What is left once a quorum has answered, by index: None, or the read that finishes it."""
        self.sent_at = now
        self.wake = 0.0
        self.attempt = 0
        self.deadline = min(
            [operation.deadline for entry in self.wanted for operation in entry.operations],
            default=float("inf"),
        )


class KeyRead:
    """One key whose highest version no whole quorum has reported: fetch it, finish it, answer."""

    __slots__ = (
        "asked",
        "batch",
        "done",
        "fetch",
        "holders",
        "index",
        "key",
        "reader",
        "register",
        "version",
        "wake",
    )

    def __init__(self, reader: "Reader", batch: ReadBatch, index: int) -> None:
        self.reader = reader
        self.batch = batch
        self.index = index
        self.key = batch.keys[index]
        self.version = 0
        self.register: bytes | None = None
        self.holders = 0
        """Bits by node: who has accepted `version`, or a later step of its ballot."""
        self.asked = 0
        self.fetch = 0
        self.wake = 0.0
        self.done = False

    def on_accepted(self, node: int, key: bytes) -> None:
        """One of the replicas that lacked it has the version now."""
        if not self.done and self.asked >> node & 1:
            self.holders |= 1 << node
            self.reader.proceed(self)

    def on_refused(self, node: int, key: bytes) -> None:
        """Somebody has taken the key meanwhile: read again."""
        if not self.done:
            self.reader.again(self)


class Reader:
    """All quorum reads of this node."""

    def __init__(
        self,
        context: Context,
        acceptor: Acceptor,
        directed: Directed,
        settle: Callable[[Operation], None],
        load: Callable[[Sequence[bytes]], None],
    ) -> None:
        """`settle` takes a get whose key has to be taken, since finishing what it sees keeps failing. `load` asks for
        records that are not in memory; `loaded` hears when some are."""
        self._context = context
        self._acceptor = acceptor
        self._directed = directed
        self._settle = settle
        self._load = load
        self._pending: dict[tuple[ReplicaSet, bool], _Pending] = {}
        self._batches: dict[int, ReadBatch] = {}
        self._without_own: dict[int, ReadBatch] = {}
        """Batches that the own acceptor has not answered, since its disk did not bring the records in time."""
        self._expired: dict[bytes, tuple[int, bool, float, int]] = {}
        """Keys found expired lately, the latest last: how often that was to be settled, whether the next finding shall
        be, when it was found, and at which version."""
        self._pausing: list[tuple[float, Operation]] = []
        """Reads of such keys that wait before they look again."""
        self._fetches: dict[int, KeyRead] = {}
        self._fetch_items: dict[int, list[Fetch]] = {}
        self.counters = dict.fromkeys(
            ("reads", "finished_writes", "fetches", "read_retries", "settled_reads", "expired_reads"), 0
        )

    def submit(self, operation: Operation, local: bool, attempt: int = 0) -> None:
        """Take a get. `local`: the own acceptor has the key's record in memory."""
        group = self._context.placement.replicas(operation.key)
        pending = self._pending.get((group, local))
        if pending is None:
            pending = self._pending[(group, local)] = _Pending()
        wanted = pending.wanted.get(operation.key)
        if wanted is None:
            wanted = pending.wanted[operation.key] = _Wanted()
            pending.bytes += len(operation.key) + 16
        wanted.operations.append(operation)
        wanted.attempt = max(wanted.attempt, attempt)
        if pending.bytes > _BATCH_BYTES_MAX:
            del self._pending[(group, local)]
            self._send(group, local, pending)

    @property
    def busy(self) -> bool:
        """`flush` has something to do."""
        return bool(self._pending or self._fetch_items)

    def flush(self) -> None:
        """End of the turn: one batch of reads for each set of replicas."""
        if self._pending:
            everything = self._pending
            self._pending = {}
            for (group, local), pending in everything.items():
                self._send(group, local, pending)
        if self._fetch_items:
            for node, items in self._fetch_items.items():
                for part in cut(items, _fetch_size):
                    self._context.send(node, Fetches(part))
            self._fetch_items = {}

    def _send(self, group: ReplicaSet, local: bool, pending: _Pending) -> None:
        context = self._context
        batch = ReadBatch(context.next_batch(), group, pending.wanted, context.now)
        batch.wake = context.now + context.patience(context.timing.resend_s)
        self._batches[batch.number] = batch
        self.counters["reads"] += len(batch.keys)
        message = Reads(batch.number, batch.keys)
        for node in group.nodes:
            if node != context.node:
                context.send(node, message)
        if context.node not in group.nodes:
            return
        if local:
            self._answer_own(batch)
        else:
            self._without_own[batch.number] = batch
            self._load(batch.keys)

    def _answer_own(self, batch: ReadBatch) -> None:
        versions, batch.own = self._acceptor.read(batch.keys)
        self._answered(batch, self._context.node, tuple(versions))

    def loaded(self) -> None:
        """Records have come: the own acceptor may be able to answer after all."""
        for number, batch in list(self._without_own.items()):
            if number not in self._batches:
                del self._without_own[number]
            elif self._acceptor.records.has(batch.keys):
                del self._without_own[number]
                self._answer_own(batch)

    def on_versions(self, sender: int, message: Versions) -> None:
        """One replica's versions."""
        batch = self._batches.get(message.number)
        if batch is not None and len(message.versions) == len(batch.keys) and sender not in batch.answers:
            self._answered(batch, sender, message.versions)

    def _answered(self, batch: ReadBatch, sender: int, versions: tuple[int, ...]) -> None:
        answers = batch.answers
        answers[sender] = versions
        quorum = batch.group.quorum
        if len(answers) < quorum:
            return
        own = answers.get(self._context.node)
        if batch.partial is None:
            if own is not None and all(other == own for other in answers.values()):
                del self._batches[batch.number]
                for wanted, register in zip(batch.wanted, batch.own, strict=True):
                    self._answer(wanted, register)
                return
            batch.partial = dict.fromkeys(range(len(batch.keys)))
        for index, key_read in list(batch.partial.items()):
            if key_read is not None:
                # It is being finished already, and this answer may help.
                version = versions[index]
                if version < key_read.version:
                    self.proceed(key_read)  # Who lacks it is asked to accept it.
                elif ballots.ballot_of(version) == ballots.ballot_of(key_read.version):
                    # The version itself, or a later step of its ballot, which descends from it.
                    key_read.holders |= 1 << sender
                    self.proceed(key_read)
                else:
                    self.again(key_read)
                continue
            column = [answer[index] for answer in answers.values()]
            highest = max(column)
            if highest == 0:
                del batch.partial[index]
                self._answer(batch.wanted[index], registers.EMPTY)
                continue
            key_read = KeyRead(self, batch, index)
            key_read.version = highest
            for node, answer in answers.items():
                if answer[index] == highest:
                    key_read.holders |= 1 << node
            if own is not None and own[index] == highest:
                key_read.register = batch.own[index]
            batch.partial[index] = key_read
            self.proceed(key_read)
        self._close_if_done(batch)

    def _close_if_done(self, batch: ReadBatch) -> None:
        if batch.partial is not None and not batch.partial:
            self._batches.pop(batch.number, None)

    def proceed(self, key_read: KeyRead, everybody: bool = False) -> None:
        """Take the next step with a key: answer, fetch its register, or have its write accepted by who lacks it."""
        context = self._context
        batch = key_read.batch
        group = batch.group
        if key_read.register is None:
            if not key_read.fetch:
                self._fetch(key_read)
            return
        if key_read.holders.bit_count() >= group.quorum:
            self._finish(key_read)
            self._answer(batch.wanted[key_read.index], key_read.register)
            self._close_if_done(batch)
            return
        if not key_read.asked:
            self.counters["finished_writes"] += 1
        key_read.wake = context.now + context.patience(context.timing.resend_s)
        for node in group.nodes:
            bit = 1 << node
            # Who answered with less lacks it. Who has not answered is asked only when that did not suffice.
            if not (key_read.holders | key_read.asked) & bit and (node in batch.answers or everybody):
                key_read.asked |= bit
                self._directed.accept(node, key_read.key, key_read.version, key_read.register, key_read)

    def _fetch(self, key_read: KeyRead) -> None:
        context = self._context
        holders = [node for node in key_read.batch.group.nodes if key_read.holders >> node & 1 and node != context.node]
        if not holders:
            # Only the own acceptor reported it, and its register is at hand then.
            self.again(key_read)
            return
        key_read.fetch = context.next_batch()
        key_read.wake = context.now + context.patience(context.timing.resend_s)
        self._fetches[key_read.fetch] = key_read
        self.counters["fetches"] += 1
        node = context.rng.choice(holders)
        self._fetch_items.setdefault(node, []).append(Fetch(key_read.fetch, key_read.key))

    def on_registers(self, sender: int, message: Registers) -> None:
        """One replica's registers."""
        for fetched in message.items:
            key_read = self._fetches.pop(fetched.number, None)
            if key_read is None or key_read.done:
                continue
            key_read.fetch = 0
            if fetched.version < key_read.version:
                self.again(key_read)
                continue
            if fetched.version > key_read.version:
                # It has accepted something newer meanwhile: that is what must be finished now, and it is not known
                # of anybody else.
                key_read.version = fetched.version
                key_read.holders = 1 << sender
                key_read.asked = 0
            key_read.register = fetched.register
            self.proceed(key_read)

    def again(self, key_read: KeyRead) -> None:
        """Read the key again; after a few times, take it and propose the identity."""
        self._finish(key_read)
        batch = key_read.batch
        wanted = batch.wanted[key_read.index]
        attempt = wanted.attempt + 1
        for operation in wanted.operations:
            if operation.done:
                continue
            if attempt < _ATTEMPTS_MAX:
                self.counters["read_retries"] += 1
                self.submit(operation, self._acceptor.records.has((key_read.key,)), attempt)
            else:
                self.counters["settled_reads"] += 1
                self._settle(operation)
        self._close_if_done(batch)

    def _finish(self, key_read: KeyRead) -> None:
        key_read.done = True
        self._fetches.pop(key_read.fetch, None)
        assert key_read.batch.partial is not None
        key_read.batch.partial.pop(key_read.index, None)

    def _answer(self, wanted: _Wanted, register: bytes) -> None:
        value, version, expires_at = registers.user_view(register)
        if expires_at and expires_at <= self._context.wall_ms:
            # Its time has passed, by this node's clock. That it is gone, a step has to say, or another node would
            # still show it.
            self.counters["expired_reads"] += 1
            self._settle_expired([operation for operation in wanted.operations if not operation.done], version)
            return
        result = Result(operations.OK, value, version, expires_at)
        for operation in wanted.operations:
            self._context.answer(operation, result)

    def _settle_expired(self, operations_: list[Operation], version: int) -> None:
        """Take the key, to have a step say that its value is gone; when that was in vain before, after a jittered pause
        that grows and another look, since readers at several nodes would preempt each other for ever."""
        context = self._context
        for operation in operations_:
            found = self._expired.pop(operation.key, _NEVER)
            attempt, looked, _, _ = found if found[3] == version else _NEVER
            self._expired[operation.key] = (attempt + looked, False, context.now, version)
            if looked:
                self._settle(operation)
                continue
            timing = context.timing
            ceiling = max(timing.backoff_s_min, context.round_s) * 2.0 ** min(attempt, 10)
            wake = context.now + context.rng.uniform(0, min(ceiling, timing.backoff_s_max))
            self._pausing.append((wake, operation))

    def tick(self) -> None:
        """Ask again who did not answer, and give up what is past its deadline."""
        context = self._context
        now = context.now
        if self._pausing:
            pausing, self._pausing = self._pausing, []
            for wake, operation in pausing:
                if wake > now and operation.deadline > now:
                    self._pausing.append((wake, operation))
                else:
                    attempt, _, _, version = self._expired.pop(operation.key, _NEVER)
                    self._expired[operation.key] = (attempt, True, now, version)
                    self.submit(operation, self._acceptor.records.has((operation.key,)))
        if self._expired:
            self._forget_expired(now - _EXPIRED_PAUSES * context.timing.backoff_s_max)
        self.loaded()
        for batch in list(self._batches.values()):
            if batch.deadline <= now:
                self._expire(batch)
            if batch.partial is not None:
                for key_read in list(batch.partial.values()):
                    if key_read is None or key_read.wake > now:
                        continue
                    reached = key_read.holders | key_read.asked
                    if key_read.asked and any(not reached >> node & 1 for node in batch.group.nodes):
                        self.proceed(key_read, everybody=True)
                    else:
                        self.again(key_read)
            elif batch.wake <= now:
                batch.attempt += 1
                batch.wake = now + context.patience(context.timing.resend_s, batch.attempt)
                if batch.number in self._without_own:
                    # They may have come, and been evicted before all were there.
                    self._load(batch.keys)
                for node in batch.group.nodes:
                    if node not in batch.answers and node in context.up:
                        context.send(node, Reads(batch.number, batch.keys))

    def _forget_expired(self, before: float) -> None:
        """Keys that nobody has found expired since then."""
        while self._expired:
            key, (_, _, found_at, _) = next(iter(self._expired.items()))
            if found_at >= before:
                return
            del self._expired[key]

    def peer_returned(self, peer: int) -> None:
        """Ask it again what it may never have heard."""
        for batch in self._batches.values():
            if peer not in batch.answers:
                batch.wake = self._context.now

    def _expire(self, batch: ReadBatch) -> None:
        now = self._context.now
        earliest = float("inf")
        live = False
        for wanted in batch.wanted:
            for operation in wanted.operations:
                if operation.done:
                    continue
                if operation.deadline <= now:
                    self._context.answer(
                        operation,
                        Result(
                            errors.Unavailable.status,
                            b"no majority of the key's replicas answered this read in time; try again",
                            0,
                        ),
                    )
                else:
                    earliest = min(earliest, operation.deadline)
                    live = True
        batch.deadline = earliest
        if not live:
            del self._batches[batch.number]
            for key_read in (batch.partial or {}).values():
                if key_read is not None:
                    key_read.done = True
                    self._fetches.pop(key_read.fetch, None)
            batch.partial = {}

    def deadline(self) -> float | None:
        """When the next tick is of use."""
        if self._pausing:
            return min(min([wake for wake, _ in self._pausing]), self._context.now + self._context.timing.tick_s)
        return self._context.now + self._context.timing.tick_s if self._batches else None

    def status(self) -> dict[str, Any]:
        """Counters and gauges."""
        return {**self.counters, "read_batches_in_flight": len(self._batches)}
