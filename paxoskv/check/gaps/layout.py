"""What has to be placed in gaps, and where it can go: known before the walk begins."""

import bisect
from typing import TYPE_CHECKING

from paxoskv.check.gaps import explain
from paxoskv.check.gaps.parts import Loose, UnknownClass
from paxoskv.check.history import CAS, DELETE, INCR, OK, PUT, SWAP
from paxoskv.check.normal import NOBODY, NOT_SEEN
from paxoskv.check.semantics import REFUSED, effect, text_of

if TYPE_CHECKING:
    from paxoskv.check.chain import Chain


class Layout:
    """Loose operations, and mutations of unknown outcome, of one key.

    Raises Violated where they alone show that there is no order.
    """

    def __init__(self, chain: "Chain") -> None:
        self.components: list[tuple[int, int, list[Loose]]] = []
        """Loose operations whose intervals overlap: first gap, last gap, members by first gap."""
        self.classes: list[UnknownClass] = []
        self._chain = chain
        self._columns = chain.columns
        self._numbers = chain.numbers
        self._writers = chain.writers
        self._seen = chain.seen
        self._place_loose()
        self._sort_unknowns()

    def _place_loose(self) -> None:
        """Give each loose operation its gaps, and join those whose gaps overlap into components."""
        chain, columns = self._chain, self._columns
        everything: list[Loose] = []
        for row in chain.loose:
            is_delete = columns.kinds[row] == DELETE and columns.results[row] is not False
            is_delete = is_delete and columns.conditions[row] != 0 and columns.outcomes[row] == OK
            start, finish = columns.starts[row], columns.finishes[row]
            loose = Loose(row, is_delete, chain.first_gap(start), chain.last_gap(finish), start, finish)
            if loose.low > loose.high:
                explain.between(chain, loose)
            everything.append(loose)
        everything.sort(key=lambda loose: loose.low)
        for loose in everything:
            if self.components and loose.low <= self.components[-1][1]:
                low, high, members = self.components[-1]
                members.append(loose)
                self.components[-1] = low, max(high, loose.high), members
            else:
                self.components.append((loose.low, loose.high, [loose]))

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
            self.classes.append(
                UnknownClass(
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
            makers = [each for each in self.classes if each.can_make(self._seen[number])]
            if len(makers) > 1 or (makers and len(makers[0].rows) > 1):
                continue
            if not makers or makers[0].only_for >= 0:
                explain.orphan(self._chain, self.classes, number)
            makers[0].only_for = bisect.bisect_left(self._numbers, number)

    def solid_value(self, position: int) -> object:
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

    def last_solid(self, gap: int) -> int:
        """The last gap up to `gap` at whose beginning everything is known but which unknown mutations were used."""
        component = bisect.bisect_right(self.components, gap, key=lambda each: each[0]) - 1
        while gap > 0:
            while component >= 0 and self.components[component][0] >= gap:
                component -= 1
            if component >= 0 and self.components[component][0] < gap <= self.components[component][1]:
                gap = self.components[component][0]
            elif self.solid_value(gap) is not NOT_SEEN:
                return gap
            else:
                gap -= 1
        return 0

    def members(self, gap: int) -> list[Loose]:
        """The loose operations of the component that a gap belongs to."""
        at = bisect.bisect_right(self.components, gap, key=lambda each: each[0]) - 1
        return self.components[at][2] if at >= 0 and self.components[at][1] >= gap else []

    def can_be_absent(self, gap: int) -> bool:
        """Whether the next mutation lets the key be absent before it."""
        if gap + 1 == len(self._numbers):
            return True
        following = self._numbers[gap + 1]
        row = self._writers.get(following, NOBODY)
        if row < 0:
            return bool(self.classes)
        columns = self._columns
        kind, argument, condition = columns.kinds[row], columns.arguments[row], columns.conditions[row]
        value = effect(kind, argument, condition, columns.results[row], True, None, None)
        return value is not REFUSED and self._seen.get(following, value) == value

    def any_unknown(self, gap: int) -> bool:
        if not self.classes:
            return False
        limit = self._chain.finish_after(gap)
        return any(each.starts[0] <= limit for each in self.classes)
