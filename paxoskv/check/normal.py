"""One key's operations, sorted by what they can say and do.

A read of unknown outcome says nothing, and what certainly failed did nothing: both are left out. A failed condition,
and a delete that found nothing, are reads. What remains is observations, mutations that took effect, and mutations
that may have.
"""

from collections.abc import Callable
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
    NOT_AN_INTEGER,
    OK,
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
        self._sort()

    def _sort(self) -> None:
        columns = self.columns
        see, miss = self.sightings.append, self.absences.append
        mutate, doubt = self.mutations.append, self.unknowns.append
        row = -1
        for kind, outcome, result, version in zip(
            columns.kinds, columns.outcomes, columns.results, columns.versions, strict=True
        ):
            row += 1
            if outcome == OK:
                if kind == GET:
                    if result is None:
                        miss(row)
                    else:
                        see(row)
                        if version == 0:
                            self._contradiction(row)
                else:
                    if kind == DELETE and (result is False or columns.conditions[row] == 0):
                        miss(row)
                    else:
                        mutate(row)
                    if kind in (INCR, APPEND, DELETE) or version == 0:
                        self._contradiction(row)
            elif outcome == UNKNOWN:
                # Nothing is at version 0, so a delete of it finds nothing.
                if kind != GET and not (kind == DELETE and columns.conditions[row] == 0):
                    doubt(row)
            elif outcome != FAILED:
                if result is None:
                    miss(row)
                else:
                    see(row)
                self._contradiction(row)

    def _contradiction(self, row: int) -> None:
        if self.impossible is None:
            why = contradiction(self.columns, row)
            if why:
                self.impossible = row, why


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
