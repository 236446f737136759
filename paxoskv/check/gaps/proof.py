"""Proofs that there is no order, from a gap or a few, with everything to be had in each that real time allows."""

import collections
from typing import TYPE_CHECKING, Final, NoReturn

from paxoskv.check.gaps import explain
from paxoskv.check.gaps.layout import Layout
from paxoskv.check.gaps.moves import Moves
from paxoskv.check.gaps.parts import Antichain, Configuration
from paxoskv.check.history import DELETE, Value
from paxoskv.check.normal import NOT_SEEN
from paxoskv.check.semantics import REFUSED, effect

if TYPE_CHECKING:
    from paxoskv.check.chain import Chain

_STATES_MAX: Final = 20_000
_GAPS_MAX: Final = 1_000


class Proof:
    """That a key's history has no order, if that shows where a walk ended."""

    def __init__(self, chain: "Chain", layout: Layout, moves: Moves) -> None:
        self._chain = chain
        self._layout = layout
        self._moves = moves
        self._columns = chain.columns
        self._numbers = chain.numbers

    def of_one_gap(self, gap: int) -> None:
        """Raise Violated if one gap alone, or those of one loose operation, show that there is no order."""
        last = len(self._numbers) - 1
        if gap < last:
            relaxed = self._relax(gap)
            if relaxed is not None and not relaxed[1]:
                explain.link(self._chain, self._layout.classes, gap, relaxed[0])
        for loose in self._layout.members(gap):
            if loose.low <= gap <= loose.high and loose.high - loose.low <= _GAPS_MAX:
                for each in range(loose.low, loose.high + 1):
                    relaxed = self._relax(each)
                    if relaxed is None or (
                        any(value is not None for value in relaxed[0]) if loose.is_delete else None in relaxed[0]
                    ):
                        break
                else:
                    explain.stuck(self._chain, self._layout.members(loose.low), loose)

    def _relax(self, gap: int) -> tuple[list[Value], bool] | None:
        """What a key can at most have held in a gap, and whether the gap can be left, if every delete and every unknown
        mutation that real time allows were to be had in it. None if that is not known, or takes long to say.
        """
        value = self._layout.solid_value(gap)
        if value is NOT_SEEN:
            return None
        assert value is None or isinstance(value, bytes)
        columns = self._columns
        calls = {
            (columns.conditions[loose.row], columns.results[loose.row])
            for loose in self._layout.members(gap)
            if loose.is_delete and loose.low <= gap <= loose.high
        }
        until = self._chain.finish_after(gap)
        unseen = self._moves.unseen(gap)
        work = [Configuration(value, True, 0, 0, 0, None)]
        visited = Antichain()
        contents: dict[Value, None] = {}
        leaves = False
        states = 0
        while work:
            now = work.pop()
            if not visited.add(now):
                continue
            states += 1
            if states > _STATES_MAX:
                return None
            contents[now.content] = None
            leaves = leaves or bool(self._moves.end(now, gap, until))
            version = self._numbers[gap] if now.direct else None
            for condition, result in calls:
                if effect(DELETE, None, condition, result, True, now.content, version) is not REFUSED:
                    work.append(Configuration(None, now.direct and now.content is None, 0, 0, now.used, None))
            if unseen is not None:
                work.extend(self._moves.hidden(now, gap, until, True, unseen))
        return list(contents), leaves

    def of_dead_end(self, gap: int) -> NoReturn:
        """Nothing gets out of this gap: the next mutation does not fit, or what has to be in it cannot be."""
        due = [loose for loose in self._layout.members(gap) if loose.high == gap]
        stuck: collections.Counter[int] = collections.Counter()
        contents: dict[Value, None] = {}
        for now in self._moves.dead:
            missing = [at for at, loose in enumerate(due) if not (now.deletes | now.absences) & loose.bit]
            stuck.update(missing)
            if not missing:
                contents[now.content] = None
        if contents and gap + 1 < len(self._numbers):
            explain.link(self._chain, self._layout.classes, gap, list(contents))
        loose = due[stuck.most_common(1)[0][0]]
        explain.stuck(self._chain, self._layout.members(loose.low), loose)
