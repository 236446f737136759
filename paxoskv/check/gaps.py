"""Room for what has no number: the gaps between numbered states.

Gap g lies after everything that belongs to state g and before what makes state g + 1. That is where deletes go that
tell no version, what was seen of an absent key, and mutations of unknown outcome whose effect nobody saw. Real time
leaves each of them an interval of gaps, since the latest start up to a gap and the earliest finish after it both only
grow. Where no such interval is open and the next mutation fits the state before it, there is nothing to choose:
whatever else could happen in that gap ends in the same state with less left to explain things with. Elsewhere a set
of configurations walks from gap to gap. A configuration that needs no more unknown mutations than another, and has
explained no less, replaces it.

The walk is tried first with one configuration and a plan, then with a few. What they find is an order, which proves
itself. Only when they find none does it have to be shown that there is none. Most often one gap shows it: the state
before the next mutation is known, and even with every delete and every unknown mutation to be had in it, it cannot be
left, or a sighting cannot be placed in any of its gaps. Otherwise all configurations are followed, from the last state
whose value is beyond doubt and with every unknown mutation still unused, which is the best that anything before can
have left over; and if that is not enough to fail, from the beginning.
"""

import bisect
import collections
import heapq
import itertools
import math
import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from paxoskv.check.history import (
    APPEND,
    CAS,
    DELETE,
    FAILED,
    INCR,
    OK,
    PUT,
    SWAP,
    Answer,
    Argument,
    Value,
)
from paxoskv.check.normal import NOBODY, NOT_SEEN, OutOfBudget, Tick, Violated
from paxoskv.check.semantics import REFUSED, effect, number_of, text_of
from paxoskv.check.sentences import quote
from paxoskv.check.verdict import WITNESS_OPERATIONS_MAX

if TYPE_CHECKING:
    from paxoskv.check.chain import Chain

_GAPS_BETWEEN_PLACES: Final = 16
_REPAIRS: Final = ((16, 4), (64, 8), (256, 16), (1024, 32), (4096, 64))
"""How far back to go when the plan fails, in gaps, and how many configurations then to follow."""
_VISITS_PER_CONFIGURATION: Final = 40
_WANTED_MAX: Final = 10_000
_PROOF_STATES_MAX: Final = 20_000
_PROOF_GAPS_MAX: Final = 1_000


@dataclass(slots=True, eq=False)
class _Loose:
    """A delete that told no version, or a sighting of the absent key: to be placed in a gap from `low` to `high`."""

    row: int
    is_delete: bool
    low: int
    high: int
    start: float
    finish: float
    bit: int = 0
    """Its place in a configuration, while it is pending."""
    wake: int = 0
    """The gap at which to look at it, by plan, if it still is pending then."""


@dataclass(slots=True, eq=False)
class _Class:
    """Mutations of unknown outcome that would do the same. The one that started first is always as good as another."""

    kind: int
    argument: Argument
    condition: Argument
    rows: list[int]
    starts: list[float]
    offset: int
    """Where its bits begin in a configuration's `used`."""
    mask: int = 0
    only_for: int = -1
    """The one position that nothing else can have made, if there is one: kept for that."""


_finish = operator.attrgetter("finish")

_Trail = tuple["_Trail | None", int, int]
"""Operations placed in gaps: what came before, the gap, the row."""


@dataclass(slots=True, eq=False)
class _Configuration:
    """One way in which things can have gone so far."""

    content: Value
    direct: bool
    """Nothing has happened in this gap yet: the state is the numbered one."""
    deletes: int
    """Bits of the pending loose deletes that have been placed."""
    absences: int
    used: int
    """Bits of the unknown mutations that have been used."""
    trail: _Trail | None


@dataclass(slots=True, eq=False)
class _Hidden:
    """What unknown mutations that nobody saw can do in one gap."""

    wanted: "frozenset[bytes] | range | None"
    """Values, or lengths, that they may have to bring about; None: any."""
    effective: dict[tuple[Value, bool, bool], list[tuple[_Class, Value]]] = field(default_factory=dict)
    """By value, whether it is the numbered state's, and whether any other will do."""


@dataclass(slots=True, eq=False)
class _Place:
    """Where a walk through a component is."""

    gap: int
    frontier: list[_Configuration]
    pending: list[_Loose]
    """By finish."""
    bits: int
    """In use for what is pending."""
    wake: int
    """The first gap in which something that is pending may have to be placed."""
    arriving: int
    """The next member whose gaps begin."""
    credit: int
    """Deletes that were placed earlier than planned."""


