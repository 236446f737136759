"""The acceptor: votes, and the only leaderless state that must survive a crash.

Its rules are deterministic and idempotent: replaying the journal's messages over records that a checkpoint wrote
later changes nothing, which is what recovery stands on.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from paxoskv.core.cache import DIRTY
from paxoskv.paxos import ballot as ballots
from paxoskv.paxos.messages import Refusal
from paxoskv.paxos.records import Record, Records
from paxoskv.paxos.register import EMPTY, EXPIRING


class Acceptor:
    """One node's votes on all keys; protocol.md section 2.

    (A1) `promised` never decreases. (A2) ballot(accepted) <= promised. (A3) A version never carries two registers.

    Every key that is passed in must be resident. `sequence` is the turn whose journal entry will hold the changes made
    now, `durable` the last turn that is on disk. What a call answers may leave the node when the turn that it names as
    `wait` is durable, no earlier (D1); its refusals at once.
    """

    def __init__(self, records: Records) -> None:
        self.records = records
        self.sequence = 1
        self.durable = 0
        self.floor = 0
        """A version; see protocol.md section 6. Nothing raises it yet."""
        self.expiry_seen = False
        """Something that expires was accepted, since the start or in the journal."""
        self._changed: list[Record] = []
        self._changes: deque[tuple[int, list[Record]]] = deque()

    def prepare(
        self, keys: Sequence[bytes], prepared: Sequence[int], known: Sequence[int]
    ) -> tuple[list[int], list[bytes | None], list[Refusal], int]:
        """Promise each key to its ballot. Answers accepted versions, registers, refusals and the turn to wait for."""
        resident = self.records.resident
        accepted: list[int] = []
        registers: list[bytes | None] = []
        refusals: list[Refusal] = []
        wait = 0
        for key, ballot, known_version in zip(keys, prepared, known, strict=True):
            record = resident[key]
            record.used = True
            # An equal ballot is refused too (strictness). A proposer that forgot its rounds in a crash would use one
            # again, and two chains under one ballot break (A3).
            if ballot <= record.promised:
                accepted.append(0)
                registers.append(None)
                refusals.append(Refusal(key, record.promised, False))
                continue
            if record.promised == 0 and ballot <= ballots.ballot_of(self.floor):
                accepted.append(0)
                registers.append(None)
                refusals.append(Refusal(key, ballots.ballot_of(self.floor), True))
                continue
            accepted.append(record.accepted)
            registers.append(record.register if record.accepted != known_version else None)
            wait = self.sequence
            if record.sequence != wait or record.state != DIRTY:
                self._touch(record)
            record.promised = ballot
            record.held = False
            assert ballots.ballot_of(record.accepted) <= record.promised, "(A2)"
        return accepted, registers, refusals, wait

    def accept(
        self, keys: Sequence[bytes], versions: Sequence[int], registers: Sequence[bytes]
    ) -> tuple[list[Refusal], int]:
        """Accept each register at its version. Answers refusals and the turn to wait for."""
        records = self.records
        resident = records.resident
        sequence = self.sequence
        refusals: list[Refusal] = []
        wait = 0
        size = 0
        for key, version, register in zip(keys, versions, registers, strict=True):
            record = resident[key]
            ballot = version >> ballots.STEP_BITS
            if ballot < record.promised:
                refusals.append(Refusal(key, record.promised, False))
                continue
            record.used = True
            if version <= record.accepted:
                # The same ballot, an earlier or equal step: what stands here descends from it. It may still be on
                # its way to disk, so the answer waits for that all the same (B10).
                assert version != record.accepted or register == record.register, "(A3)"
                if record.sequence > wait:
                    wait = record.sequence
                continue
            if record.promised == 0 and version <= self.floor:
                refusals.append(Refusal(key, ballots.ballot_of(self.floor), True))
                continue
            if record.sequence != sequence or record.state != DIRTY:
                self._touch(record)
            wait = sequence
            if record.promised != ballot:
                record.promised = ballot
                record.held = False
            size += len(register) - len(record.register)
            record.accepted = version
            record.register = register
            if register[0] == EXPIRING:
                self.expiry_seen = True
        records.bytes += size
        return refusals, wait

    def _touch(self, record: Record) -> None:
        """Note that a record changes in this turn; keep what it was, for reads of the durable state.

        Once for each turn, and once more when a checkpoint's slice comes in between.
        """
        older = record.shadow if record.sequence > self.durable else None
        record.shadow = (record.sequence, record.accepted, record.register, older)
        record.sequence = self.sequence
        self._changed.append(record)
        if record.state != DIRTY:
            self.records.soil(record)

    def read(self, keys: Sequence[bytes], use: bool = True) -> tuple[list[int], list[bytes]]:
        """Each key's accepted version and register as they are on disk, which may be answered at once (D1).

        Without `use` they stay no longer in memory for it.
        """
        resident = self.records.resident
        durable = self.durable
        versions: list[int] = []
        registers: list[bytes] = []
        for key in keys:
            record = resident.get(key)
            if record is None:
                assert self.records.complete
                versions.append(0)
                registers.append(EMPTY)
                continue
            record.used = record.used or use
            if record.sequence <= durable:
                versions.append(record.accepted)
                registers.append(record.register)
                continue
            state = record.shadow
            while state is not None and state[0] > durable:
                state = state[3]
            assert state is not None, "what is not durable has a shadow"
            versions.append(state[1])
            registers.append(state[2])
        return versions, registers

    def committed(self, sequence: int) -> None:
        """Everything up to that turn is on disk; the shadows of older states are not needed any more."""
        self.durable = sequence
        turns = self._changes
        changed_since: dict[Record, None] = {}
        while turns and turns[0][0] <= sequence:
            for record in turns.popleft()[1]:
                if record.sequence <= sequence:
                    record.shadow = None
                else:
                    changed_since[record] = None
        for record in changed_since:
            # A key that changes during every commit is never durable as it stands, and would keep all that it ever was.
            record.shadow = _cut(record.shadow, sequence)

    def end_turn(self) -> None:
        """Begin the next turn; what was changed in this one is in the journal's next entry."""
        self._changes.append((self.sequence, self._changed))
        self._changed = []
        self.sequence += 1


def _cut(shadow: Any, durable: int) -> Any:
    """A Shadow, or None, without what is older than the newest state that is on disk.

    Any, since mypyc holds a tuple that grows in a loop to the depth that it had at first.
    """
    newer: list[Any] = []
    while shadow is not None and shadow[0] > durable:
        newer.append(shadow)
        shadow = shadow[3]
    if shadow is not None:
        shadow = (shadow[0], shadow[1], shadow[2], None)
    while newer:
        state = newer.pop()
        shadow = (state[0], state[1], state[2], shadow)
    return shadow
