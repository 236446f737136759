"""Virtual time: what is due, in the order in which it is due."""

import heapq
from collections.abc import Callable
from typing import Any

Action = Callable[..., object]


class Timeline:
    """Seconds since a universe began, and everything that will happen in it. Nothing else moves its clock."""

    __slots__ = ("_due", "_order", "now", "steps")

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        """How many actions were run."""
        self._due: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._order = 0

    def after(self, seconds: float, action: Action, *arguments: Any) -> None:
        """Call `action` so many seconds from now; of two at the same instant, the first that was asked for.

        With arguments for it there is no need of a function made for the occasion, of which there would be thousands.
        """
        self._order = order = self._order + 1
        heapq.heappush(self._due, (self.now + seconds, order, action, arguments))

    def run(self, until: float, enough: Callable[[], bool] | None = None) -> bool:
        """Run what is due up to `until`, or until `enough` says so after some action; whether it did.

        Time stands at the last action then, else at `until`.
        """
        due = self._due
        pop = heapq.heappop
        while due and due[0][0] <= until:
            self.now, _, action, arguments = pop(due)
            self.steps += 1
            action(*arguments)
            if enough is not None and enough():
                return True
        self.now = max(self.now, until)
        return False
