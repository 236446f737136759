"""Where to delete, in one component, if as late as can be."""

import heapq

from paxoskv.check.gaps.layout import Layout
from paxoskv.check.gaps.parts import Loose


class Plan:
    """Where to delete, in one component, if as late as can be: most often right, and never trusted."""

    def __init__(self, layout: Layout, low: int, high: int, members: list[Loose]) -> None:
        self._low = low
        self._slots: set[int] = set()
        chances = [gap for gap in range(low, high + 1) if layout.can_be_absent(gap)]
        self._last_chance: list[int] = []
        """By gap from `low` on: the last gap up to there in which the key can be absent."""
        at = -1
        chance = set(chances)
        for gap in range(low, high + 1):
            if gap in chance:
                at = gap
            self._last_chance.append(at)
        # Backwards, always the delete that can go least far back: the latest slots that all of them fit into.
        waiting: list[int] = []
        deletes = sorted((loose for loose in members if loose.is_delete), key=lambda loose: loose.high)
        for gap in reversed(chances):
            while deletes and deletes[-1].high >= gap:
                heapq.heappush(waiting, -deletes.pop().low)
            if waiting and -heapq.heappop(waiting) <= gap:
                self._slots.add(gap)
        following = high
        self._next_slot: list[int] = []
        """By gap, backwards: the first from there on into which a delete has to go, or the last gap."""
        for gap in range(high, low - 1, -1):
            if gap in self._slots:
                following = gap
            self._next_slot.append(following)

    def next_slot(self, gap: int) -> int:
        """The first gap from there on for which there is a plan; the last of all if there is none."""
        return self._next_slot[-1 - (gap - self._low)]

    def is_slot(self, gap: int) -> bool:
        """Whether a delete has to go into a gap so that all find room, if none was placed earlier than it had to be."""
        return gap in self._slots

    def last_chance(self, high: int) -> int:
        """The last gap up to `high` in which the key can be absent."""
        return self._last_chance[high - self._low]

    def credit(self, gap: int, credit: int, deleted: int) -> int:
        """The deletes placed earlier than they had to be, when a gap is behind with so many in it."""
        return max(0, credit + deleted - (gap in self._slots))
