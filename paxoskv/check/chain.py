"""Histories whose states have numbers that grow: versions, the values of a counter, the lengths of a list.

The numbered states stand in a row, V1 < V2 < ...; what each was made by and seen by is known, so the only order there
can be is theirs, and it is right or wrong in one pass. What has no number has to be put into the gaps between them:
gap g lies after everything that belongs to state g and before what makes state g + 1. That is where deletes go that
tell no version, what was seen of an absent key, and mutations of unknown outcome whose effect nobody saw. Real time
leaves each of them an interval of gaps, since the latest start up to a gap and the earliest finish after it both only
grow. Where no such interval is open and the next mutation fits the state before it, there is nothing to choose:
whatever else could happen in that gap ends in the same state with less left to explain things with. Elsewhere a set
of configurations walks from gap to gap. A configuration that needs no more unknown mutations than another, and has
explained no less, replaces it.

The walk is tried first with few configurations. What it finds is an order, which proves itself. Only when it finds none
are all configurations followed: first from the last state whose value is beyond doubt, with every unknown mutation
still to be had, which is the best that anything before can have left over; if that fails, nothing can succeed, and the
proof is as short as the failure is near. If it does not, from the beginning.
"""

import bisect
import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from paxoskv.check.history import APPEND, CAS, DELETE, FAILED, INCR, PUT, SWAP, Answer, Argument, Columns, Value
from paxoskv.check.normal import Finding, NormalForm, OutOfBudget, Tick, Violated
from paxoskv.check.semantics import REFUSED, effect, number_of, text_of
from paxoskv.check.sentences import Speaker, quote
from paxoskv.check.verdict import Verdict, Way

_NOT_SEEN: Final = object()
_INITIAL: Final = -1
_FEW: Final = 64
_WANTED_MAX: Final = 10_000


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


@dataclass(slots=True, eq=False)
class _Class:
    """Mutations of unknown outcome that would do the same. The one that started first is always as good as another."""

    kind: int
    argument: bytes | int | None
    condition: bytes | int | None
    rows: list[int]
    starts: list[float]
    offset: int
    """Where its bits begin in a configuration's `used`."""
    mask: int = 0
    only_for: int = -1
    """The one position that nothing else can have made, if there is one: kept for that."""


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


