"""The walk from gap to gap: with one configuration and a plan, then with a few, then with all of them."""

import bisect
import itertools
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paxoskv.check.gaps.layout import Layout
from paxoskv.check.gaps.moves import Moves
from paxoskv.check.gaps.parts import Configuration, Loose
from paxoskv.check.gaps.plan import Plan
from paxoskv.check.gaps.proof import Proof
from paxoskv.check.history import APPEND, Value
from paxoskv.check.normal import NOBODY, OutOfBudget, Tick

if TYPE_CHECKING:
    from paxoskv.check.chain import Chain

_GAPS_BETWEEN_PLACES: Final = 16
_REPAIRS: Final = ((16, 4), (64, 8), (256, 16), (1024, 32), (4096, 64))
"""How far back to go when the plan fails, in gaps, and how many configurations then to follow."""

_finish = operator.attrgetter("finish")


@dataclass(slots=True, eq=False)
class _Place:
    """Where a walk through a component is."""

    gap: int
    frontier: list[Configuration]
    pending: list[Loose]
    """By finish."""
    bits: int
    """In use for what is pending."""
    wake: int
    """The first gap in which something that is pending may have to be placed."""
    arriving: int
    """The next member whose gaps begin."""
    credit: int
    """Deletes that were placed earlier than planned."""


