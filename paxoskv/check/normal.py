"""One key's operations, sorted by what they can say and do.

A read of unknown outcome says nothing, and what certainly failed did nothing: both are left out. A failed condition,
and a delete that found nothing, are reads. What remains is observations, mutations that took effect, and mutations
that may have.
"""

import collections
import itertools
import math
import operator
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Final

from paxoskv.check.history import (
    APPEND,
    CAS,
    CONDITION_FAILED,
    DELETE,
    FAILED,
    GET,
    INCR,
    INTEGER_OVERFLOW,
    KINDS,
    NOT_AN_INTEGER,
    OK,
    OUTCOMES,
    PUT,
    SWAP,
    UNKNOWN,
    Columns,
    Value,
)
from paxoskv.check.semantics import INTEGER_MAX, INTEGER_MIN, number_of
from paxoskv.check.verdict import Verdict, Way

NOBODY: Final = -1
"""In place of a row."""
NOT_SEEN: Final = object()
"""In place of a value."""

# A kind and an outcome make a code of one byte, so that rows can be picked without a loop in Python.
_PLACES: Final = [len(KINDS) * outcome for outcome in range(len(OUTCOMES))]
_MUTATIONS: Final = frozenset((PUT, DELETE, CAS, INCR, APPEND, SWAP))