class Gaps:
    """The walk through the gaps of one key."""

    def __init__(self, chain: "Chain", budget: int, tick: Tick) -> None:
        self.states = 0
        """States visited so far."""
        self._chain = chain
        self._columns = chain.columns
        self._numbers = chain.numbers
        self._writers = chain.writers
        self._seen = chain.seen
        self._budget = budget
        self._left = budget
        self._tick = tick
        self._components: list[tuple[int, int, list[_Loose]]] = []
        """Loose operations whose intervals overlap: first gap, last gap, members by first gap."""
        self._classes: list[_Class] = []
        self._dead: list[_Configuration] = []
        """What was in the last gap that was walked into."""
        self._grows_to: list[bytes | None] = []
        """By gap, while only that is followed: what everything in it is the beginning of, None if that is not known."""

    def walk(self) -> list[int]:
        """An order of everything. Raises Violated if there is none, and OutOfBudget if that took too long to see."""
        self._place_loose()
        self._sort_unknowns()
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
            self._prove(reached)
        self._left = self._budget
        solid = self._last_solid(reached)
        if solid > 0:
            content = self._solid_value(solid)
            assert content is None or isinstance(content, bytes)
            failed, found = self._run(solid, content, True, until=reached)
            if found is None:
                self._explain_gap(failed)
        reached, found = self._run(0, initial, True)
        if found is None:
            self._explain_gap(reached)
        assert found is not None
        return self._with_loose(found)

    def _grow(self, initial: Value) -> _Configuration | None:
        """A configuration at the end where the key was only ever appended to, if following what was seen finds one.

        What was seen later tells which unknown mutations came, and in which order, where their lengths alone leave as
        much open as there are ways to pick some of them. Whoever fails is told why without that: an explanation looks
        at one gap, and not ahead.
        """
        columns = self._columns
        if not self._classes or any(each.kind != APPEND for each in self._classes):
            return None
        if any(loose.is_delete for _, _, members in self._components for loose in members):
            return None
        following: bytes | None = None
        grows_to: list[bytes | None] = [None]
        for number in reversed(self._numbers[1:]):
            row = self._writers.get(number, NOBODY)
            seen = self._seen.get(number)
            if row >= 0 and columns.kinds[row] != APPEND:
                following = None
            elif isinstance(seen, bytes):
                following = seen
            grows_to.append(following)
        grows_to.reverse()
        self._grows_to = grows_to
        try:
            return self._run(0, initial, False)[1]
        except OutOfBudget:
            return None
        finally:
            self._grows_to = []
            self._left = self._budget

    def _is_beginning(self, content: object, gap: int) -> bool:
        """Whether what is seen after a gap can have grown from `content`, as far as that is followed."""
        whole = self._grows_to[gap] if self._grows_to else None
        return whole is None or content is None or (isinstance(content, bytes) and whole.startswith(content))

    def _place_loose(self) -> None:
        """Give each loose operation its gaps, and join those whose gaps overlap into components."""
        chain, columns = self._chain, self._columns
        everything: list[_Loose] = []
        for row in chain.loose:
            is_delete = columns.kinds[row] == DELETE and columns.results[row] is not False
            is_delete = is_delete and columns.conditions[row] != 0 and columns.outcomes[row] == OK
            start, finish = columns.starts[row], columns.finishes[row]
            loose = _Loose(row, is_delete, chain.first_gap(start), chain.last_gap(finish), start, finish)
            if loose.low > loose.high:
                self._explain_between(loose)
            everything.append(loose)
        everything.sort(key=lambda loose: loose.low)
        for loose in everything:
            if self._components and loose.low <= self._components[-1][1]:
                low, high, members = self._components[-1]
                members.append(loose)
                self._components[-1] = low, max(high, loose.high), members
            else:
                self._components.append((loose.low, loose.high, [loose]))

    def _explain_between(self, loose: _Loose) -> None:
        """Two sightings of one state with a delete or an absent key in between."""
        starts, finishes = self._columns.starts, self._columns.finishes
        number = self._numbers[loose.low]
        rows = [row for row in self._chain.order if self._chain.versions[row] == number]
        after = next(row for row in rows if starts[row] > loose.finish)
        before = next((row for row in rows if finishes[row] < loose.start), None)
        source = (
            "the key held before the history began"
            if before is None
            else f"{self._chain.say.who(before)} left or found"
        )
        say = self._chain.say
        raise Violated(
            f"{say.saw(loose.row)}, but {say.saw(after)}, the very state that {source}: in between the key "
            "cannot have been removed.",
            loose.row,
            after,
            *([] if before is None else [before]),
        )

    def _sort_unknowns(self) -> None:
        columns = self._columns
        classes: dict[tuple[int, object, object], list[int]] = {}
        for row in self._chain.form.unknowns:
            call = columns.kinds[row], columns.arguments[row], columns.conditions[row]
            classes.setdefault(call, []).append(row)
        offset = 0
        for (kind, _, _), rows in classes.items():
            rows.sort(key=columns.starts.__getitem__)
            first = rows[0]
            self._classes.append(
                _Class(
                    kind,
                    columns.arguments[first],
                    columns.conditions[first],
                    rows,
                    [columns.starts[row] for row in rows],
                    offset,
                    (1 << len(rows)) - 1,
                )
            )
            offset += len(rows)
        self._reserve()

    def _reserve(self) -> None:
        """Keep unknown mutations for the states that nothing else can have made."""
        orphans = self._seen.keys() - self._writers.keys()
        orphans.discard(self._numbers[0])
        for number in sorted(orphans):
            makers = [each for each in self._classes if _can_make(each, self._seen[number])]
            if len(makers) > 1 or (makers and len(makers[0].rows) > 1):
                continue
            if not makers or makers[0].only_for >= 0:
                self._explain_orphan(number)
            makers[0].only_for = bisect.bisect_left(self._numbers, number)

    def _solid_value(self, position: int) -> object:
        """The value of a position where it does not depend on what was there before, else NOT_SEEN."""
        if position == 0:
            return self._chain.form.initial
        number = self._numbers[position]
        row = self._writers.get(number, NOBODY)
        if row >= 0:
            kind = self._columns.kinds[row]
            if kind in (PUT, CAS, SWAP):
                return self._columns.arguments[row]
            if kind == DELETE:
                return None
            if kind == INCR and self._columns.results[row] is not None:
                result = self._columns.results[row]
                assert isinstance(result, int)
                return text_of(result)
        return self._seen.get(number, NOT_SEEN)

    def _last_solid(self, gap: int) -> int:
        """The last gap up to `gap` at whose beginning everything is known but which unknown mutations were used."""
        component = bisect.bisect_right(self._components, gap, key=lambda each: each[0]) - 1
        while gap > 0:
            while component >= 0 and self._components[component][0] >= gap:
                component -= 1
            if component >= 0 and self._components[component][0] < gap <= self._components[component][1]:
                gap = self._components[component][0]
            elif self._solid_value(gap) is not NOT_SEEN:
                return gap
            else:
                gap -= 1
        return 0

    def _run(
        self, gap: int, content: Value, exact: bool, until: int | None = None
    ) -> tuple[int, _Configuration | None]:
        """Walk from gap to gap; the last gap that was reached, and a configuration at the end, or None.

        Unless it is `exact`, finding none means little. With `until`, stop when past that gap.
        """
        last = len(self._numbers) - 1
        frontier = [_Configuration(content, True, 0, 0, 0, None)]
        component = bisect.bisect_left(self._components, gap, key=lambda each: each[0])
        while True:
            low, high, members = (
                self._components[component] if component < len(self._components) else (last + 1, last + 1, [])
            )
            if gap < low and all(each.content == frontier[0].content for each in frontier):
                stop = min(low, last)
                passed, content = self._pass(gap, frontier[0].content, stop, careful=exact)
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

    def _pass(
        self, gap: int, content: Value, stop: int, *, careful: bool = False, present: bool = False
    ) -> tuple[int, Value]:
        """Go on to `stop` at most, as long as each mutation fits the state before it and nothing else need be asked.

        With `careful`, stop also before a state whose value unknown mutations may have changed without a trace; with
        `present`, before the key is absent.
        """
        columns, seen, writers, numbers = self._columns, self._seen, self._writers, self._numbers
        kinds, arguments, conditions, results = columns.kinds, columns.arguments, columns.conditions, columns.results
        number = numbers[gap]
        while gap < stop:
            following = numbers[gap + 1]
            row = writers.get(following, NOBODY)
            if row < 0:
                break
            kind = kinds[row]
            if kind == PUT and conditions[row] is None:
                content = arguments[row]  # type: ignore[assignment]
            elif kind == CAS:
                if content != conditions[row]:
                    break
                content = arguments[row]  # type: ignore[assignment]
            elif kind == INCR and results[row] is not None:
                result: int = results[row]  # type: ignore[assignment]
                before: int = result - arguments[row]  # type: ignore[operator]
                if content != b"%d" % before and (content is not None or before):
                    break
                content = b"%d" % result
            else:
                value = effect(kind, arguments[row], conditions[row], results[row], True, content, number)
                if value is REFUSED or (present and value is None):
                    break
                if kind in (APPEND, INCR):
                    if seen.get(following, value) != value:
                        break
                    if careful and following not in seen and self._any_unknown(gap):
                        break
                    if self._grows_to and not self._is_beginning(value, gap + 1):
                        break
                content = value  # type: ignore[assignment]
            number = following
            gap += 1
        return gap, content

    def can_be_absent(self, gap: int) -> bool:
        """Whether the next mutation lets the key be absent before it."""
        if gap + 1 == len(self._numbers):
            return True
        following = self._numbers[gap + 1]
        row = self._writers.get(following, NOBODY)
        if row < 0:
            return bool(self._classes)
        columns = self._columns
        kind, argument, condition = columns.kinds[row], columns.arguments[row], columns.conditions[row]
        value = effect(kind, argument, condition, columns.results[row], True, None, None)
        return value is not REFUSED and self._seen.get(following, value) == value

    def _any_unknown(self, gap: int) -> bool:
        if not self._classes:
            return False
        limit = self._chain.finish_after(gap)
        return any(each.starts[0] <= limit for each in self._classes)

    def _cross(
        self, gap: int, high: int, frontier: list[_Configuration], members: list[_Loose], exact: bool
    ) -> tuple[int, list[_Configuration]]:
        """Walk through the gaps up to `high`, placing `members`. The gap reached, and what gets there."""
        plan = None if exact else _Plan(self, gap, high, members)
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
                after = self._step(gap, at.frontier, pending, True, None)
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
                after = self._stride(gap, at.frontier[0], pending, wake, plan, at.credit) if width == 1 else []
                if not after:
                    # Whoever can do without unknown mutations that nobody saw should.
                    after = self._step(gap, at.frontier, pending, False, width)
                if not after:
                    after = self._step(gap, at.frontier, pending, True, width)
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

    def _hurry(self, gap: int, now: _Configuration, stop: int) -> tuple[int, list[_Configuration]] | None:
        """Up to `stop` at most, while the key is there and nothing need be placed; None if that leads nowhere."""
        if stop <= gap or now.content is None:
            return None
        passed, content = self._pass(gap, now.content, stop, present=True)
        if passed == gap:
            return None
        return passed, [_Configuration(content, True, now.deletes, now.absences, now.used, now.trail)]

    def _count(self) -> None:
        self.states += 1
        self._left -= 1
        if not self.states & 0x3FF:
            self._tick(0x400)
        if self._left < 0:
            raise OutOfBudget

    def _stride(
        self, gap: int, now: _Configuration, pending: list[_Loose], wake: int, plan: "_Plan", credit: int
    ) -> list[_Configuration]:
        """One gap, by the plan: what gets to the next if nothing is deleted before it has to be."""
        self._count()
        until = self._chain.finish_after(gap)
        if now.content is None:
            now = self._see_absence(now, gap, pending)
        placed = now.deletes | now.absences
        open_now = [loose for loose in pending if not placed & loose.bit]
        limit = open_now[0].finish if open_now else math.inf
        awake = [loose for loose in open_now if loose.wake <= gap] if wake <= gap else []
        due = any(loose.high <= gap for loose in awake)
        urgent = awake or (plan.is_slot(gap) and not credit)
        if now.content is None or not urgent:
            after = [] if due else self._end(now, gap, min(until, limit))
            if after or now.content is None:
                return after
        version = self._numbers[gap] if now.direct else None
        best = self._best_delete(open_now, limit, now.content, version)
        if best is not None:
            trail = (now.trail, gap, best.row)
            gone = _Configuration(None, False, now.deletes | best.bit, now.absences, now.used, trail)
            gone = self._see_absence(gone, gap, pending)
            placed = gone.deletes | gone.absences
            if all(loose.high > gap or placed & loose.bit for loose in awake):
                limit = next((loose.finish for loose in open_now if not placed & loose.bit), math.inf)
                after = self._end(gone, gap, min(until, limit))
                if after:
                    return after
        return [] if due else self._end(now, gap, min(until, limit))

    def _best_delete(self, open_now: list[_Loose], limit: float, content: Value, version: int | None) -> _Loose | None:
        """The delete to place: one that demands something while it is to be had, else the first to be answered."""
        conditions, results = self._columns.conditions, self._columns.results
        best = None
        for loose in open_now:
            if not loose.is_delete or loose.start > limit:
                continue
            condition = conditions[loose.row]
            if best is not None and condition is None:
                continue
            if effect(DELETE, None, condition, results[loose.row], True, content, version) is not REFUSED:
                if condition is not None:
                    return loose
                best = loose
        return best

    def _end(self, now: _Configuration, gap: int, until: float) -> list[_Configuration]:
        """Leave a gap; out of the last one there is nothing to be made."""
        return [now] if gap + 1 == len(self._numbers) else self._leave(now, gap, until)

    def _step(
        self, gap: int, frontier: list[_Configuration], pending: list[_Loose], hidden: bool, width: int | None
    ) -> list[_Configuration]:
        """Everything that can have happened in one gap: the configurations at the beginning of the next. With `width`,
        which says how many of them are wanted, perhaps not everything.
        """
        due_deletes = due_absences = 0
        for loose in pending:
            if loose.high <= gap:
                if loose.is_delete:
                    due_deletes |= loose.bit
                else:
                    due_absences |= loose.bit
        until = self._chain.finish_after(gap)
        unseen = _Hidden(self._wanted(gap)) if hidden and self._classes else None
        visited = _Antichain()
        after = _Antichain()
        self._dead = []
        work = list(frontier)
        columns = self._columns
        visits = 0
        while work:
            now = work.pop()
            if now.content is None:
                now = self._see_absence(now, gap, pending)
            if not visited.add(now):
                continue
            self._count()
            visits += 1
            if width is not None and visits > _VISITS_PER_CONFIGURATION * width:
                break
            open_now = [loose for loose in pending if not (now.deletes | now.absences) & loose.bit]
            limit = open_now[0].finish if open_now else math.inf
            if now.deletes & due_deletes == due_deletes and now.absences & due_absences == due_absences:
                for reached in self._end(now, gap, min(until, limit)):
                    after.add(reached)
            self._dead.append(now)
            # Of deletes that do and say the same, the one that was answered first.
            best: dict[tuple[Argument, Answer], _Loose] = {}
            for loose in open_now:
                if loose.is_delete and loose.start <= limit:
                    call = columns.conditions[loose.row], columns.results[loose.row]
                    best.setdefault(call, loose)
            version = self._numbers[gap] if now.direct else None
            for (condition, result), loose in best.items():
                if effect(DELETE, None, condition, result, True, now.content, version) is REFUSED:
                    continue
                direct = now.direct and now.content is None
                trail = (now.trail, gap, loose.row)
                work.append(_Configuration(None, direct, now.deletes | loose.bit, now.absences, now.used, trail))
            if unseen is not None:
                work.extend(self._hidden(now, gap, min(until, limit), bool(open_now), unseen))
        return after.members

    def _see_absence(self, now: _Configuration, gap: int, pending: list[_Loose]) -> _Configuration:
        """Place every sighting of the absent key that can be placed: it changes nothing, and sooner is never worse."""
        absences, trail = now.absences, now.trail
        open_now = [loose for loose in pending if not (now.deletes | absences) & loose.bit]
        while open_now:
            limit = open_now[0].finish
            placed = [loose for loose in open_now if not loose.is_delete and loose.start <= limit]
            if not placed:
                break
            for loose in sorted(placed, key=lambda each: each.start):
                absences |= loose.bit
                trail = (trail, gap, loose.row)
            open_now = [loose for loose in open_now if not absences & loose.bit]
        if absences == now.absences:
            return now
        return _Configuration(None, now.direct, now.deletes, absences, now.used, trail)

    def _leave(self, now: _Configuration, gap: int, until: float) -> list[_Configuration]:
        """Make the next numbered state, in every way in which it can have been made."""
        following = self._numbers[gap + 1]
        seen = self._seen.get(following, NOT_SEEN)
        version = self._numbers[gap] if now.direct else None
        row = self._writers.get(following, NOBODY)
        columns = self._columns
        if row >= 0:
            value = effect(
                columns.kinds[row],
                columns.arguments[row],
                columns.conditions[row],
                columns.results[row],
                True,
                now.content,
                version,
            )
            if value is REFUSED or (seen is not NOT_SEEN and seen != value) or not self._is_beginning(value, gap + 1):
                return []
            return [_Configuration(value, True, now.deletes, now.absences, now.used, now.trail)]  # type: ignore[arg-type]
        reached = []
        for each in self._classes:
            if each.only_for not in (-1, gap + 1):
                continue
            used = self._use(each, now.used, until)
            if used is None:
                continue
            value = effect(each.kind, each.argument, each.condition, None, False, now.content, version)
            # A version that was only demanded is that of a value: an absent key has one only if somebody was told.
            if value is REFUSED or (value is None if seen is NOT_SEEN else seen != value):
                continue
            if not self._is_beginning(value, gap + 1):
                continue
            trail = (now.trail, gap, self._row_used(each, now.used))
            reached.append(_Configuration(value, True, now.deletes, now.absences, used, trail))  # type: ignore[arg-type]
        return reached

    def _use(self, each: _Class, used: int, limit: float) -> int | None:
        """The bits with one more of a class used, None if none is left that began by `limit`."""
        count = ((used >> each.offset) & each.mask).bit_count()
        if count == len(each.rows) or each.starts[count] > limit:
            return None
        return used | 1 << (each.offset + count)

    def _row_used(self, each: _Class, used: int) -> int:
        return each.rows[((used >> each.offset) & each.mask).bit_count()]

    def _hidden(
        self, now: _Configuration, gap: int, limit: float, to_place: bool, hidden: _Hidden
    ) -> list[_Configuration]:
        """Unknown mutations that nobody saw. `hidden` is one gap's."""
        content, used = now.content, now.used
        state = content, now.direct, to_place and content is None
        known = hidden.effective.get(state)
        if known is None:
            # Many configurations differ only in what they have used, and hold one of a few values.
            known = hidden.effective[state] = self._effective(*state, gap, hidden.wanted)
        reached = []
        for each, value in known:
            count = ((used >> each.offset) & each.mask).bit_count()
            if count < len(each.rows) and each.starts[count] <= limit:
                trail = (now.trail, gap, each.rows[count])
                reached.append(
                    _Configuration(value, False, now.deletes, now.absences, used | 1 << (each.offset + count), trail)
                )
        return reached

    def _effective(
        self, content: Value, direct: bool, any_value: bool, gap: int, wanted: "frozenset[bytes] | range | None"
    ) -> list[tuple[_Class, Value]]:
        """Unknown mutations that would change `content` to something of use, and to what."""
        version = self._numbers[gap] if direct else None
        effective: list[tuple[_Class, Value]] = []
        for each in self._classes:
            if each.only_for >= 0:
                continue
            value = effect(each.kind, each.argument, each.condition, None, False, content, version)
            if value is REFUSED or value == content:
                continue
            assert value is None or isinstance(value, bytes)
            # Any value will do where the key must be there only so that it can be deleted.
            if value is not None and wanted is not None and not any_value:
                fits = len(value) in wanted if isinstance(wanted, range) else value in wanted
                if not fits:
                    continue
            if not self._is_beginning(value, gap):
                continue
            effective.append((each, value))
        return effective

    def _wanted(self, gap: int) -> "frozenset[bytes] | range | None":
        """Values (or lengths) that unknown mutations may have to bring about before the next state; None: any."""
        if gap + 1 == len(self._numbers):
            return frozenset()
        following = self._numbers[gap + 1]
        seen = self._seen.get(following, NOT_SEEN)
        row = self._writers.get(following, NOBODY)
        columns = self._columns
        first: list[Value] = []
        if row < 0:
            if seen is NOT_SEEN or seen is None:
                return None
            first.append(seen)  # type: ignore[arg-type]
        else:
            kind, argument, result = columns.kinds[row], columns.arguments[row], columns.results[row]
            if kind == DELETE:
                return None
            if kind == CAS:
                first.append(columns.conditions[row])  # type: ignore[arg-type]
            elif kind == SWAP:
                first.append(result)  # type: ignore[arg-type]
            elif kind == INCR:
                after = result if result is not None else seen if seen is not NOT_SEEN else None
                if isinstance(after, bytes):
                    after = number_of(after)
                if after is None:
                    return None
                assert isinstance(after, int)
                assert isinstance(argument, int)
                first.append(text_of(after - argument))
            elif kind == APPEND:
                assert isinstance(argument, bytes)
                if seen is not NOT_SEEN:
                    assert isinstance(seen, bytes)
                    first.append(seen[: len(seen) - len(argument)])
                elif isinstance(result, int):
                    return range(max(22, result - len(argument) + 1)) if self._only_grows() else None
                else:
                    return None
        return self._leading_to(first)

    def _only_grows(self) -> bool:
        """No unknown mutation can turn a long value into a shorter one, but by replacing it."""
        return all(each.kind != CAS for each in self._classes)

    def _leading_to(self, values: list[Value]) -> frozenset[bytes] | None:
        """The values from which unknown mutations can lead to one of `values`, and these; None if they are too many."""
        wanted = {value for value in values if value is not None}
        fresh = list(wanted)
        rounds = sum(len(each.rows) for each in self._classes)
        for _ in range(rounds):
            before: list[bytes] = []
            for value in fresh:
                for each in self._classes:
                    argument = each.argument
                    if each.kind == CAS and argument == value and isinstance(each.condition, bytes):
                        before.append(each.condition)
                    elif each.kind == INCR and isinstance(argument, int):
                        number = number_of(value)
                        if number is not None:
                            before.append(text_of(number - argument))
                    elif each.kind == APPEND and isinstance(argument, bytes) and value.endswith(argument):
                        before.append(value[: len(value) - len(argument)])
            fresh = [value for value in dict.fromkeys(before) if value not in wanted]
            if not fresh:
                break
            wanted.update(fresh)
            if len(wanted) > _WANTED_MAX:
                return None
        return frozenset(wanted)

    def _with_loose(self, found: _Configuration) -> list[int]:
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

    def _explain_orphan(self, number: int) -> None:
        """A state that somebody saw, or demanded, and that nobody can have made."""
        columns, say = self._columns, self._chain.say
        if number not in self._seen:
            row = next(row for row in self._chain.form.mutations if columns.conditions[row] == number)
            raise Violated(f"{say.saw(row)}, but no operation can have made that version before it.", row)
        row = self._chain.sighting_of(number)
        value = self._seen[number]
        witness = [row]
        makers = [each.rows[0] for each in self._classes if _can_make(each, value)]
        failed = [
            each
            for each, outcome in enumerate(columns.outcomes)
            if outcome == FAILED and columns.arguments[each] == value and columns.kinds[each] in (PUT, CAS, SWAP)
        ]
        answered = [
            each
            for each in self._chain.form.mutations
            if columns.arguments[each] == value and columns.kinds[each] in (PUT, CAS, SWAP)
        ]
        if makers:
            maker = min(makers, key=columns.starts.__getitem__)
            witness.append(maker)
            if columns.starts[maker] > columns.finishes[row]:
                text = f"which {say.who(maker)} wrote, but only later."
            else:
                text = f"which only {say.who(maker)} can have made, and that cannot have happened then."
        elif failed:
            text = f"although {say.who(failed[0])} had certainly failed."
            witness.append(failed[0])
        elif answered and self._chain.noun == "version":
            text = f"but {say.saw(answered[0])}; nobody made that version."
            witness.append(answered[0])
        else:
            text = "which nobody wrote."
        raise Violated(f"{say.saw(row)}, {text}", *witness)

    # Proofs.

    def _prove(self, gap: int) -> None:
        """Raise Violated if one gap alone, or those of one loose operation, show that there is no order."""
        last = len(self._numbers) - 1
        if gap < last:
            relaxed = self._relax(gap)
            if relaxed is not None and not relaxed[1]:
                self._explain_link(gap, relaxed[0])
        for loose in self._members(gap):
            if loose.low <= gap <= loose.high and loose.high - loose.low <= _PROOF_GAPS_MAX:
                for each in range(loose.low, loose.high + 1):
                    relaxed = self._relax(each)
                    if relaxed is None or (
                        any(value is not None for value in relaxed[0]) if loose.is_delete else None in relaxed[0]
                    ):
                        break
                else:
                    self._explain_stuck(loose)

    def _members(self, gap: int) -> list[_Loose]:
        """The loose operations of the component that a gap belongs to."""
        at = bisect.bisect_right(self._components, gap, key=lambda each: each[0]) - 1
        return self._components[at][2] if at >= 0 and self._components[at][1] >= gap else []

    def _relax(self, gap: int) -> tuple[list[Value], bool] | None:
        """What a key can at most have held in a gap, and whether the gap can be left, if every delete and every unknown
        mutation that real time allows were to be had in it. None if that is not known, or takes long to say.
        """
        value = self._solid_value(gap)
        if value is NOT_SEEN:
            return None
        assert value is None or isinstance(value, bytes)
        columns = self._columns
        calls = {
            (columns.conditions[loose.row], columns.results[loose.row])
            for loose in self._members(gap)
            if loose.is_delete and loose.low <= gap <= loose.high
        }
        until = self._chain.finish_after(gap)
        unseen = _Hidden(self._wanted(gap)) if self._classes else None
        work = [_Configuration(value, True, 0, 0, 0, None)]
        visited = _Antichain()
        contents: dict[Value, None] = {}
        leaves = False
        states = 0
        while work:
            now = work.pop()
            if not visited.add(now):
                continue
            states += 1
            if states > _PROOF_STATES_MAX:
                return None
            contents[now.content] = None
            leaves = leaves or bool(self._end(now, gap, until))
            version = self._numbers[gap] if now.direct else None
            for condition, result in calls:
                if effect(DELETE, None, condition, result, True, now.content, version) is not REFUSED:
                    work.append(_Configuration(None, now.direct and now.content is None, 0, 0, now.used, None))
            if unseen is not None:
                work.extend(self._hidden(now, gap, until, True, unseen))
        return list(contents), leaves

    def _explain_gap(self, gap: int) -> None:
        """Nothing gets out of this gap: the next mutation does not fit, or what has to be in it cannot be."""
        due = [loose for loose in self._members(gap) if loose.high == gap]
        stuck: collections.Counter[int] = collections.Counter()
        contents: dict[Value, None] = {}
        for now in self._dead:
            missing = [at for at, loose in enumerate(due) if not (now.deletes | now.absences) & loose.bit]
            stuck.update(missing)
            if not missing:
                contents[now.content] = None
        if contents and gap + 1 < len(self._numbers):
            self._explain_link(gap, list(contents))
        self._explain_stuck(due[stuck.most_common(1)[0][0]])

    def _explain_link(self, gap: int, contents: list[Value]) -> None:
        """The next mutation does not fit what the key can have held."""
        say = self._chain.say
        following = self._numbers[gap + 1]
        row = self._writers.get(following, NOBODY)
        if row < 0:
            self._explain_orphan(following)
        before = self._chain.maker(gap)
        held = " or ".join(quote(value) for value in contents[:3]) + (" or other values" if len(contents) > 3 else "")
        source = f", left by {say.who(before)}" if before is not None and len(contents) == 1 else ""
        text = say.saw(row)
        witness = [row]
        if following in self._seen:
            sighting = self._chain.sighting_of(following)
            text += f" and {say.saw(sighting)}"
            witness.append(sighting)
        if before is not None:
            witness.append(before)
        raise Violated(f"{text}, but the key can only have held {held} just before{source}.", *witness)

    def _explain_stuck(self, loose: _Loose) -> None:
        """A delete found nothing to delete, or a sighting of the absent key nothing that made it absent."""
        say = self._chain.say
        lower = self._chain.maker(loose.low)
        upper = self._chain.maker(loose.high + 1)
        if loose.is_delete:
            text = "there was nothing to remove at any moment at which it can have run"
        else:
            text = "the key held a value all the time"
        if lower is not None:
            text += f": it was set by {say.who(lower)}"
            if upper is not None and upper != lower:
                text += f", later by {say.who(upper)}"
        if not loose.is_delete:
            text += ", and no delete can account for it"
        witness = [row for row in (loose.row, lower, upper) if row is not None]
        rivals = [each.row for each in self._members(loose.low) if each.is_delete and each.low <= loose.high]
        witness += [row for row in rivals if row not in witness][: WITNESS_OPERATIONS_MAX - len(witness)]
        raise Violated(f"{say.saw(loose.row)}, but {text}.", *witness)