class Chain:
    """The check of one key.

    `versions` gives the number of the state that each row made or saw, 0 or None for none; `initial` that of the state
    before the history, 0 for none. `noun` is what people call these numbers.
    """

    def __init__(
        self,
        form: NormalForm,
        versions: Sequence[int | None],
        initial: int,
        speaker: Speaker,
        budget: int,
        tick: Tick,
        noun: str = "version",
    ) -> None:
        self._form = form
        self._columns: Columns = form.columns
        self._versions = versions
        self._initial = initial
        self._say = speaker
        self._budget = budget
        self._tick = tick
        self._noun = noun
        self._states = 0
        self._writers: dict[int, int] = {}
        self._seen: dict[int, Value] = {}
        self._loose: list[_Loose] = []
        self._components: list[tuple[int, int, list[_Loose]]] = []
        self._classes: list[_Class] = []
        self._numbers: list[int] = []
        """Version of each position; position 0 is the initial state."""
        self._order: list[int] = []
        """Rows that have a number, in order."""
        self._latest_start: list[float] = []
        """By position: the latest start of anything up to it."""
        self._earliest_finish: list[float] = []
        """By position: the earliest finish of anything from it on; one more, infinite, at the end."""
        self._dead: list[_Configuration] = []

    def check(self, way: Way) -> Finding | None:
        """The verdict, with an order or a witness; None where this way of checking is not exact."""
        try:
            self._number_states()
            self._put_in_order()
            self._place_loose()
            order = self._walk()
        except Violated as violated:
            if self._guesses_versions():
                return None
            return Finding(Verdict.ILLEGAL, way, None, violated.sentence, violated.witness, self._states)
        except OutOfBudget:
            sentence = f"The budget of {self._budget:,} states was used up before an order was found or excluded."
            return Finding(Verdict.UNKNOWN, way, None, sentence, (), self._states)
        return Finding(Verdict.OK, way, order, states=self._states)

    def _guesses_versions(self) -> bool:
        """A mutation of unknown outcome demanded a version that nobody was told: what nobody saw may have had it."""
        known = set(self._numbers)
        conditions, kinds = self._columns.conditions, self._columns.kinds
        return any(
            kinds[row] in (PUT, DELETE) and isinstance(conditions[row], int) and conditions[row] not in known
            for row in self._form.unknowns
            if conditions[row] != 0
        )

    # What can be seen without any order.

    def _number_states(self) -> None:
        form, columns, versions = self._form, self._columns, self._versions
        writers, seen = self._writers, self._seen
        results = columns.results
        deletes: list[int] = []
        for row in form.mutations:
            version = versions[row]
            if not version:
                deletes.append(row)
            elif writers.setdefault(version, row) != row:
                self._made_twice(version, writers[version], row)
        for row in form.sightings:
            version, value = versions[row], results[row]
            assert version
            assert isinstance(value, bytes)
            if seen.setdefault(version, value) != value:
                self._seen_differently(version, row)
        absences: list[int] = []
        for row in form.absences:
            version = versions[row]
            if not version:
                absences.append(row)
            elif seen.setdefault(version, None) is not None:
                self._seen_differently(version, row)
        demanded = {
            condition
            for row in form.mutations
            if columns.kinds[row] in (PUT, DELETE)
            and isinstance(condition := columns.conditions[row], int)
            and condition > 0
        }
        numbers = writers.keys() | seen.keys() | demanded
        initial = self._initial
        if initial:
            numbers.discard(initial)
            if initial in writers:
                row = writers[initial]
                raise Violated(f"{self._say.saw(row)}, which the key already had before the history began.", row)
            if seen.get(initial, form.initial) != form.initial:
                row = self._sighting_of(initial)
                raise Violated(
                    f"{self._say.saw(row)}, but before the history began that {self._noun} was {quote(form.initial)}.",
                    row,
                )
        self._numbers = [initial, *sorted(numbers)]
        if len(self._numbers) > 1 and self._numbers[1] < initial:
            version = self._numbers[1]
            row = writers[version] if version in writers else self._sighting_of(version)
            raise Violated(
                f"{self._say.saw(row)}, but the key had {self._noun} {initial} before the history began.", row
            )
        self._check_sightings()
        starts, finishes = columns.starts, columns.finishes
        # Their intervals are known only once everything that has a number is in order.
        self._loose = [_Loose(row, True, 0, 0, starts[row], finishes[row]) for row in deletes]
        self._loose += [_Loose(row, False, 0, 0, starts[row], finishes[row]) for row in absences]

    def _sighting_of(self, version: int, value: object = _NOT_SEEN) -> int:
        """The first sighting of a version (with a value)."""
        for row in itertools.chain(self._form.sightings, self._form.absences):
            if self._versions[row] == version and (value is _NOT_SEEN or self._value_seen(row) == value):
                return row
        raise AssertionError("nobody saw that version")

    def _value_seen(self, row: int) -> Value:
        result = self._columns.results[row]
        return result if isinstance(result, bytes) else None

    def _made_twice(self, version: int, first: int, second: int) -> None:
        if self._noun == "version":
            text = (
                f"{self._say.who(first)} and {self._say.who(second)} were both told that they made version {version}."
            )
        else:
            answer = self._columns.results[second]
            assert isinstance(answer, int)
            text = (
                f"{self._say.who(first)} and {self._say.who(second)} both returned {answer}, so one of them was lost."
            )
        raise Violated(text, first, second)

    def _seen_differently(self, version: int, row: int) -> None:
        other = self._sighting_of(version, self._seen[version])
        raise Violated(
            f"{self._say.saw(row)}, but {self._say.who(other)} found {quote(self._seen[version])} under that same "
            "version: one version has one value.",
            row,
            other,
        )

    def _check_sightings(self) -> None:
        """What a mutation made must be what was seen of it, where the mutation alone says what it made."""
        columns, seen = self._columns, self._seen
        arguments, results = columns.arguments, columns.results
        for version, row in self._writers.items():
            value = seen.get(version, _NOT_SEEN)
            if value is _NOT_SEEN:
                continue
            kind = columns.kinds[row]
            if kind in (PUT, CAS, SWAP):
                right = value == arguments[row]
            elif kind == INCR:
                result = results[row]
                right = result is None or (isinstance(result, int) and value == text_of(result))
            elif kind == APPEND:
                suffix, length = arguments[row], results[row]
                assert isinstance(suffix, bytes)
                right = isinstance(value, bytes) and value.endswith(suffix) and length in (None, len(value))
            else:
                right = value is None
            if not right:
                sighting = self._sighting_of(version)
                raise Violated(
                    f"{self._say.saw(sighting)}, but that {self._noun} was made by {self._say.saw(row)}.",
                    sighting,
                    row,
                )

    # Real time.

    def _put_in_order(self) -> None:
        columns, versions = self._columns, self._versions
        starts, finishes = columns.starts, columns.finishes
        rows = [row for row in self._form.absences if versions[row]] + self._form.sightings
        rows.sort(key=starts.__getitem__)
        rows[:0] = self._writers.values()
        # Stable: of one version first who made it, then who saw it, by start.
        rows.sort(key=versions.__getitem__)  # type: ignore[arg-type]
        self._order = rows
        begun = list(map(starts.__getitem__, rows))
        ended = list(map(finishes.__getitem__, rows))
        latest = list(itertools.accumulate(begun, max))
        if any(map(operator.gt, latest, ended)):
            self._explain_time(next(at for at, pair in enumerate(zip(latest, ended, strict=True)) if pair[0] > pair[1]))
        if not self._loose and not self._form.unknowns:
            return
        earliest = list(itertools.accumulate(reversed(ended), min))
        earliest.reverse()
        numbers = list(map(versions.__getitem__, rows))
        positions = len(self._numbers)
        # At -infinity everything before the first has happened.
        self._latest_start = [-math.inf] * positions
        self._earliest_finish = [math.inf] * (positions + 1)
        at = 0
        size = len(rows)
        latest_so_far = -math.inf
        for position, number in enumerate(self._numbers):
            self._earliest_finish[position] = earliest[at] if at < size else math.inf
            while at < size and numbers[at] == number:
                at += 1
            if at:
                latest_so_far = latest[at - 1]
            self._latest_start[position] = latest_so_far

    def _explain_time(self, at: int) -> None:
        """Something earlier in order began after the operation at place `at` had finished."""
        rows, versions, say = self._order, self._versions, self._say
        starts = self._columns.starts
        late = rows[at]
        early = max(rows[:at], key=starts.__getitem__)
        low, high = versions[early], versions[late]
        wrote = self._writers.get(low or 0) == early
        noun = self._noun
        if low == high:
            raise Violated(
                f"{say.saw(late)}, but what it returned was written only later, by {say.who(early)}.", late, early
            )
        if wrote and self._writers.get(high or 0) == late:
            raise Violated(
                f"{say.saw(early)}, although it began after {say.who(late)} had made {noun} {high}: {noun}s must grow.",
                early,
                late,
            )
        if wrote:
            raise Violated(
                f"{say.saw(early)}, although before it began {say.who(late)} had already seen {noun} {high}.",
                early,
                late,
            )
        witness = [early, late]
        text = f"{say.saw(early)}, which had been overwritten before it began: "
        if self._writers.get(high or 0) == late:
            text += f"{say.saw(late)}."
        else:
            text += f"{say.saw(late)}."
            if high in self._writers:
                witness.append(self._writers[high])
        if low in self._writers:
            witness.append(self._writers[low])
        raise Violated(text, *witness)

    # Gaps.

    def _place_loose(self) -> None:
        """Give each loose operation its gaps, and join those whose gaps overlap into components."""
        latest, earliest = self._latest_start, self._earliest_finish
        for loose in self._loose:
            loose.low = bisect.bisect_left(earliest, loose.start, 1) - 1
            loose.high = bisect.bisect_right(latest, loose.finish) - 1
            if loose.low > loose.high:
                self._explain_between(loose)
        self._loose.sort(key=lambda loose: loose.low)
        for loose in self._loose:
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
        rows = [row for row in self._order if self._versions[row] == number]
        after = next(row for row in rows if starts[row] > loose.finish)
        before = next((row for row in rows if finishes[row] < loose.start), None)
        source = "the key held before the history began" if before is None else f"{self._say.who(before)} left or found"
        raise Violated(
            f"{self._say.saw(loose.row)}, but {self._say.saw(after)}, the very state that {source}: in between the key "
            "cannot have been removed.",
            loose.row,
            after,
            *([] if before is None else [before]),
        )

    def _walk(self) -> list[int]:
        self._sort_unknowns()
        initial = self._form.initial
        reached, found = self._run(0, initial, _FEW)
        if found is None:
            solid = self._last_solid(reached)
            if solid > 0:
                content = self._solid_value(solid)
                assert content is None or isinstance(content, bytes)
                failed, found = self._run(solid, content, None, until=reached)
                if found is None:
                    self._explain_gap(failed)
            reached, found = self._run(0, initial, None)
            if found is None:
                self._explain_gap(reached)
        assert found is not None
        return self._with_loose(found)

    def _sort_unknowns(self) -> None:
        columns = self._columns
        classes: dict[tuple[int, object, object], list[int]] = {}
        for row in self._form.unknowns:
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
        """The value of a position where it does not depend on what was there before, else _NOT_SEEN."""
        if position == 0:
            return self._form.initial
        number = self._numbers[position]
        row = self._writers.get(number, _INITIAL)
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
        return self._seen.get(number, _NOT_SEEN)

    def _last_solid(self, gap: int) -> int:
        """The last gap up to `gap` at whose beginning everything is known but which unknown mutations were used."""
        component = bisect.bisect_right(self._components, gap, key=lambda each: each[0]) - 1
        while gap > 0:
            while component >= 0 and self._components[component][0] >= gap:
                component -= 1
            if component >= 0 and self._components[component][0] < gap <= self._components[component][1]:
                gap = self._components[component][0]
            elif self._solid_value(gap) is not _NOT_SEEN:
                return gap
            else:
                gap -= 1
        return 0

    def _run(
        self, gap: int, content: Value, cap: int | None, until: int | None = None
    ) -> tuple[int, _Configuration | None]:
        """Walk from gap to gap; the last gap that was reached, and a configuration at the end, or None.

        With `cap`, keep only so many configurations. With `until`, stop when past that gap.
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
                passed, content = self._pass(gap, frontier[0].content, stop, cap is None)
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
                reached, after = self._cross(gap, high, frontier, members, cap)
            else:
                reached, after = self._cross(gap, gap, frontier, [], cap)
            if not after:
                return reached, None
            if reached > last:
                return last, after[0]
            gap, frontier = reached, after

    def _pass(self, gap: int, content: Value, stop: int, careful: bool) -> tuple[int, Value]:
        """Go on to `stop` at most, as long as each mutation fits the state before it and nothing else need be asked.

        With `careful`, stop also before a state whose value unknown mutations may have changed without a trace.
        """
        columns, seen, writers, numbers = self._columns, self._seen, self._writers, self._numbers
        kinds, arguments, conditions, results = columns.kinds, columns.arguments, columns.conditions, columns.results
        number = numbers[gap]
        while gap < stop:
            following = numbers[gap + 1]
            row = writers.get(following, _INITIAL)
            if row < 0:
                break
            kind = kinds[row]
            if kind == PUT and conditions[row] is None:
                content = arguments[row]  # type: ignore[assignment]
            elif kind == CAS:
                if content != conditions[row]:
                    break
                content = arguments[row]  # type: ignore[assignment]
            else:
                value = effect(kind, arguments[row], conditions[row], results[row], True, content, number)
                if value is REFUSED:
                    break
                if kind in (APPEND, INCR):
                    if seen.get(following, value) != value:
                        break
                    if (
                        careful
                        and (kind == APPEND or results[row] is None)
                        and following not in seen
                        and self._any_unknown(gap)
                    ):
                        break
                content = value  # type: ignore[assignment]
            number = following
            gap += 1
        return gap, content

    def _any_unknown(self, gap: int) -> bool:
        if not self._classes:
            return False
        limit = self._earliest_finish[gap + 1]
        return any(each.starts[0] <= limit for each in self._classes)

    def _cross(
        self, gap: int, high: int, frontier: list[_Configuration], members: list[_Loose], cap: int | None
    ) -> tuple[int, list[_Configuration]]:
        """Walk through the gaps up to `high` where something is to be placed. The gap reached, and what gets there."""
        if cap is not None and members:
            # Whoever can do without unknown mutations that nobody saw should.
            reached, after = self._steps(gap, high, frontier, members, cap, False)
            if after:
                return reached, after
        return self._steps(gap, high, frontier, members, cap, True)

    def _steps(
        self,
        gap: int,
        high: int,
        frontier: list[_Configuration],
        members: list[_Loose],
        cap: int | None,
        hidden: bool,
    ) -> tuple[int, list[_Configuration]]:
        pending: list[_Loose] = []
        bits = 0
        arriving = 0
        while True:
            while arriving < len(members) and members[arriving].low <= gap:
                loose = members[arriving]
                loose.bit = ~bits & (bits + 1)
                bits |= loose.bit
                pending.append(loose)
                arriving += 1
            after = self._step(gap, frontier, pending, hidden)
            if not after:
                return gap, []
            if cap is not None and len(after) > cap:
                after.sort(key=lambda each: each.used.bit_count() - each.absences.bit_count())
                del after[cap:]
            frontier = after
            # What was due has been placed by all of them.
            left = 0
            for loose in pending:
                if loose.high > gap:
                    left |= loose.bit
            if left != bits:
                bits = left
                pending = [loose for loose in pending if loose.high > gap]
                for each in frontier:
                    each.deletes &= left
                    each.absences &= left
            gap += 1
            if gap > high:
                return gap, frontier

    def _step(
        self, gap: int, frontier: list[_Configuration], pending: list[_Loose], hidden: bool
    ) -> list[_Configuration]:
        """Everything that can have happened in one gap: the configurations at the beginning of the next."""
        last = len(self._numbers) - 1
        due_deletes = due_absences = 0
        for loose in pending:
            if loose.high <= gap:
                if loose.is_delete:
                    due_deletes |= loose.bit
                else:
                    due_absences |= loose.bit
        number = self._numbers[gap]
        until = self._earliest_finish[gap + 1] if self._earliest_finish else math.inf
        wanted = self._wanted(gap) if hidden and self._classes else frozenset()
        visited = _Antichain()
        after = _Antichain()
        self._dead = []
        work = list(frontier)
        conditions, results = self._columns.conditions, self._columns.results
        while work:
            now = work.pop()
            if now.content is None:
                now = self._see_absence(now, gap, pending)
            if not visited.add(now):
                continue
            self._states += 1
            if not self._states & 0x3FF:
                self._tick(0x400)
            if self._states > self._budget:
                raise OutOfBudget
            open_now = [loose for loose in pending if not (now.deletes | now.absences) & loose.bit]
            limit = min((loose.finish for loose in open_now), default=math.inf)
            if now.deletes & due_deletes == due_deletes and now.absences & due_absences == due_absences:
                if gap == last:
                    after.add(now)
                else:
                    for reached in self._leave(now, gap, min(until, limit)):
                        after.add(reached)
            self._dead.append(now)
            best: dict[tuple[Argument, Answer], _Loose] = {}
            for loose in open_now:
                if loose.is_delete and loose.start <= limit:
                    call = conditions[loose.row], results[loose.row]
                    if call not in best or loose.finish < best[call].finish:
                        best[call] = loose
            for (condition, result), loose in best.items():
                version = number if now.direct else None
                left = effect(DELETE, None, condition, result, True, now.content, version)
                if left is REFUSED:
                    continue
                changed = now.content is not None
                work.append(
                    _Configuration(
                        None,
                        now.direct and not changed,
                        now.deletes | loose.bit,
                        now.absences,
                        now.used,
                        (now.trail, gap, loose.row),
                    )
                )
            if hidden:
                work.extend(self._hidden(now, gap, min(until, limit), wanted, bool(open_now)))
        return after.members

    def _see_absence(self, now: _Configuration, gap: int, pending: list[_Loose]) -> _Configuration:
        """Place every sighting of the absent key that can be placed: it changes nothing, and sooner is never worse."""
        absences, trail = now.absences, now.trail
        while True:
            open_now = [loose for loose in pending if not (now.deletes | absences) & loose.bit]
            limit = min((loose.finish for loose in open_now), default=math.inf)
            placed = [loose for loose in open_now if not loose.is_delete and loose.start <= limit]
            if not placed:
                break
            for loose in sorted(placed, key=lambda each: each.start):
                absences |= loose.bit
                trail = (trail, gap, loose.row)
        if absences == now.absences:
            return now
        return _Configuration(None, now.direct, now.deletes, absences, now.used, trail)

    def _leave(self, now: _Configuration, gap: int, until: float) -> list[_Configuration]:
        """Make the next numbered state, in every way in which it can have been made."""
        following = self._numbers[gap + 1]
        seen = self._seen.get(following, _NOT_SEEN)
        version = self._numbers[gap] if now.direct else None
        row = self._writers.get(following, _INITIAL)
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
            if value is REFUSED or (seen is not _NOT_SEEN and seen != value):
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
            if value is REFUSED or (value is None if seen is _NOT_SEEN else seen != value):
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
        self, now: _Configuration, gap: int, limit: float, wanted: "frozenset[bytes] | range | None", to_place: bool
    ) -> list[_Configuration]:
        """Unknown mutations that nobody saw."""
        version = self._numbers[gap] if now.direct else None
        reached = []
        for each in self._classes:
            if each.only_for >= 0:
                continue
            used = self._use(each, now.used, limit)
            if used is None:
                continue
            value = effect(each.kind, each.argument, each.condition, None, False, now.content, version)
            if value is REFUSED or value == now.content:
                continue
            assert value is None or isinstance(value, bytes)
            if value is not None and wanted is not None:
                fits = len(value) in wanted if isinstance(wanted, range) else value in wanted
                # Any value will do where the key must be there only so that it can be deleted.
                if not fits and not (to_place and now.content is None):
                    continue
            trail = (now.trail, gap, self._row_used(each, now.used))
            reached.append(_Configuration(value, False, now.deletes, now.absences, used, trail))
        return reached

    def _wanted(self, gap: int) -> "frozenset[bytes] | range | None":
        """Values (or lengths) that unknown mutations may have to bring about before the next state; None: any."""
        if gap + 1 == len(self._numbers):
            return frozenset()
        following = self._numbers[gap + 1]
        seen = self._seen.get(following, _NOT_SEEN)
        row = self._writers.get(following, _INITIAL)
        columns = self._columns
        first: list[Value] = []
        if row < 0:
            if seen is _NOT_SEEN or seen is None:
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
                after = result if result is not None else seen if seen is not _NOT_SEEN else None
                if isinstance(after, bytes):
                    after = number_of(after)
                if after is None:
                    return None
                assert isinstance(after, int)
                assert isinstance(argument, int)
                first.append(text_of(after - argument))
            elif kind == APPEND:
                assert isinstance(argument, bytes)
                if seen is not _NOT_SEEN:
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

    # Answers.

    def _with_loose(self, found: _Configuration) -> list[int]:
        """The whole order: what has a number, with what was placed in the gaps."""
        placed: list[tuple[int, int]] = []
        trail = found.trail
        while trail is not None:
            trail, gap, row = trail
            placed.append((gap, row))
        if not placed:
            return self._order
        placed.reverse()
        versions, numbers = self._versions, self._numbers
        order: list[int] = []
        at = 0
        for gap, row in placed:
            number = numbers[gap]
            while at < len(self._order) and (versions[self._order[at]] or 0) <= number:
                order.append(self._order[at])
                at += 1
            order.append(row)
        order.extend(self._order[at:])
        starts, finishes = self._columns.starts, self._columns.finishes
        latest = itertools.accumulate(map(starts.__getitem__, order), max)
        assert not any(map(operator.gt, latest, map(finishes.__getitem__, order))), "an order against real time"
        return order

    def _explain_orphan(self, number: int) -> None:
        """A state that somebody saw, or demanded, and that nobody can have made."""
        columns, say = self._columns, self._say
        if number not in self._seen:
            row = next(row for row in self._form.mutations if columns.conditions[row] == number)
            raise Violated(f"{say.saw(row)}, but no operation can have made that version before it.", row)
        row = self._sighting_of(number)
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
            for each in self._form.mutations
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
        elif answered and self._noun == "version":
            text = f"but {say.saw(answered[0])}; nobody made that version."
            witness.append(answered[0])
        else:
            text = "which nobody wrote."
        raise Violated(f"{say.saw(row)}, {text}", *witness)

    def _explain_gap(self, gap: int) -> None:
        """Nothing gets out of this gap. Why: the next mutation does not fit, or what had to be in it cannot."""
        say = self._say
        last = len(self._numbers) - 1
        component = bisect.bisect_right(self._components, gap, key=lambda each: each[0]) - 1
        members = self._components[component][2] if component >= 0 and self._components[component][1] >= gap else []
        due = [loose for loose in members if loose.high <= gap]
        stuck: dict[int, int] = {}
        free: list[_Configuration] = []
        for now in self._dead:
            missing = [loose for loose in due if not (now.deletes | now.absences) & loose.bit]
            if missing:
                for loose in missing:
                    stuck[loose.row] = stuck.get(loose.row, 0) + 1
            else:
                free.append(now)
        before = self._maker(gap)
        if free and gap < last:
            following = self._numbers[gap + 1]
            row = self._writers.get(following, _INITIAL)
            if row < 0:
                self._explain_orphan(following)
            contents = list(dict.fromkeys(each.content for each in free))
            held = " or ".join(quote(value) for value in contents[:3])
            source = f", left by {say.who(before)}" if before is not None and len(contents) == 1 else ""
            seen = self._seen.get(following, _NOT_SEEN)
            text = f"{say.saw(row)}"
            witness = [row]
            if seen is not _NOT_SEEN:
                sighting = self._sighting_of(following)
                text += f" and {say.saw(sighting)}"
                witness.append(sighting)
            text += f", but the key can only have held {held} just before{source}."
            if before is not None:
                witness.append(before)
            raise Violated(text, *witness)
        row = max(stuck, key=lambda each: (stuck[each], -each))
        loose = next(each for each in due if each.row == row)
        lower = self._maker(loose.low)
        upper = self._maker(loose.high + 1) if loose.high < last else None
        text = f"{say.saw(row)}, but "
        if loose.is_delete:
            text += "there was nothing to remove at any moment at which it can have run"
        else:
            text += "the key held a value all the time"
        witness = [row]
        if lower is not None:
            text += f": it was set by {say.who(lower)}"
            witness.append(lower)
            if upper is not None and upper != lower:
                text += f", later by {say.who(upper)}"
        if upper is not None and upper not in witness:
            witness.append(upper)
        text += ", and no other delete can account for it." if not loose.is_delete else "."
        others = [each.row for each in members if each.is_delete and each.row != row and each.low <= loose.high]
        witness.extend(others[: 6 - len(witness)])
        raise Violated(text, *witness)

    def _maker(self, position: int) -> int | None:
        """Who made a state, or saw it."""
        if position == 0 or position >= len(self._numbers):
            return None
        number = self._numbers[position]
        row = self._writers.get(number)
        if row is None and number in self._seen:
            row = self._sighting_of(number)
        return row


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
