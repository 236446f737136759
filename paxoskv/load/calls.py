"""The clients of a load: who has an operation in flight, and what each does when it is answered.

A client is its own callback: no task and no future for an operation.
"""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from paxoskv.client.connection import LOST, UNSENT, Connection
from paxoskv.core import errors, operations
from paxoskv.core.errors import NotReached, PaxosKVError
from paxoskv.core.operations import Argument
from paxoskv.core.scan import PAGE_KEYS_MAX

if TYPE_CHECKING:
    from paxoskv.load.generator import Generator

_RETRY_S: Final = 0.05
# For a client that was refused. A node that refuses everything would be asked a million times a second.
_REFUSED_S: Final = 0.005


def error_class(kind: int, status: int) -> type[PaxosKVError]:
    """The error that an unsuccessful answer stands for; a read that nobody answered has changed nothing."""
    if status == UNSENT:
        return NotReached
    found = errors.OutcomeUnknown if status == LOST else errors.BY_STATUS.get(status, errors.OutcomeUnknown)
    return errors.Unavailable if kind == operations.GET and not found.definite else found


class ScanUnderWay:
    """A scan, from its first page to its last."""

    __slots__ = ("cursor", "found", "index", "length", "limit")

    def __init__(self, index: int, length: int) -> None:
        self.index = index
        """Of the key that it begins at."""
        self.length = length
        """How many keys it wants."""
        self.found = 0
        self.cursor: bytes | None = None
        self.limit = min(length, PAGE_KEYS_MAX)
        """How many keys its present page is made of at most."""


class Call:
    """An operation in flight, or the client that has one after the other; `connection` is None while there is none."""

    __slots__ = ("connection", "generator", "home", "identifier", "kind", "modifies", "scan", "sent", "target")

    def __init__(self, generator: "Generator", home: int | None) -> None:
        self.generator = generator
        self.home = home
        self.connection: Connection | None = None
        self.identifier = 0
        self.kind = operations.GET
        self.modifies: int | None = None
        """The index of the key that is read and then written, while that goes on."""
        self.scan: ScanUnderWay | None = None
        self.sent = 0.0
        self.target = 0

    def answered(self, status: int, value: Argument, version: int, *expiry: int) -> None:
        """The node's answer, or what became of it instead."""
        raise NotImplementedError

    def paged(self, status: int, reason: Any, items: tuple[Any, ...], cursor: bytes | None) -> None:
        """A page of a scan, or what became of it instead: ask for the next one, or end."""
        step = self.generator.scanned(self, status, len(items), cursor)
        if step is not None:
            self.answered(step, reason, 0)

    def expire(self) -> None:
        """Give it up, if it is still in flight."""
        connection = self.connection
        if connection is not None:
            connection.forget(self.identifier)
            if not connection.suspect and not connection.closed:
                connection.suspect = True
                connection.probe()
            self.scan = None
            self.answered(LOST, b"no answer in time", 0)


class Lane(Call):
    """One client in a closed loop. With route=any it stays with the node `target`, and goes on to the next one when
    it is refused there."""

    __slots__ = ("_last_success", "_longest_gap_s")

    def __init__(self, generator: "Generator", target: int) -> None:
        super().__init__(generator, None if generator.plan.route == "key" else target)
        self.begin(generator.clock())

    def begin(self, now: float) -> None:
        """Measure gaps from here on."""
        self._last_success = now
        self._longest_gap_s = 0.0

    def gap_s(self, now: float) -> float:
        """The longest time without a success until now."""
        return max(self._longest_gap_s, now - self._last_success)

    def send(self) -> None:
        """Send the next operation."""
        self.sent = self.generator.clock()
        if not self.generator.send(self):
            asyncio.get_running_loop().call_later(_RETRY_S, self._again)

    def _again(self) -> None:
        if not self.generator.stopping:
            self.send()

    def answered(self, status: int, value: Argument, version: int, *expiry: int) -> None:
        """Count it, and go on."""
        generator = self.generator
        if self.modifies is not None:
            step = generator.modify(self, status, version)
            if step is None:
                return
            status = step
        now = generator.clock()
        if generator.count(self, status, self.sent, now):
            gap = now - self._last_success
            if gap > self._longest_gap_s:
                self._longest_gap_s = gap
            self._last_success = now
            if not generator.stopping:
                self.send()
        elif not generator.stopping:
            refusal = errors.BY_STATUS.get(status)
            if self.home is not None and refusal is not None and refusal.retryable:
                self.home = generator.next_node(self.target)
            asyncio.get_running_loop().call_later(_REFUSED_S, self._again)


class Shot(Call):
    """One operation of an open loop, due at a moment that may have been long ago when it is sent."""

    __slots__ = ("_due",)

    def __init__(self, generator: "Generator", home: int | None, due: float) -> None:
        super().__init__(generator, home)
        self._due = due

    def answered(self, status: int, value: Argument, version: int, *expiry: int) -> None:
        """Count it."""
        if self.modifies is not None:
            step = self.generator.modify(self, status, version)
            if step is None:
                return
            status = step
        now = self.generator.clock()
        if self.generator.count(self, status, self._due, now):
            self.generator.note_success(now)


class Loading(Call):
    """Writes one key after the other, of those that several of its kind share."""

    __slots__ = ("_keys",)

    def __init__(self, generator: "Generator", keys: Iterator[int]) -> None:
        super().__init__(generator, None)
        self._keys = keys

    def send(self) -> None:
        """Write the next key."""
        index = next(self._keys, None)
        if index is None:
            self.generator.finish_loading(self, None)
            return
        self.sent = self.generator.clock()
        if not self.generator.load_key(self, index):
            self.generator.finish_loading(self, NotReached("every connection broke while the keys were written"))

    def answered(self, status: int, value: Argument, version: int, *expiry: int) -> None:
        """Go on, or fail for all."""
        if self.generator.count(self, status, self.sent, self.sent):
            self.send()
        else:
            why = value.decode(errors="replace") if isinstance(value, bytes) else f"status {status}"
            error = error_class(self.kind, status)(f"the keys could not be written before the measurement: {why}")
            self.generator.finish_loading(self, error)
