"""Registers in which every write is recognisable by its value: an order is found or excluded without a search.

The cluster of a value is its writer and whoever saw it. A mutation that also tells what it replaced ties its cluster to
another, and tied clusters follow each other directly, whatever the order: they are a block. Of a block only two times
matter, the earliest finish and the latest start: whatever comes after it must not end before the latter, whatever
comes before it must not begin after the former. A block whose earliest finish lies before its latest start occupies
the time between (Gibbons and Korach, Testing Shared Memories, 1997, call it a forward zone): two such must not
overlap, and no block may fit wholly inside one. Nothing else can go wrong.

A mutation of unknown outcome counts from its start to infinity if anybody saw its value, and otherwise as never having
happened.
"""

import itertools
import math
import operator
from typing import Final

from paxoskv.check.history import CAS, DELETE, FAILED, INCR, OK, PUT, SWAP, Value
from paxoskv.check.normal import Finding, NormalForm, Violated
from paxoskv.check.semantics import text_of
from paxoskv.check.sentences import Speaker, quote
from paxoskv.check.verdict import WITNESS_OPERATIONS_MAX, Verdict, Way

_NONE: Final = -1
_INITIAL: Final = 0
_ZERO: Final = b""
"""What an increment from 0 found, until it is known whether that was "0" or an absent key."""
_WRITES: Final = frozenset((PUT, CAS, SWAP))


class NotRecognisable(Exception):
    """Why zones do not apply to a key, as half a sentence."""