class Walk:
    """The walk through the gaps of one key.

    Raises Violated where it need not even begin, see `Layout`.
    """

    def __init__(self, chain: "Chain", budget: int, tick: Tick) -> None:
        self._chain = chain
        self._columns = chain.columns
        self._numbers = chain.numbers
        self._layout = Layout(chain)
        self._moves = Moves(chain, self._layout, budget, tick)
        self._proof = Proof(chain, self._layout, self._moves)

    @property
    def states(self) -> int:
        """States visited so far."""
        return self._moves.states

    def find_order(self) -> list[int]:
        """An order of everything. Raises Violated if there is none, and OutOfBudget if that took too long to see."""
        initial = self._chain.form.initial
        grown = self._grow(initial)
        if grown is not None:
            return self._with_loose(grown)
        reached = 0
        try:
            reached, found = self._run(0, initial, False)
        except OutOfBudget:
            pass
        else:
            if found is not None:
                return self._with_loose(found)
            self._proof.of_one_gap(reached)
        self._moves.begin_again()
        solid = self._layout.last_solid(reached)
        if solid > 0:
            content = self._layout.solid_value(solid)
            assert content is None or isinstance(content, bytes)
            failed, found = self._run(solid, content, True, until=reached)
            if found is None:
                self._proof.of_dead_end(failed)
        reached, found = self._run(0, initial, True)
        if found is None:
            self._proof.of_dead_end(reached)
        return self._with_loose(found)

    def _grow(self, initial: Value) -> Configuration | None:
        """A configuration at the end where the key was only ever appended to, if following what was seen finds one.

        What was seen later tells which unknown mutations came, and in which order, where their lengths alone leave as
        much open as there are ways to pick some of them. Whoever fails is told why without that: an explanation looks
        at one gap, and not ahead.
        """
        columns = self._columns
        if not self._layout.classes or any(each.kind != APPEND for each in self._layout.classes):
            return None
        if any(loose.is_delete for _, _, members in self._layout.components for loose in members):
            return None
        following: bytes | None = None
        grows_to: list[bytes | None] = [None]
        for number in reversed(self._numbers[1:]):
            row = self._chain.writers.get(number, NOBODY)
            seen = self._chain.seen.get(number)
            if row >= 0 and columns.kinds[row] != APPEND:
                following = None
            elif isinstance(seen, bytes):
                following = seen
            grows_to.append(following)
        grows_to.reverse()
        self._moves.grows_to = grows_to
        try:
            return self._run(0, initial, False)[1]
        except OutOfBudget:
            return None
        finally:
            self._moves.grows_to = []
            self._moves.begin_again()

    def _run(self, gap: int, content: Value, exact: bool, until: int | None = None) -> tuple[int, Configuration | None]:
        """Walk from gap to gap; the last gap that was reached, and a configuration at the end, or None.

        Unless it is `exact`, finding none means little. With `until`, stop when past that gap.
        """
        last = len(self._numbers) - 1
        frontier = [Configuration(content, True, 0, 0, 0, None)]
        components = self._layout.components
        component = bisect.bisect_left(components, gap, key=lambda each: each[0])
        while True:
            low, high, members = components[component] if component < len(components) else (last + 1, last + 1, [])
            if gap < low and all(each.content == frontier[0].content for each in frontier):
                stop = min(low, last)
                passed, content = self._moves.pass_on(gap, frontier[0].content, stop, careful=exact)
                if passed > gap:
                    gap = passed
                    for each in frontier:
                        each.content = content
                if gap == last and low > last:
                    return gap, frontier[0]
            if until is not None and gap > until:
                return gap, frontier[0]
            if gap == low:
                component += 1
                reached, after = self._cross(gap, high, frontier, members, exact)
            else:
                reached, after = self._cross(gap, gap, frontier, [], exact)
            if not after:
                return reached, None
            if reached > last:
                return last, after[0]
            gap, frontier = reached, after

    def _cross(
        self, gap: int, high: int, frontier: list[Configuration], members: list[Loose], exact: bool
    ) -> tuple[int, list[Configuration]]:
        """Walk through the gaps up to `high`, placing `members`. The gap reached, and what gets there."""
        plan = None if exact else Plan(self._layout, gap, high, members)
        at = _Place(gap, frontier, [], 0, high, 0, 0)
        places = [at]
        width = 1
        trouble = narrow = gap
        tries = 0
        while True:
            gap = at.gap
            pending, bits, wake, arriving = at.pending, at.bits, at.wake, at.arriving
            if arriving < len(members) and members[arriving].low <= gap:
                pending = pending.copy()
                while arriving < len(members) and members[arriving].low <= gap:
                    loose = members[arriving]
                    loose.bit = ~bits & (bits + 1)
                    loose.wake = loose.high if plan is None or loose.is_delete else plan.last_chance(loose.high)
                    bits |= loose.bit
                    wake = min(wake, loose.wake)
                    bisect.insort(pending, loose, key=_finish)
                    arriving += 1
            if plan is None:
                after = self._moves.step(gap, at.frontier, pending, True, None)
            else:
                if width == 1:
                    coming = members[arriving].low if arriving < len(members) else high
                    passed = self._hurry(gap, at.frontier[0], min(wake, coming, plan.next_slot(gap)))
                    if passed is not None:
                        gap, after = passed
                        at = _Place(gap, after, pending, bits, wake, arriving, at.credit)
                        if gap >= places[-1].gap + _GAPS_BETWEEN_PLACES:
                            places.append(at)
                        continue
                after = self._moves.stride(gap, at.frontier[0], pending, wake, plan, at.credit) if width == 1 else []
                if not after:
                    # Whoever can do without unknown mutations that nobody saw should.
                    after = self._moves.step(gap, at.frontier, pending, False, width)
                if not after:
                    after = self._moves.step(gap, at.frontier, pending, True, width)
            if not after:
                if plan is None:
                    return gap, []
                # Something was decided wrongly a short while ago, or a longer one.
                if gap > trouble:
                    trouble, tries = gap, tries if gap <= narrow else 0
                if tries == len(_REPAIRS):
                    return trouble, []
                back, width = _REPAIRS[tries]
                tries += 1
                narrow = trouble + _GAPS_BETWEEN_PLACES
                while len(places) > 1 and places[-1].gap > trouble - back:
                    places.pop()
                at = places[-1]
                continue
            if plan is not None and len(after) > width:
                after.sort(key=lambda each: each.used.bit_count() - each.absences.bit_count())
                del after[width:]
            credit = at.credit
            if plan is not None:
                deleted = (after[0].deletes & ~at.frontier[0].deletes).bit_count() if width == 1 else 0
                credit = plan.credit(gap, credit, deleted)
            # What all of them have placed, and what was due is among that, need not be thought of any more.
            placed = bits
            for each in after:
                placed &= each.deletes | each.absences
            if placed:
                bits &= ~placed
                pending = [loose for loose in pending if loose.bit & bits]
                wake = min([loose.wake for loose in pending], default=high)
                for each in after:
                    each.deletes &= bits
                    each.absences &= bits
            gap += 1
            if gap > high:
                return gap, after
            at = _Place(gap, after, pending, bits, wake, arriving, credit)
            if width > 1 and gap > narrow:
                width = 1
                del after[1:]
            if plan is not None and gap >= places[-1].gap + _GAPS_BETWEEN_PLACES:
                places.append(at)

    def _hurry(self, gap: int, now: Configuration, stop: int) -> tuple[int, list[Configuration]] | None:
        """Up to `stop` at most, while the key is there and nothing need be placed; None if that leads nowhere."""
        if stop <= gap or now.content is None:
            return None
        passed, content = self._moves.pass_on(gap, now.content, stop, present=True)
        if passed == gap:
            return None
        return passed, [Configuration(content, True, now.deletes, now.absences, now.used, now.trail)]

    def _with_loose(self, found: Configuration) -> list[int]:
        """The whole order: what has a number, with what was placed in the gaps."""
        placed: list[tuple[int, int]] = []
        trail = found.trail
        while trail is not None:
            trail, gap, row = trail
            placed.append((gap, row))
        if not placed:
            return self._chain.order
        placed.reverse()
        order: list[int] = []
        at = 0
        for gap, row in placed:
            end = self._chain.end_of(gap)
            order += self._chain.order[at:end]
            at = end
            order.append(row)
        order += self._chain.order[at:]
        starts, finishes = self._columns.starts, self._columns.finishes
        latest = itertools.accumulate(map(starts.__getitem__, order), max)
        assert not any(map(operator.gt, latest, map(finishes.__getitem__, order))), "an order against real time"
        return order
