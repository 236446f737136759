"""Texts that are written and appended to, as registers: what an append replaced, the texts that were seen tell.

A text that somebody saw is some value that was written and what was appended to it since. So where appends can be told
apart, each one that is part of a text seen is the replacement of one known text by another, which is a cas. What was
appended and never seen was followed by no text that anybody saw, until the next write; so it can be taken for a write
itself, of a text that nobody saw. In this form `zones` decides about the key, without a search.
"""

import itertools
from collections.abc import Iterable
from typing import Final

from paxoskv.check.growing import kinds_of
from paxoskv.check.history import APPEND, CAS, DELETE, INCR, OK, PUT, SWAP, Columns, Value
from paxoskv.check.normal import NormalForm, Violated
from paxoskv.check.sentences import Speaker
from paxoskv.check.verdict import WITNESS_OPERATIONS_MAX
from paxoskv.check.zones import NotRecognisable

_WORK_BYTES_MAX: Final = 1 << 30
"""Of texts taken apart; beyond it another way is quicker."""


class Texts:
    """A key whose text was appended to, and its `register`, in which every row stands for what it does there.

    Raises NotRecognisable where appends cannot be told apart, and Violated where one would have happened twice.
    """

    def __init__(self, form: NormalForm, speaker: Speaker) -> None:
        self._form = form
        self._say = speaker
        self._shown_by: dict[int, int] = {}
        """By append: somebody who saw a text with it, or wrote in its place."""
        self._appended = self._tell_apart()
        self._lengths = sorted({len(suffix) for suffix in self._appended})
        self._origins = self._written()
        self._before: dict[int, Value] = {}
        """By append: what it was appended to."""
        self._after: dict[int, bytes] = {}
        self._take_apart()
        self.register = self._rewritten()

    def proof(self, witness: tuple[int, ...]) -> tuple[int, ...]:
        """A witness with those who saw the texts that its appends are known from."""
        shown = [self._shown_by[row] for row in witness if row in self._shown_by]
        return tuple(dict.fromkeys([*witness, *shown]))[:WITNESS_OPERATIONS_MAX]

    def _tell_apart(self) -> dict[bytes, int]:
        form, columns = self._form, self._form.columns
        appended: dict[bytes, int] = {}
        for row in (*form.mutations, *form.unknowns):
            if columns.kinds[row] != APPEND:
                continue
            suffix = columns.arguments[row]
            assert isinstance(suffix, bytes)
            if not suffix:
                raise NotRecognisable("nothing was appended, which leaves no trace")
            if appended.setdefault(suffix, row) != row:
                raise NotRecognisable("the same was appended twice")
        backwards = sorted(suffix[::-1] for suffix in appended)
        if any(longer.startswith(shorter) for shorter, longer in itertools.pairwise(backwards)):
            raise NotRecognisable("what was appended ends like something else that was")
        return appended

    def _written(self) -> set[bytes]:
        """The texts that an append can have been the first to be added to."""
        form, columns = self._form, self._form.columns
        written: set[bytes] = set()
        for row in (*form.mutations, *form.unknowns):
            if columns.kinds[row] in (PUT, CAS, SWAP):
                value = columns.arguments[row]
                assert isinstance(value, bytes)
                written.add(value)
        if form.initial is not None:
            written.add(form.initial)
        if any(self._ending(value) for value in written):
            raise NotRecognisable("something was written that ends like what was appended")
        if form.initial is None and b"" in written:
            raise NotRecognisable("what begins with an append may have followed an empty text, or none")
        return written

    def _ending(self, text: bytes) -> int:
        """The length of the append that a text ends with, or 0."""
        for length in self._lengths:
            if text[-length:] in self._appended:
                return length
        return 0

    def _seen(self) -> Iterable[tuple[int, bytes]]:
        """Every row that tells what the text was at some time, and the text."""
        form, columns = self._form, self._form.columns
        for row in form.sightings:
            value = columns.results[row]
            if isinstance(value, bytes):
                yield row, value
        for row in form.mutations:
            kind = columns.kinds[row]
            value = columns.conditions[row] if kind == CAS else columns.results[row] if kind == SWAP else None
            if isinstance(value, bytes):
                yield row, value

    def _take_apart(self) -> None:
        met: set[bytes] = set()
        work = 0
        for seer, text in self._seen():
            added: list[tuple[int, bytes]] = []
            rest = text
            while rest not in met and (length := self._ending(rest)):
                added.append((self._appended[rest[-length:]], rest))
                rest = rest[:-length]
                work += len(rest)
                if work > _WORK_BYTES_MAX:
                    raise NotRecognisable("the texts are too long to be taken apart")
            absent = not rest and self._form.initial != b"" and rest not in self._origins
            if not (absent or rest in met or rest in self._origins):
                # Nobody wrote what it began with, which zones will say of the whole text.
                continue
            met.update(text for _, text in added)
            before: Value = None if absent else rest
            for row, after in reversed(added):
                self._tie(row, before, after, seer)
                before = after
        columns = self._form.columns
        for row in self._form.unknowns:
            condition = columns.conditions[row] if columns.kinds[row] == CAS else None
            if isinstance(condition, bytes) and condition not in met and self._ending(condition):
                raise NotRecognisable("a cas of unknown outcome demands a text that was appended to, and nobody saw")

    def _tie(self, row: int, before: Value, after: bytes, seer: int) -> None:
        known = self._after.setdefault(row, after)
        if known != after:
            other = self._shown_by[row]
            raise Violated(
                f"{self._say.saw(seer)}, but {self._say.saw(other)}: {self._say.who(row)} cannot have led to both.",
                seer,
                other,
                row,
            )
        self._before[row] = before
        self._shown_by.setdefault(row, seer)

    def _rewritten(self) -> NormalForm:
        form, columns = self._form, self._form.columns
        register = Columns()
        register.extend_lists(columns.lists())
        seen = {text for _, text in self._seen()}
        for suffix, row in self._appended.items():
            length = columns.results[row] if columns.outcomes[row] == OK else None
            after = self._after.get(row)
            if length is not None and (after is None or len(after) != length):
                raise NotRecognisable("appends tell lengths of texts that nobody saw")
            register.results[row] = None
            if after is None:
                # What it left is unlike anything that was seen, and like nothing that another append left.
                unseen = suffix
                while unseen in seen:
                    unseen = b"?" + unseen
                register.kinds[row], register.arguments[row] = PUT, unseen
            else:
                register.kinds[row], register.arguments[row] = CAS, after
                register.conditions[row] = self._before[row]
        return NormalForm(register, form.initial, form.initial_version)


def is_text(form: NormalForm) -> bool:
    """Whether it was appended to, and neither deleted nor counted with."""
    kinds = kinds_of(form)
    return APPEND in kinds and INCR not in kinds and DELETE not in kinds