class Zones:
    """The check of one key, with `orders` also an order if there is one.

    Raises NotRecognisable where it does not apply.
    """

    def __init__(self, form: NormalForm, speaker: Speaker, orders: bool) -> None:
        self._form = form
        self._columns = form.columns
        self._say = speaker
        self._orders = orders
        self.exact = True
        """Whether ILLEGAL is a proof: unknown mutations that no value identifies are left out. OK always is one."""
        self._sources: dict[int, Value] = {}
        """What a mutation replaced, by row, where it tells."""
        self._writers: list[int] = [_NONE]
        """Row by cluster; cluster 0 is the initial value's."""
        self._clusters: dict[Value, int] = {form.initial: _INITIAL}
        self._seers: list[int] = []
        """Rows that only look, and beside them the clusters at which they look."""
        self._seen: list[int] = []
        self._earliest: list[float] = []
        self._latest: list[float] = []
        self._before: list[int] = []
        self._after: list[int] = []
        self._recognise()

    def check(self) -> Finding:
        """The verdict, with an order or a witness."""
        try:
            self._look()
            self._tie()
            blocks = self._blocks()
            order = self._put_in_order(blocks) if self._orders else None
        except Violated as violated:
            return Finding(Verdict.ILLEGAL, Way.ZONES, None, violated.sentence, violated.witness)
        return Finding(Verdict.OK, Way.ZONES, order)

    # Who wrote what.

    def _recognise(self) -> None:
        form, columns = self._form, self._columns
        kinds, arguments, conditions, results = columns.kinds, columns.arguments, columns.conditions, columns.results
        sources = self._sources
        mutations = form.mutations
        written: list[Value] = []
        write = written.append
        for row in mutations:
            kind = kinds[row]
            if kind == PUT:
                condition = conditions[row]
                if condition is not None:
                    if condition != 0:
                        raise NotRecognisable("a put demands a version, and not every answer tells one")
                    sources[row] = None
                write(arguments[row])  # type: ignore[arg-type]
            elif kind == CAS:
                sources[row] = conditions[row]  # type: ignore[assignment]
                write(arguments[row])  # type: ignore[arg-type]
            elif kind == SWAP:
                sources[row] = results[row]  # type: ignore[assignment]
                write(arguments[row])  # type: ignore[arg-type]
            elif kind == INCR and isinstance(results[row], int):
                number, amount = results[row], arguments[row]
                assert isinstance(number, int)
                assert isinstance(amount, int)
                sources[row] = text_of(number - amount) if number != amount else _ZERO
                write(text_of(number))
            elif kind == DELETE:
                raise NotRecognisable("the key was deleted, and one absence looks like another")
            else:
                raise NotRecognisable("what an append or a blind increment leaves depends on what was there")
        clusters = self._clusters
        clusters.update(zip(written, range(1, len(written) + 1), strict=True))
        if len(clusters) != len(written) + 1:
            raise NotRecognisable("the same value was written twice")
        self._writers += mutations
        for row, source in sources.items():
            if source == _ZERO and kinds[row] == INCR:
                if clusters.get(None) == _INITIAL and b"0" in clusters:
                    raise NotRecognisable('an increment may have found "0" or an absent key')
                sources[row] = None if None in clusters else b"0"
                self.exact &= all(arguments[each] != b"0" for each in form.unknowns)
        self._admit_unknown()

    def _admit_unknown(self) -> None:
        """Take in the mutations of unknown outcome that somebody saw."""
        form, columns = self._form, self._columns
        kinds, arguments, conditions = columns.kinds, columns.arguments, columns.conditions
        if not form.unknowns:
            return
        candidates: dict[Value, int] = {}
        for row in form.unknowns:
            if kinds[row] not in _WRITES or (kinds[row] == PUT and conditions[row]):
                self.exact = False
                continue
            value = arguments[row]
            assert isinstance(value, bytes)
            if value in self._clusters or candidates.setdefault(value, row) != row:
                self.exact = False
        results = columns.results
        missing = {results[row] for row in form.sightings if results[row] not in self._clusters}
        missing.update(source for source in self._sources.values() if source not in self._clusters)
        work = [value for value in missing if value in candidates]
        while work:
            value = work.pop()
            assert value is None or isinstance(value, bytes)
            if value not in candidates:
                continue
            row = candidates.pop(value)
            self._clusters[value] = len(self._writers)
            self._writers.append(row)
            if kinds[row] == CAS or (kinds[row] == PUT and conditions[row] == 0):
                source = conditions[row] if kinds[row] == CAS else None
                self._sources[row] = source  # type: ignore[assignment]
                if source in candidates:
                    work.append(source)

    # Rules 1 and 2.

    def _look(self) -> None:
        form, columns = self._form, self._columns
        starts, finishes, results = columns.starts, columns.finishes, columns.results
        clusters, writers = self._clusters, self._writers
        seers = form.sightings + form.absences
        values: list[Value] = list(map(results.__getitem__, form.sightings))  # type: ignore[arg-type]
        values += [None] * len(form.absences)
        seen = list(map(clusters.get, values))
        if None in seen:
            at = seen.index(None)
            self._explain_unwritten(seers[at], values[at])
        self._seers, self._seen = seers, seen  # type: ignore[assignment]
        earliest = [-math.inf, *map(finishes.__getitem__, writers[1:])]
        latest = [-math.inf, *map(starts.__getitem__, writers[1:])]
        begun = latest.copy()
        times = zip(map(starts.__getitem__, seers), map(finishes.__getitem__, seers), self._seen, strict=True)
        for start, finish, cluster in times:
            if start > latest[cluster]:
                latest[cluster] = start
            if finish < earliest[cluster]:
                earliest[cluster] = finish
        if any(map(operator.lt, earliest, begun)):
            self._explain_future(begun)
        self._earliest, self._latest = earliest, latest

    def _explain_future(self, begun: list[float]) -> None:
        finishes = self._columns.finishes
        for row, cluster in zip(self._seers, self._seen, strict=True):
            if finishes[row] < begun[cluster]:
                writer = self._writers[cluster]
                raise Violated(
                    f"{self._say.saw(row)}, but that was written only later, by {self._say.who(writer)}.", row, writer
                )

    def _explain_unwritten(self, row: int, value: Value) -> None:
        columns, say = self._columns, self._say
        if columns.kinds[row] == INCR and row in self._sources:
            text = f"{say.saw(row)}, so the key held {quote(value)} before, which nobody wrote"
        elif row in self._sources:
            text = f"{say.saw(row)}, so the key held {quote(value)}, which nobody wrote"
        elif value is None:
            text = f"{say.saw(row)}, but the key was there from the beginning, and nobody removed it"
        else:
            text = f"{say.saw(row)}, which nobody wrote"
        for failed, outcome in enumerate(columns.outcomes):
            if outcome == FAILED and columns.kinds[failed] in _WRITES and columns.arguments[failed] == value:
                raise Violated(f"{text} but {say.who(failed)}, which had certainly failed.", row, failed)
        raise Violated(f"{text}.", row)

    # Rule 3.

    def _tie(self) -> None:
        clusters, writers, say = self._clusters, self._writers, self._say
        before = self._before = [_NONE] * len(writers)
        after = self._after = [_NONE] * len(writers)
        sources = self._sources
        if not sources:
            return
        for cluster in range(1, len(writers)):
            row = writers[cluster]
            if row not in sources:
                continue
            source = clusters.get(sources[row], _NONE)
            if source == _NONE:
                self._explain_unwritten(row, sources[row])
            if after[source] != _NONE:
                other = writers[after[source]]
                witness = [row, other]
                if source != _INITIAL:
                    witness.append(writers[source])
                value = sources[row]
                held = "an absent key" if value is None else quote(value)
                raise Violated(
                    f"{say.saw(row)} and {say.saw(other)}: both replaced {held}, and it was there only once.", *witness
                )
            after[source] = cluster
            before[cluster] = source

    # Rules 4 and 5.

    def _blocks(self) -> list[int]:
        """The first clusters of the blocks, in order."""
        earliest, latest, before, after = self._earliest, self._latest, self._before, self._after
        roots = [cluster for cluster, tied in enumerate(before) if tied == _NONE]
        # Of a whole block, where that is more than one cluster.
        finishes, starts = list(map(earliest.__getitem__, roots)), list(map(latest.__getitem__, roots))
        met = len(roots)
        for at, root in enumerate(roots):
            cluster = after[root]
            if cluster == _NONE:
                continue
            finish, start = finishes[at], starts[at]
            while cluster != _NONE:
                if earliest[cluster] < start:
                    self._explain_chain(root, cluster)
                finish = min(finish, earliest[cluster])
                start = max(start, latest[cluster])
                met += 1
                cluster = after[cluster]
            finishes[at], starts[at] = finish, start
        if met < len(before):
            self._explain_circle()
        # By the earliest finish of those that are forward, by the latest start of those that are not, and these first
        # where that is the same: then every block comes after those that ended something before it began something.
        keys = list(map(min, finishes, starts))
        is_forward = list(map(operator.lt, finishes, starts))
        places = [at for at, forward in enumerate(is_forward) if not forward]
        places += itertools.compress(range(len(roots)), is_forward)
        places.sort(key=keys.__getitem__)
        # Unless one that comes earlier in this order began something after one that comes later ended something.
        begun = list(itertools.accumulate(map(starts.__getitem__, places), max))
        ended = list(map(finishes.__getitem__, places))
        if any(map(operator.gt, begun, ended[1:])):
            at = next(at for at, pair in enumerate(zip(begun, ended[1:], strict=False)) if pair[0] > pair[1])
            early = max(places[: at + 1], key=starts.__getitem__)
            self._explain_overlap(roots[early], roots[places[at + 1]])
        return list(map(roots.__getitem__, places))

    def _put_in_order(self, roots: list[int]) -> list[int]:
        after, writers = self._after, self._writers
        clusters: list[int] = []
        for root in roots:
            cluster = root
            while cluster != _NONE:
                clusters.append(cluster)
                cluster = after[cluster]
        places = [0] * len(writers)
        for place, cluster in enumerate(clusters):
            places[cluster] = place
        starts, finishes = self._columns.starts, self._columns.finishes
        seers = sorted(zip(self._seers, self._seen, strict=True), key=lambda pair: starts[pair[0]])
        keys = dict(zip(writers[1:], places[1:], strict=True))
        keys.update((row, places[cluster]) for row, cluster in seers)
        # Stable: of one cluster first who wrote, then who saw, by start.
        order = sorted(keys, key=keys.__getitem__)
        latest = itertools.accumulate(map(starts.__getitem__, order), max)
        assert not any(map(operator.gt, latest, map(finishes.__getitem__, order))), "an order against real time"
        return order

    # Why not.

    def _members(self, clusters: list[int]) -> list[int]:
        wanted = set(clusters)
        rows = [self._writers[cluster] for cluster in clusters if cluster != _INITIAL]
        return rows + [row for row, cluster in zip(self._seers, self._seen, strict=True) if cluster in wanted]

    def _chain_of(self, cluster: int) -> list[int]:
        chain = [cluster]
        while self._after[chain[-1]] != _NONE:
            chain.append(self._after[chain[-1]])
        return chain

    def _value_of(self, row: int) -> Value:
        """The value that a row wrote or saw."""
        columns = self._columns
        kind, result = columns.kinds[row], columns.results[row]
        if row in self._form.unknowns or (columns.outcomes[row] == OK and kind in _WRITES):
            return columns.arguments[row]  # type: ignore[return-value]
        if kind == INCR and isinstance(result, int) and columns.outcomes[row] == OK:
            return text_of(result)
        return result if isinstance(result, bytes) else None

    def _explain_chain(self, root: int, cluster: int) -> None:
        """Something of a later cluster finished before something of an earlier one, tied to it, began."""
        starts, finishes, say = self._columns.starts, self._columns.finishes, self._say
        earlier = self._chain_of(root)
        earlier = earlier[: earlier.index(cluster)]
        first = min(self._members([cluster]), key=finishes.__getitem__)
        late = max(self._members(earlier), key=starts.__getitem__)
        source = self._before[cluster]
        tie = self._writers[cluster]
        witness = [late, first, tie]
        text = f"{say.saw(late)}, but before it began "
        if first == tie:
            text += f"{say.saw(first)}"
        else:
            text += f"{say.saw(first)}"
            if self._value_of(late) == self._value_of(self._writers[source]):
                text += f", which {say.who(tie)} had put in its place"
        if late != self._writers[source] and source != _INITIAL:
            witness.append(self._writers[source])
        raise Violated(f"{text}: that had been replaced by then.", *dict.fromkeys(witness))

    def _explain_circle(self) -> None:
        met = set()
        for root, tied in enumerate(self._before):
            if tied == _NONE:
                met.update(self._chain_of(root))
        cluster = next(each for each in range(len(self._before)) if each not in met)
        circle = [cluster]
        while self._after[circle[-1]] != cluster:
            circle.append(self._after[circle[-1]])
        rows = [self._writers[each] for each in circle]
        shown = rows[:WITNESS_OPERATIONS_MAX]
        more = f" and {len(rows) - len(shown)} more" if len(rows) > len(shown) else ""
        says = "; ".join(self._say.saw(row) for row in shown)
        raise Violated(f"{says}{more}: each replaced what another of them wrote, so none can have been first.", *shown)

    def _explain_overlap(self, one: int, other: int) -> None:
        """Each of two blocks has something that ended before something of the other began."""
        starts, finishes, say = self._columns.starts, self._columns.finishes, self._say
        members = [self._members(self._chain_of(root)) for root in (one, other)]
        if max(map(starts.__getitem__, members[1])) > max(map(starts.__getitem__, members[0])):
            one, other = other, one
            members.reverse()
        # Now `one` has the latest start: whoever that was saw a value of the past.
        late = max(members[0], key=starts.__getitem__)
        newer = min(members[1], key=finishes.__getitem__)
        witness = [late, newer]
        text = f"{say.saw(late)}, but before it began {say.saw(newer)}"
        if one == _INITIAL:
            if self._value_of(late) == self._form.initial:
                held = "the key was absent" if self._form.initial is None else f"{quote(self._form.initial)} was there"
                text += f", and {held} only before anything was written."
            else:
                text += ", and what it returned was there only before that."
        else:
            older = min(members[0], key=finishes.__getitem__)
            then = max(members[1], key=starts.__getitem__)
            witness += [older, then]
            text += f", which is newer: {say.saw(older)} before {say.who(then)} began."
        for row in (late, newer):
            writer = self._writers[self._clusters[self._value_of(row)]]
            if writer != _NONE:
                witness.append(writer)
        raise Violated(text, *witness)
