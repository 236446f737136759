"""The replicated state machine: committed entries in, records and results out; dissertation, chapters 3 and 6.3.

The version of an operation is the index of its entry and its position in it, and becomes the version of the key that
it changes. So versions are unique and grow, and a record says which operation it already holds.

(M1) A record that is folded, or shipped in a snapshot, shows its key as of some index at or after the base: the
index that is stored, or sent, last. Applying the entries after the base in their order then gives every record exactly
the effects it lacks. An operation whose version is not above the record's was evaluated already, and is passed over.
One that failed left no trace, and fails again: nothing has changed the record since, or its version would be higher.

Sessions are not per key, so they are stored, and sent, as of exactly the base.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import Final, NamedTuple

from paxoskv.core import errors, operations
from paxoskv.core.cache import DIRTY
from paxoskv.core.operations import Operation, Result
from paxoskv.raft.entry import POSITION_BITS, Batch, Entry
from paxoskv.raft.records import Record, Records


class Session(NamedTuple):
    """The last batch of an origin that the log holds: dissertation, section 6.3. One for each node."""

    incarnation: int
    number: int


@dataclass(frozen=True, slots=True)
class Base:
    """Where the log begins: all that the entries up to `index`, of `term`, did, apart from the records."""

    index: int
    term: int
    sessions: tuple[tuple[int, int, int], ...]
    """(origin, incarnation, number), ascending."""


PASSED: Final = Result(
    errors.OutcomeUnknown.status,
    b"the operation may or may not have happened: this node caught up past it without seeing its result",
    0,
)


class StateMachine:
    """The records, and who has asked for what already."""

    def __init__(self, node: int, incarnation: int, records: Records) -> None:
        self.records = records
        self.applied = 0
        self.applied_term = 0
        self.applied_operations = 0
        self.expiry_seen = False
        """Something that expires was applied here."""
        self.sessions: dict[int, Session] = {}
        self._origin = (node, incarnation)
        # One object for all, since an operation lives no longer than its evaluation.
        self._scratch = Operation(operations.PUT, b"")

    def base(self) -> Base:
        """The present state, to be stored or sent along with the records."""
        sessions = sorted((origin, *session) for origin, session in self.sessions.items())
        return Base(self.applied, self.applied_term, tuple(sessions))

    def rebase(self, base: Base) -> None:
        """The records hold everything up to there."""
        assert base.index >= self.applied
        self.applied, self.applied_term = base.index, base.term
        self.sessions = {origin: Session(incarnation, number) for origin, incarnation, number in base.sessions}

    def apply(self, index: int, entry: Entry) -> list[tuple[int, list[Result]]]:
        """Apply the next committed entry, all of whose keys are resident, or known to be new.

        Answers the results of this very node's batches, by number.
        """
        assert index == self.applied + 1, "(S5) entries are applied in the order of the log"
        version = index << POSITION_BITS
        found = []
        for batch in entry.batches:
            follow(self.sessions, batch)
            if (batch.origin, batch.incarnation) == self._origin:
                results: list[Result] = []
                self._evaluate(batch, version, entry, results)
                found.append((batch.number, results))
            else:
                self._evaluate(batch, version, entry, None)
            version += len(batch.keys)
            self.applied_operations += len(batch.keys)
        self.applied = index
        self.applied_term = entry.term
        # Nothing asks for them any more; the bytes are kept for replicas that lag.
        entry.batches = ()
        return found

    def _evaluate(self, batch: Batch, version: int, entry: Entry, results: list[Result] | None) -> None:
        """Each operation in order; the first gets `version` + 1.

        A value whose time has passed by the entry's clock ceases to exist before an operation, and after it. That
        gives the record the operation's version, also when the operation itself does nothing: or else an earlier
        operation of the log could be taken for one that it does not hold (M1).
        """
        value_bytes_max = entry.value_bytes_max
        wall_ms = entry.wall_ms
        records = self.records
        resident = records.resident
        scratch = self._scratch
        size = 0
        for kind, key, argument, condition, expiry in zip(
            batch.kinds,
            batch.keys,
            batch.arguments,
            batch.conditions or repeat(None),
            batch.expiries or repeat(None),
            strict=False,
        ):
            version += 1
            record = resident.get(key)
            if record is None:
                assert records.complete, "a key that may have a record was to be loaded first"
                record = records.add(Record(key))
            record.used = True
            if record.version >= version:
                if results is not None:
                    results.append(PASSED)
                continue
            old = record.value
            expires_at = 0
            if kind == operations.PUT and condition is None and expiry is None:
                # What `evaluate` says of it, without the way there: most operations are of this kind.
                assert type(argument) is bytes
                value: bytes | None = argument
                if results is not None:
                    results.append(Result(operations.OK, None, version))
            else:
                scratch.kind, scratch.argument, scratch.condition, scratch.expiry = kind, argument, condition, expiry
                there, present = old, 0 if old is None else record.version
                expires_at = record.expires_at
                lapsed = 0 != expires_at <= wall_ms
                if lapsed:
                    there, present, expires_at = None, 0, 0
                status, answer, effect, value, until = operations.evaluate(
                    scratch, there, present, expires_at, value_bytes_max
                )
                if effect:
                    present, expires_at = 0 if value is None else version, until
                if results is not None:
                    results.append(Result(status, answer, present, expires_at))
                if 0 != expires_at <= wall_ms:
                    value, expires_at = None, 0
                elif not effect:
                    if not lapsed:
                        continue
                    value = None
            record.value = value
            record.version = version
            record.expires_at = expires_at
            if expires_at:
                self.expiry_seen = True
            size += len(value or b"") - len(old or b"")
            if record.state != DIRTY:
                records.soil(record)
        records.bytes += size

    def read(self, record: Record | None) -> Result:
        """What a get answers."""
        if record is None or record.value is None:
            return Result(operations.OK, None, 0)
        record.used = True
        return Result(operations.OK, record.value, record.version, record.expires_at)


def follow(sessions: dict[int, Session], batch: Batch) -> None:
    """Note that the log goes on with this batch."""
    assert batch.number == expected(sessions, batch.origin, batch.incarnation), "(E1)"
    sessions[batch.origin] = Session(batch.incarnation, batch.number)


def expected(sessions: Mapping[int, Session], origin: int, incarnation: int) -> int:
    """The number of the batch that comes next, 0 if none of that incarnation may come any more."""
    session = sessions.get(origin)
    if session is None or session.incarnation < incarnation:
        return 1
    return session.number + 1 if session.incarnation == incarnation else 0
