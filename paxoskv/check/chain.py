"""Histories whose states have numbers that grow: versions, the values of a counter, the lengths of a list.

The numbered states stand in a row, V1 < V2 < ...; what each was made by and seen by is known, so the only order there
can be is theirs, and real time agrees with it or not, in one pass. Whether each state follows from the one before it,
and where in between there is room for what has no number, is for `gaps`.
"""

import bisect
import itertools
import math
import operator
from collections.abc import Sequence

from paxoskv.check.gaps.walk import Walk
from paxoskv.check.history import APPEND, CAS, DELETE, INCR, PUT, SWAP, Answer, Columns, Value
from paxoskv.check.normal import NOBODY, NOT_SEEN, Finding, NormalForm, OutOfBudget, Tick, Violated
from paxoskv.check.semantics import text_of
from paxoskv.check.sentences import Speaker, quote
from paxoskv.check.verdict import Verdict, Way


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
        noun: str = "version",
    ) -> None:
        self.form = form
        self.columns: Columns = form.columns
        self.versions = versions
        self.say = speaker
        self.noun = noun
        self.numbers: list[int] = []
        """Of the states, ascending; the first is the initial one."""
        self.writers: dict[int, int] = {}
        """Who made a state, by its number."""
        self.seen: dict[int, Value] = {}
        """What was seen of a state, by its number."""
        self.order: list[int] = []
        """Rows that have a number, in order."""
        self.loose: list[int] = []
        """Deletes and sightings of the absent key that have none."""
        self._initial = initial
        self._numbers_in_order: list[int] = []
        """Beside `order`, the numbers,"""
        self._latest_start: list[float] = []
        """the latest start of anything up to there,"""
        self._earliest_finish: list[float] = []
        """and the earliest finish of anything from there on."""

    def check(self, way: Way, budget: int, tick: Tick) -> Finding | None:
        """The verdict, with an order or a witness; None where this way of checking is not exact."""
        walk = None
        try:
            self._number_states()
            self._put_in_order()
            walk = Walk(self, budget, tick)
            order = walk.find_order()
        except Violated as violated:
            if not self._is_exact():
                return None
            states = walk.states if walk else 0
            return Finding(Verdict.ILLEGAL, way, None, violated.sentence, violated.witness, states)
        except OutOfBudget:
            sentence = f"The budget of {budget:,} states was used up before an order was found or excluded."
            return Finding(Verdict.UNKNOWN, way, None, sentence, (), budget)
        return Finding(Verdict.OK, way, order, states=walk.states)

    def _is_exact(self) -> bool:
        """Whether finding no order means that there is none."""
        columns, form = self.columns, self.form
        kinds, conditions = columns.kinds, columns.conditions
        # What nobody saw may have had a version that an unanswered mutation demanded.
        known = set(self.numbers)
        if any(
            kinds[row] in (PUT, DELETE) and conditions[row] and conditions[row] not in known for row in form.unknowns
        ):
            return False
        # A sighting of the absent key without a number may belong amid those of a numbered state.
        return None not in self.seen.values() or all(map(self.versions.__getitem__, form.absences))

    # What can be seen without any order.

    def _number_states(self) -> None:
        form, columns, versions = self.form, self.columns, self.versions
        made = list(map(versions.__getitem__, form.mutations))
        if all(made):
            deletes = []
            makers = form.mutations
        else:
            deletes = [row for row in form.mutations if not versions[row]]
            makers = [row for row in form.mutations if versions[row]]
            made = list(map(versions.__getitem__, makers))
        writers: dict[int, int] = dict(zip(made, makers, strict=True))  # type: ignore[arg-type]
        self.writers = writers
        if len(writers) < len(makers):
            self._explain_made_twice(makers)
        seers = form.sightings
        values: list[Answer] = list(map(columns.results.__getitem__, seers))
        absences = [row for row in form.absences if not versions[row]]
        if len(absences) < len(form.absences):
            gone = [row for row in form.absences if versions[row]]
            seers = seers + gone
            values += [None] * len(gone)
        told = list(map(versions.__getitem__, seers))
        seen: dict[int, Value] = dict(zip(told, values, strict=True))  # type: ignore[arg-type]
        self.seen = seen
        if not all(map(operator.eq, map(seen.__getitem__, told), values)):  # type: ignore[arg-type]
            self._explain_seen_differently(seers)
        demanded: set[int] = set()
        if int in set(map(type, map(columns.conditions.__getitem__, form.mutations))):
            demanded = {
                condition
                for row in form.mutations
                if isinstance(condition := columns.conditions[row], int) and condition > 0
            }
        numbers: set[int] = set()
        if seen.keys() <= writers.keys() and demanded <= writers.keys():
            numbers.update(writers)
        else:
            numbers = writers.keys() | seen.keys() | demanded
        initial = self._initial
        if initial:
            numbers.discard(initial)
            if initial in writers:
                row = writers[initial]
                raise Violated(f"{self.say.saw(row)}, which the key already had before the history began.", row)
            if seen.get(initial, form.initial) != form.initial:
                row = self.sighting_of(initial)
                raise Violated(
                    f"{self.say.saw(row)}, but before the history began that {self.noun} was {quote(form.initial)}.",
                    row,
                )
        self.numbers = [initial, *sorted(numbers)]
        if len(self.numbers) > 1 and self.numbers[1] < initial:
            version = self.numbers[1]
            row = writers[version] if version in writers else self.sighting_of(version)
            raise Violated(f"{self.say.saw(row)}, but the key had {self.noun} {initial} before the history began.", row)
        self._check_sightings()
        self.loose = [*deletes, *absences]

    def sighting_of(self, version: int, value: object = NOT_SEEN) -> int:
        """The first sighting of a version (with a value)."""
        for row in itertools.chain(self.form.sightings, self.form.absences):
            if self.versions[row] == version and (value is NOT_SEEN or self._value_seen(row) == value):
                return row
        raise AssertionError("nobody saw that version")

    def _value_seen(self, row: int) -> Value:
        result = self.columns.results[row]
        return result if isinstance(result, bytes) else None

    def _explain_made_twice(self, makers: list[int]) -> None:
        first: dict[int, int] = {}
        columns = self.columns
        for second in makers:
            version = self.versions[second]
            assert version
            row = first.setdefault(version, second)
            if row == second:
                continue
            both = f"{self.say.who(row)} and {self.say.who(second)}"
            if self.noun == "version":
                raise Violated(f"{both} were both told that they made version {version}.", row, second)
            raise Violated(f"{both} both returned {columns.results[second]!r}, so one of them was lost.", row, second)

    def _explain_seen_differently(self, seers: list[int]) -> None:
        first: dict[int, int] = {}
        for row in seers:
            version = self.versions[row]
            assert version
            other = first.setdefault(version, row)
            value = self._value_seen(other)
            if self._value_seen(row) != value:
                raise Violated(
                    f"{self.say.saw(row)}, but {self.say.who(other)} found {quote(value)} under that same "
                    "version: one version has one value.",
                    row,
                    other,
                )

    def _check_sightings(self) -> None:
        """What a mutation made must be what was seen of it, where the mutation alone says what it made."""
        columns, seen = self.columns, self.seen
        arguments, results = columns.arguments, columns.results
        kinds, writers = columns.kinds, self.writers
        for version, value in seen.items():
            row = writers.get(version, NOBODY)
            if row < 0:
                continue
            argument = arguments[row]
            # Of an append there is more to be said, when its turn comes.
            if argument is not None and value == argument:
                continue
            kind = kinds[row]
            if kind in (PUT, CAS, SWAP):
                right = False
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
                sighting = self.sighting_of(version)
                raise Violated(
                    f"{self.say.saw(sighting)}, but that {self.noun} was made by {self.say.saw(row)}.",
                    sighting,
                    row,
                )

    # Real time.

    def _put_in_order(self) -> None:
        columns, versions = self.columns, self.versions
        starts, finishes = columns.starts, columns.finishes
        seers = [row for row in self.form.absences if versions[row]] + self.form.sightings
        for in_order in (False, True):
            if in_order:
                seers.sort(key=starts.__getitem__)
            rows = [*self.writers.values(), *seers]
            # Stable: of one version first who made it, then who saw it: as they come, which is good enough where a
            # history is ordered by start or by finish, and otherwise by start.
            rows.sort(key=versions.__getitem__)  # type: ignore[arg-type]
            ended = list(map(finishes.__getitem__, rows))
            latest = list(itertools.accumulate(map(starts.__getitem__, rows), max))
            self.order = rows
            if not any(map(operator.gt, latest, ended)):
                break
        else:
            self._explain_time(next(at for at, pair in enumerate(zip(latest, ended, strict=True)) if pair[0] > pair[1]))
        if not self.loose and not self.form.unknowns:
            return
        earliest = list(itertools.accumulate(reversed(ended), min))
        earliest.reverse()
        self._latest_start, self._earliest_finish = latest, earliest
        self._numbers_in_order = list(map(versions.__getitem__, rows))  # type: ignore[arg-type]

    def end_of(self, gap: int) -> int:
        """The place in `order` of what comes first after a gap."""
        return bisect.bisect_right(self._numbers_in_order, self.numbers[gap])

    def finish_after(self, gap: int) -> float:
        """The earliest finish of anything that comes after a gap."""
        at = self.end_of(gap)
        return self._earliest_finish[at] if at < len(self._earliest_finish) else math.inf

    def first_gap(self, start: float) -> int:
        """The first gap after which nothing finishes before `start`."""
        at = bisect.bisect_left(self._earliest_finish, start)
        if at == 0:
            return 0
        # Whoever finished before belongs to this state or an earlier one.
        return bisect.bisect_left(self.numbers, self._numbers_in_order[at - 1])

    def last_gap(self, finish: float) -> int:
        """The last gap before which nothing starts after `finish`; -1 if there is none."""
        at = bisect.bisect_right(self._latest_start, finish)
        if at == len(self._latest_start):
            return len(self.numbers) - 1
        return bisect.bisect_left(self.numbers, self._numbers_in_order[at]) - 1

    def _explain_time(self, at: int) -> None:
        """Something earlier in order began after the operation at place `at` had finished."""
        rows, versions, say = self.order, self.versions, self.say
        starts = self.columns.starts
        late = rows[at]
        early = max(rows[:at], key=starts.__getitem__)
        low, high = versions[early], versions[late]
        wrote = self.writers.get(low or 0) == early
        noun = self.noun
        if low == high:
            raise Violated(
                f"{say.saw(late)}, but what it returned was written only later, by {say.who(early)}.", late, early
            )
        if wrote and self.writers.get(high or 0) == late:
            if noun == "list":
                self._explain_list(early, late)
            because = f"{say.who(late)} had made version {high}" if noun == "version" else say.saw(late)
            raise Violated(f"{say.saw(early)}, although it began after {because}: {noun}s must grow.", early, late)
        if wrote:
            already = f"{say.who(late)} had already seen version {high}" if noun == "version" else say.saw(late)
            raise Violated(f"{say.saw(early)}, although before it began {already}.", early, late)
        witness = [early, late]
        text = f"{say.saw(early)}, which had been overwritten before it began: "
        if self.writers.get(high or 0) == late:
            text += f"{say.saw(late)}."
        else:
            text += f"{say.saw(late)}."
            if high in self.writers:
                witness.append(self.writers[high])
        if low in self.writers:
            witness.append(self.writers[low])
        raise Violated(text, *witness)

    def _explain_list(self, early: int, late: int) -> None:
        """Of two appends one began after the other was done, but the list has them the other way round."""
        say, versions = self.say, self.versions
        longest = max(self.form.sightings, key=lambda row: versions[row] or 0, default=NOBODY)
        if longest != NOBODY and (versions[longest] or 0) >= (versions[late] or 0):
            text = f"{say.saw(longest)}, where {say.who(early)} comes before {say.who(late)}"
            raise Violated(f"{text}, although it began only after that had succeeded.", longest, early, late)
        # Nobody saw it, but they told how long the list was.
        text = f"{say.saw(early)}, although it began after {say.saw(late)}"
        raise Violated(f"{text}: it must have found a longer list.", early, late)

    def maker(self, position: int) -> int | None:
        """Who made a state, or saw it."""
        if position == 0 or position >= len(self.numbers):
            return None
        number = self.numbers[position]
        row = self.writers.get(number)
        if row is None and number in self.seen:
            row = self.sighting_of(number)
        return row