class _Plan:
    """Where to delete, in one component, if as late as can be: most often right, and never trusted."""

    def __init__(self, gaps: Gaps, low: int, high: int, members: list[_Loose]) -> None:
        self._low = low
        self._slots: set[int] = set()
        chances = [gap for gap in range(low, high + 1) if gaps.can_be_absent(gap)]
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


def _can_make(each: _Class, value: Value) -> bool:
    """Whether some state lets an unknown mutation lead to `value`."""
    if each.kind == DELETE:
        return value is None
    if value is None:
        return False
    if each.kind == INCR:
        return number_of(value) is not None
    if each.kind == APPEND:
        assert isinstance(each.argument, bytes)
        return value.endswith(each.argument)
    return each.argument == value


class _Antichain:
    """Configurations of which none is as good as another in every respect."""

    def __init__(self) -> None:
        self._by_state: dict[tuple[Value, bool, int], list[_Configuration]] = {}

    def add(self, new: _Configuration) -> bool:
        """Keep `new` unless one at hand is as good; drop those that it is as good as."""
        state = (new.content, new.direct, new.deletes)
        rivals = self._by_state.get(state)
        if rivals is None:
            self._by_state[state] = [new]
            return True
        for rival in rivals:
            if rival.used & ~new.used == 0 and new.absences & ~rival.absences == 0:
                return False
        rivals[:] = [rival for rival in rivals if new.used & ~rival.used or rival.absences & ~new.absences]
        rivals.append(new)
        return True

    @property
    def members(self) -> list[_Configuration]:
        """What was kept."""
        return [each for rivals in self._by_state.values() for each in rivals]