def _table(outcomes: Container[int], kinds: Container[int]) -> bytes:
    """By code, whether it is of these."""
    return bytes(code // len(KINDS) in outcomes and code % len(KINDS) in kinds for code in range(256))


def codes_of(columns: Columns) -> bytes:
    """By row, the number of its kind, and for each outcome before its own as many more as there are kinds."""
    outcomes = bytes(columns.outcomes)
    if outcomes.count(OK) == len(outcomes):
        return bytes(columns.kinds)
    return bytes(map(operator.add, columns.kinds, map(_PLACES.__getitem__, outcomes)))


_REFUSED: Final = frozenset(range(len(OUTCOMES))) - {OK, FAILED, UNKNOWN}
_LOOKS: Final = bytes(map(operator.or_, _table({OK}, {GET}), _table(_REFUSED, range(len(KINDS)))))
_MUTATES: Final = _table({OK}, _MUTATIONS)
_DOUBTFUL: Final = _table({UNKNOWN}, _MUTATIONS)
_MAY_CONTRADICT: Final = bytes(
    map(operator.or_, _table({OK}, {INCR, APPEND, DELETE}), _table(_REFUSED, range(len(KINDS))))
)


@dataclass(slots=True)
class Finding:
    """What one way of checking found out about one key. Operations are rows of the key's columns."""

    verdict: Verdict
    way: Way
    order: list[int] | None = None
    """If ok: an order that explains every answer."""
    sentence: str = ""
    witness: tuple[int, ...] = ()
    states: int = 0


class Violated(Exception):
    """There is no order: a sentence, and the rows that prove it."""

    def __init__(self, sentence: str, *witness: int) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.witness = tuple(dict.fromkeys(witness))


class OutOfBudget(Exception):
    """More states than were allowed."""


Tick = Callable[[int], None]
"""Told, now and then, how many more states were visited."""


class NormalForm:
    """The operations of a key, as rows of its columns.

    `sightings` saw a value, `absences` saw that there was none, `mutations` were answered and took effect, `unknowns`
    are mutations of unknown outcome.
    """

    __slots__ = (
        "_named",
        "absences",
        "columns",
        "impossible",
        "initial",
        "initial_version",
        "mutations",
        "sightings",
        "unknowns",
    )

    def __init__(self, columns: Columns, initial: Value = None, initial_version: int | None = None) -> None:
        self.columns = columns
        self.initial = initial
        self.initial_version = initial_version
        self.sightings: list[int] = []
        self.absences: list[int] = []
        self.mutations: list[int] = []
        self.unknowns: list[int] = []
        self.impossible: tuple[int, str] | None = None
        """An operation whose answer contradicts itself, and why."""
        self._named: frozenset[int] | None = None
        self._sort()

    def named_versions(self) -> frozenset[int]:
        """The versions that some answer told, or that some mutation demanded."""
        if self._named is None:
            columns = self.columns
            named = set(columns.versions)
            for row in (*self.mutations, *self.unknowns):
                condition = columns.conditions[row]
                if columns.kinds[row] != CAS and isinstance(condition, int):
                    named.add(condition)
            self._named = frozenset(version for version in named if version)
        return self._named

    def _sort(self) -> None:
        columns = self.columns
        results = columns.results
        codes = codes_of(columns)
        rows = range(len(codes))
        looking = list(itertools.compress(rows, codes.translate(_LOOKS)))
        self.mutations = list(itertools.compress(rows, codes.translate(_MUTATES)))
        self.unknowns = list(itertools.compress(rows, codes.translate(_DOUBTFUL)))
        seen = list(map(results.__getitem__, looking))
        if None in seen:
            self.sightings = [row for row, result in zip(looking, seen, strict=True) if result is not None]
            self.absences = [row for row, result in zip(looking, seen, strict=True) if result is None]
        else:
            self.sightings = looking
        if DELETE in columns.kinds:
            conditions = columns.conditions
            idle = [row for row in self.mutations if codes[row] == DELETE and not _deletes(columns, row)]
            if idle:
                self.absences = sorted([*self.absences, *idle])
                found_nothing = set(idle)
                self.mutations = [row for row in self.mutations if row not in found_nothing]
            self._sort_blind_deletes()
            # Nothing is at version 0, so a delete of it finds nothing.
            self.unknowns = [row for row in self.unknowns if columns.kinds[row] != DELETE or conditions[row] != 0]
        self._find_contradiction(codes)

    def _sort_blind_deletes(self) -> None:
        """Take those that told a version, but not whether the key was there, for reads where they found it gone: one
        of a version made it at most, and that may as well be the one that began first.
        """
        columns = self.columns
        kinds, conditions, results = columns.kinds, columns.conditions, columns.results
        versions, starts = columns.versions, columns.starts
        # One that demanded a version, and was not refused, removed what it demanded.
        blind = [
            row
            for row in self.mutations
            if kinds[row] == DELETE and results[row] is None and conditions[row] is None and versions[row]
        ]
        makers = collections.Counter(map(versions.__getitem__, self.mutations))
        # Whoever saw a version before any of its deletes began saw what none of them made.
        seen: dict[int | None, float] = {}
        for row in self.absences:
            seen[versions[row]] = min(seen.get(versions[row], math.inf), columns.finishes[row])
        alike: dict[int | None, list[int]] = {}
        for row in blind:
            version = versions[row]
            if makers[version] > 1 or version in seen or version == self.initial_version:
                alike.setdefault(version, []).append(row)
        idle = set(itertools.chain.from_iterable(alike.values()))
        for version, rows in alike.items():
            first = min(rows, key=starts.__getitem__)
            is_known = makers[version] > len(rows) or version == self.initial_version
            if not is_known and seen.get(version, math.inf) >= starts[first]:
                idle.remove(first)
        if idle:
            self.absences = sorted([*self.absences, *idle])
            self.mutations = [row for row in self.mutations if row not in idle]

    def _find_contradiction(self, codes: bytes) -> None:
        columns = self.columns
        suspects = codes.translate(_MAY_CONTRADICT)
        rows = list(itertools.compress(range(len(codes)), suspects))
        if suspects.count(1) == codes.count(INCR) and self._are_in_range(rows):
            rows = []
        if 0 in columns.versions:
            outcomes = columns.outcomes
            rows += [row for row, version in enumerate(columns.versions) if version == 0 and outcomes[row] == OK]
        for row in sorted(rows):
            why = contradiction(columns, row)
            if why:
                self.impossible = row, why
                return

    def _are_in_range(self, rows: list[int]) -> bool:
        """Whether that can be said at once of the sums of all these increments, and of what they were added to."""
        columns = self.columns
        sums = list(map(columns.results.__getitem__, rows))
        if not sums or None in sums:
            return False
        amounts = map(columns.arguments.__getitem__, rows)
        before: list[int] = list(map(operator.sub, sums, amounts))
        lowest: int = min(min(sums), min(before))  # type: ignore[type-var, assignment]
        highest: int = max(max(sums), max(before))  # type: ignore[type-var, assignment]
        return lowest >= INTEGER_MIN and highest <= INTEGER_MAX


def _deletes(columns: Columns, row: int) -> bool:
    """Whether a delete that was answered removed something, as far as it tells."""
    return columns.results[row] is not False and columns.conditions[row] != 0


def contradiction(columns: Columns, row: int) -> str:
    """Why no state of the key explains the answer to an operation, or the empty string."""
    kind, outcome = columns.kinds[row], columns.outcomes[row]
    argument, condition = columns.arguments[row], columns.conditions[row]
    result, version = columns.results[row], columns.versions[row]
    if outcome == OK:
        if kind == INCR and result is not None:
            assert isinstance(result, int)
            assert isinstance(argument, int)
            if not (INTEGER_MIN <= result <= INTEGER_MAX and INTEGER_MIN <= result - argument <= INTEGER_MAX):
                return "no signed 64-bit number gives that sum"
        elif kind == APPEND and result is not None:
            assert isinstance(result, int)
            assert isinstance(argument, bytes)
            if result < len(argument):
                return "that is shorter than what it appended"
        elif kind == DELETE and condition is not None:
            if condition == 0 and result is True:
                return "but it was to delete the key only if there was nothing to delete"
            if condition != 0 and result is False:
                return "but without the version that it demanded its condition should have failed"
        if version == 0 and kind in (PUT, CAS, INCR, APPEND, SWAP, GET) and not (kind == GET and result is None):
            return "with version 0, which only an absent key has"
        return ""
    assert not isinstance(result, int)
    if version == 0 and result is not None:
        return "with version 0, which only an absent key has"
    if outcome == CONDITION_FAILED:
        if kind == CAS:
            held = result == condition
        else:
            held = result is None if condition == 0 else result is not None and version == condition
        return "but that is what its condition asked for" if held else ""
    number = number_of(result)
    if outcome == NOT_AN_INTEGER and (result is None or number is not None):
        return "but an absent key counts as 0" if result is None else "but that is an integer"
    if outcome == INTEGER_OVERFLOW:
        assert isinstance(argument, int)
        if number is None:
            return "but that is no integer"
        if INTEGER_MIN <= number + argument <= INTEGER_MAX:
            return "but the sum would have been within range"
    return ""
