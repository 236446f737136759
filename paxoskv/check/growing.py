"""Counters and lists: values that only grow say themselves where in the order they stand.

Both number the states of a key so that `chain` can check it as if the store had told versions.
"""

import itertools
from collections.abc import Sequence

from paxoskv.check.history import APPEND, FAILED, INCR, Columns
from paxoskv.check.normal import NormalForm, Violated
from paxoskv.check.semantics import number_of
from paxoskv.check.sentences import Speaker, quote

Numbers = Sequence[int | None]


class DoesNotGrow(Exception):
    """Why a key is no such counter or list, as half a sentence."""


def kinds_of(form: NormalForm) -> set[int]:
    """The kinds of mutations that can have taken effect."""
    kinds = form.columns.kinds
    return set(map(kinds.__getitem__, form.mutations)) | set(map(kinds.__getitem__, form.unknowns))


def number_counter(form: NormalForm) -> tuple[Numbers, int]:
    """The number of the state that each row made or saw, and of the initial one: how far the counter had come.

    Raises DoesNotGrow unless increments by positive amounts that tell their result are all that ever changed it.
    """
    columns = form.columns
    arguments, results = columns.arguments, columns.results
    origin = number_of(form.initial)
    if origin is None:
        raise DoesNotGrow("it did not begin as a number")
    numbers: list[int | None] = [None] * len(columns)
    for row in form.unknowns:
        amount = arguments[row]
        if not isinstance(amount, int) or amount <= 0:
            raise DoesNotGrow("not every increment is positive")
    # An absent key counts as 0 but is not "0", which nobody can have written.
    first = 0 if form.initial is None else 1
    if form.mutations:
        sums = list(map(results.__getitem__, form.mutations))
        if set(map(type, sums)) != {int}:
            raise DoesNotGrow("not every increment tells its result")
        if min(map(arguments.__getitem__, form.mutations)) <= 0:  # type: ignore[operator, type-var]
            raise DoesNotGrow("not every increment is positive")
        if min(sums) <= origin:  # type: ignore[operator, type-var]
            raise DoesNotGrow("an increment returned less than what the key began with")
        for row, result in zip(form.mutations, sums, strict=True):
            numbers[row] = result - origin + 1  # type: ignore[operator]
    for row in form.sightings:
        seen = number_of(results[row])  # type: ignore[arg-type]
        if seen is None:
            raise DoesNotGrow("something else than a number was seen")
        if seen < origin:
            raise DoesNotGrow("less was seen than what the key began with")
        numbers[row] = seen - origin + 1
    return numbers, first


def number_list(form: NormalForm, speaker: Speaker) -> tuple[Numbers, int]:
    """The number of the state that each row made or saw, and of the initial one: how many appends had been.

    The longest text that was seen tells the order. Raises DoesNotGrow unless it can be taken apart into what was
    appended in one way only, and Violated if there is no way, or if texts contradict each other.
    """
    columns = form.columns
    arguments, results = columns.arguments, columns.results
    appended: dict[bytes, int] = {}
    for row in [*form.mutations, *form.unknowns]:
        suffix = arguments[row]
        assert isinstance(suffix, bytes)
        if not suffix:
            raise DoesNotGrow("nothing was appended, which leaves no trace")
        if appended.setdefault(suffix, row) != row:
            raise DoesNotGrow("the same was appended twice")
    in_order = sorted(appended)
    for shorter, longer in itertools.pairwise(in_order):
        if longer.startswith(shorter):
            raise DoesNotGrow("what was appended begins like something else that was")
    by_length: dict[int, int] = {}
    for row in form.sightings:
        value = results[row]
        assert isinstance(value, bytes)
        by_length.setdefault(len(value), row)
    base = form.initial or b""
    longest = by_length[max(by_length)] if by_length else None
    text = base
    if longest is not None:
        seen = results[longest]
        assert isinstance(seen, bytes)
        text = seen
    ends = _take_apart(text, base, appended, columns, speaker, longest)
    numbers: list[int | None] = [None] * len(columns)
    first = 0 if form.initial is None else 1
    place_of_end = {len(base): 1}
    for place, (end, row) in enumerate(ends, 2):
        place_of_end[end] = place
        numbers[row] = place
    for row in form.sightings:
        value = results[row]
        assert isinstance(value, bytes)
        assert longest is not None
        if not text.startswith(value):
            raise Violated(
                f"{speaker.saw(row)}, but {speaker.saw(longest)}: neither list is the beginning of the other.",
                row,
                longest,
            )
        place = place_of_end.get(len(value), 0)
        if not place or (place == 1 and form.initial is None):
            raise Violated(
                f"{speaker.saw(row)}, which ends in the middle of something that was appended: {speaker.saw(longest)}.",
                row,
                longest,
            )
        numbers[row] = place
    # What nobody saw came after the longest text that anybody saw.
    unseen = [row for row in form.mutations if numbers[row] is None]
    if any(results[row] is not None for row in unseen):
        unseen.sort(key=lambda row: (results[row] is None, results[row]))
        if any(results[row] is None for row in unseen):
            raise DoesNotGrow("only some appends tell a length")
        if form.unknowns:
            raise DoesNotGrow("appends of unknown outcome may lie between those that nobody saw")
    else:
        unseen.sort(key=columns.starts.__getitem__)
    for place, row in enumerate(unseen, len(ends) + 2):
        numbers[row] = place
    return numbers, first


def _take_apart(
    text: bytes, base: bytes, appended: dict[bytes, int], columns: Columns, speaker: Speaker, longest: int | None
) -> list[tuple[int, int]]:
    """(end, row) of each append that a text shows, in its order."""
    if longest is None:
        return []
    if not text.startswith(base):
        raise Violated(f"{speaker.saw(longest)}, but the list began as {quote(base)}.", longest)
    lengths = sorted({len(suffix) for suffix in appended})
    ends: list[tuple[int, int]] = []
    met: set[int] = set()
    at = len(base)
    while at < len(text):
        for length in lengths:
            row = appended.get(text[at : at + length])
            if row is not None:
                break
        else:
            rest = text[at:]
            for failed, outcome in enumerate(columns.outcomes):
                suffix = columns.arguments[failed]
                if outcome == FAILED and isinstance(suffix, bytes) and suffix and rest.startswith(suffix):
                    raise Violated(
                        f"{speaker.saw(longest)}, although {speaker.who(failed)} had certainly failed.", longest, failed
                    )
            raise Violated(f"{speaker.saw(longest)}, of which {quote(rest)} was appended by nobody.", longest)
        at += length
        if row in met:
            raise Violated(f"{speaker.saw(longest)}, which has {speaker.who(row)} in it twice.", longest, row)
        met.add(row)
        ends.append((at, row))
    return ends


def is_counter(form: NormalForm) -> bool:
    """Whether nothing but increments ever changed the key."""
    return kinds_of(form) == {INCR}


def is_list(form: NormalForm) -> bool:
    """Whether nothing but appends ever changed the key."""
    return kinds_of(form) == {APPEND}
