"""Accepts that go to some replicas only: to finish a write that a read saw, and to repair a replica.

They are legal duplicates of what the version's owner sent: no new ballot, nobody is preempted.
"""

from collections.abc import Callable
from typing import Protocol

from paxoskv.paxos.context import Context
from paxoskv.paxos.messages import Accepted, Proposals

_BATCH_BYTES_MAX = 512 * 1024
_FORGET_S = 2.0


class Waiter(Protocol):
    """Who sent an Accept to one replica, and wants to know what became of it."""

    def on_accepted(self, node: int, key: bytes) -> None: ...
    def on_refused(self, node: int, key: bytes) -> None: ...


class _Queue:
    __slots__ = ("bytes", "keys", "registers", "versions", "waiters")

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.versions: list[int] = []
        self.registers: list[bytes] = []
        self.waiters: list[Waiter] = []
        self.bytes = 0


class Directed:
    """This turn's Accepts by replica, and those that wait for an answer."""

    def __init__(self, context: Context, vote: Callable[[Proposals], None]) -> None:
        self._context = context
        self._vote = vote
        self._queues: dict[int, _Queue] = {}
        self._sent: dict[int, tuple[int, float, list[tuple[bytes, Waiter]]]] = {}

    def accept(self, node: int, key: bytes, version: int, register: bytes, waiter: Waiter) -> None:
        """Queue one Accept."""
        queue = self._queues.get(node)
        if queue is not None and queue.bytes > _BATCH_BYTES_MAX:
            self._send(node, self._queues.pop(node))
            queue = None
        if queue is None:
            queue = self._queues[node] = _Queue()
        queue.keys.append(key)
        queue.versions.append(version)
        queue.registers.append(register)
        queue.waiters.append(waiter)
        queue.bytes += len(key) + len(register) + 24

    def flush(self) -> None:
        """Send what is queued; a vote of the own acceptor can queue more."""
        while self._queues:
            queues = self._queues
            self._queues = {}
            for node, queue in queues.items():
                self._send(node, queue)

    def _send(self, node: int, queue: _Queue) -> None:
        number = self._context.next_batch()
        message = Proposals(number, (), (), (), tuple(queue.keys), tuple(queue.versions), tuple(queue.registers))
        self._sent[number] = (
            node,
            self._context.now,
            list(zip(queue.keys, queue.waiters, strict=True)),
        )
        if node == self._context.node:
            self._vote(message)
        else:
            self._context.send(node, message)

    def on_accepted(self, sender: int, message: Accepted) -> None:
        """A replica has answered one of these batches."""
        sent = self._sent.get(message.number)
        if sent is None or sent[0] != sender:
            return
        del self._sent[message.number]
        refused = {refusal.key for refusal in message.exceptions}
        for key, waiter in sent[2]:
            if key in refused:
                waiter.on_refused(sender, key)
            else:
                waiter.on_accepted(sender, key)

    def peer_lost(self, peer: int) -> None:
        """Answers of that peer may be lost. Who waits has time-outs of its own."""
        self._sent = {number: sent for number, sent in self._sent.items() if sent[0] != peer}

    def tick(self) -> None:
        """Forget what was never answered."""
        if not self._sent:
            return
        oldest = self._context.now - self._context.patience(_FORGET_S)
        for number, (_, sent_at, _) in list(self._sent.items()):
            if sent_at > oldest:
                break
            del self._sent[number]

    @property
    def busy(self) -> bool:
        """`flush` has something to do."""
        return bool(self._queues)

    @property
    def waiting(self) -> bool:
        """Something is on its way."""
        return bool(self._sent)
