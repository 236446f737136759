"""What the parts of any engine share: the time, who can be reached, and the turn's outgoing words."""

import random
from typing import Final, Generic, TypeVar

from paxoskv.core import errors
from paxoskv.core.limits import Capacity
from paxoskv.core.operations import Operation, Result
from paxoskv.core.scan import Inner

MessageT = TypeVar("MessageT")


class EngineContext(Generic[MessageT]):
    """One engine's surroundings. Each engine adds what only it needs."""

    def __init__(self, node: int, rng: random.Random, capacity: Capacity) -> None:
        self.node = node
        self.rng = rng
        self.capacity = capacity
        self.wall_ms = 0
        """What the wall clock says, milliseconds since the epoch. Only expiry looks at it."""
        self.sends: dict[int, list[MessageT]] = {}
        self.answers: list[tuple[Operation, Result]] = []
        self.in_flight = 0
        """Operations that are not answered yet, this engine's own gets among them."""
        self.inner = 0
        """Gets of this engine's own that are under way."""
        self.overloaded = 0
        """How many operations were refused as too many."""
        self.up: set[int] = set()

    def send(self, peer: int, message: MessageT) -> None:
        """Queue a message for this turn's frame to `peer`."""
        messages = self.sends.get(peer)
        if messages is None:
            self.sends[peer] = [message]
        else:
            messages.append(message)

    def answer(self, operation: Operation, result: Result) -> None:
        """Answer an operation of this node's clients, once; later answers are dropped."""
        if not operation.done:
            operation.done = True
            self.in_flight -= 1
            self.answers.append((operation, result))

    def refuse(self, operation: Operation) -> None:
        """There are as many in flight as there may be: this one never begins."""
        self.overloaded += 1
        operation.done = True
        self.answers.append((operation, _OVERLOADED))

    def begin_inner(self) -> None:
        """Count a get of this engine's own, whose `reply` is an `Inner`."""
        self.inner += 1
        self.in_flight += 1

    @property
    def has_inner(self) -> bool:
        """Some of the answers are to gets of this engine's own."""
        return bool(self.inner) and any([type(operation.reply) is Inner for operation, _ in self.answers])

    def take_inner(self) -> None:
        """Give answers to this engine's own gets to who waits for them, until none is left."""
        while self.has_inner:
            answers, self.answers = self.answers, []
            for operation, result in answers:
                reply = operation.reply
                if type(reply) is Inner:
                    self.inner -= 1
                    reply.answered(operation, result)
                else:
                    self.answers.append((operation, result))

    def take_sends(self) -> dict[int, list[MessageT]]:
        """End the turn: what goes to each peer."""
        sends, self.sends = self.sends, {}
        return sends

    def take_answers(self) -> list[tuple[Operation, Result]]:
        """End the turn: who is answered what."""
        answers, self.answers = self.answers, []
        return answers


_OVERLOADED: Final = Result(
    errors.Overloaded.status,
    b"the node has as many operations in flight as it takes; nothing was changed, try again a little later",
    0,
)
