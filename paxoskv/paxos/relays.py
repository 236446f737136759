"""Relays and answers to them, on their way out of this node, cut so that each fits a frame."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final, TypeVar

from paxoskv.core.operations import Operation, Result
from paxoskv.paxos.context import Context
from paxoskv.paxos.messages import RelayAnswer, RelayAnswers, RelayedOperation, RelayItem, Relays

ItemT = TypeVar("ItemT")

_OPERATIONS_MAX: Final = 1024
_BYTES_MAX: Final = 256 * 1024


class RelayMail:
    """This turn's relays, and answers to those of others, by peer."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._items: dict[int, list[RelayItem]] = {}
        self._answers: dict[int, list[RelayAnswer]] = {}

    def relay(self, peer: int, number: int, key: bytes, ballot: int, operations: Iterable[Operation]) -> None:
        """Queue a relay to the node that holds `key` at `ballot`."""
        relayed = tuple(
            [RelayedOperation(o.number, o.exposed, o.kind, o.argument, o.condition, o.expiry) for o in operations]
        )
        self._items.setdefault(peer, []).append(RelayItem(number, key, ballot, relayed))

    def answer(self, peer: int, number: int, promised: int, results: Sequence[Result]) -> None:
        """Queue the answer to relay `number` of `peer`, in as many parts as it takes. `promised` is 0 unless the key is
        not held here."""
        answers = self._answers.setdefault(peer, [])
        start = size = 0
        for index, result in enumerate(results):
            bytes_here = len(result.value) if type(result.value) is bytes else 0
            if index > start and size + bytes_here > _BYTES_MAX:
                answers.append(RelayAnswer(number, promised, start, tuple(results[start:index])))
                start, size = index, 0
            size += bytes_here + 16
        answers.append(RelayAnswer(number, promised, start, tuple(results[start:])))

    def forget(self, peer: int) -> None:
        """What is queued was for a former incarnation of that peer."""
        self._items.pop(peer, None)
        self._answers.pop(peer, None)

    def flush(self) -> None:
        """Hand it all to the peers' frames, in messages of which each fits one."""
        if self._items:
            for peer, items in self._items.items():
                for part in cut(items, _item_size):
                    self._context.send(peer, Relays(part))
            self._items = {}
        if self._answers:
            for peer, answers in self._answers.items():
                for parts in cut(answers, _answer_size):
                    self._context.send(peer, RelayAnswers(parts))
            self._answers = {}


def cut(items: Sequence[ItemT], size_of: Callable[[ItemT], int]) -> Iterator[tuple[ItemT, ...]]:
    """All items in their order, as many at a time as one message should carry; at least one."""
    start = size = 0
    for index, item in enumerate(items):
        here = size_of(item)
        if index > start and size + here > _BYTES_MAX:
            yield tuple(items[start:index])
            start, size = index, 0
        size += here
    yield tuple(items[start:])


def _item_size(item: RelayItem) -> int:
    return len(item.key) + sum([_size(operation) for operation in item.operations])


def _answer_size(answer: RelayAnswer) -> int:
    return sum([16 + (len(value) if type(value) is bytes else 0) for _, value, _, _ in answer.results])


def is_too_much(in_doubt: Sequence[Operation], value_bytes_max: int) -> bool:
    """Whether these operations on one key, which go together or not at all, are more than a frame carries, which has
    room for one with two largest values, and some more."""
    return sum(map(_size, in_doubt)) > 2 * value_bytes_max + _BYTES_MAX


def fitting(in_doubt: Sequence[Operation], new: Sequence[Operation]) -> int:
    """How many of the `new` operations go along with all those in doubt in one relay; at least one, if none is."""
    room = _BYTES_MAX - sum(map(_size, in_doubt))
    count = sum(size <= room for size in accumulate(map(_size, new)))
    return min(len(new), max(0 if in_doubt else 1, min(count, _OPERATIONS_MAX - len(in_doubt))))


def _size(operation: Operation | RelayedOperation) -> int:
    size = 48
    if type(operation.argument) is bytes:
        size += len(operation.argument)
    if type(operation.condition) is bytes:
        size += len(operation.condition)
    return size
