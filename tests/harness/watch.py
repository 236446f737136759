"""What no single node can check: nothing is said before it is on a disk, and a version is the same register everywhere.

The acceptor's rules are stated here once more, so that what a disk holds is not taken from the engine that is judged.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from paxoskv.core import operations
from paxoskv.core.engine import Effects
from paxoskv.core.operations import Operation, Result
from paxoskv.paxos.ballot import ballot_of, show_version
from paxoskv.paxos.messages import Accepted, Message, Promised, Proposals, Registers, Versions
from paxoskv.paxos.records import Record


class Unsafe(AssertionError):
    """A rule that must hold does not."""


class Disk:
    """What a restart would find."""

    def __init__(self) -> None:
        self.promised: dict[bytes, int] = defaultdict(int)
        self.accepted: dict[bytes, int] = defaultdict(int)
        self.versions: set[int] = {0}
        """Everything that ever got here, whatever the key."""

    def replay(self, row: Sequence[Message]) -> None:
        """A journal row, by the acceptor's rules."""
        for message in row:
            assert isinstance(message, Proposals)
            for key, ballot in zip(message.prepare_keys, message.prepare_ballots, strict=True):
                self.promised[key] = max(self.promised[key], ballot)
            self.versions.update(message.accept_versions)
            for key, version in zip(message.accept_keys, message.accept_versions, strict=True):
                if ballot_of(version) >= self.promised[key] and version > self.accepted[key]:
                    self.promised[key] = ballot_of(version)
                    self.accepted[key] = version

    def take(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Records of a checkpoint. The journal can be ahead of them."""
        for key, blob in records:
            record = Record.from_blob(key, blob)
            self.promised[key] = max(self.promised[key], record.promised)
            self.accepted[key] = max(self.accepted[key], record.accepted)
            self.versions.add(record.accepted)

    def holds(self, request: Proposals, answer: Accepted | Promised) -> bool:
        """Whether what the answer claims is on the disk."""
        refused = {refusal.key for refusal in answer.exceptions}
        if isinstance(answer, Accepted):
            wanted = zip(request.accept_keys, request.accept_versions, strict=True)
            return all(self.accepted[key] >= version for key, version in wanted if key not in refused)
        part = slice(answer.start, answer.start + len(answer.accepted))
        prepared = zip(request.prepare_keys[part], request.prepare_ballots[part], strict=True)
        return all(self.promised[key] >= ballot for key, ballot in prepared if key not in refused)


class Watch:
    """Sees every turn and every commit of a cluster, and raises `Unsafe`."""

    def __init__(self, nodes: int) -> None:
        self._quorum = nodes // 2 + 1
        self._disks = {number: Disk() for number in range(1, nodes + 1)}
        self._registers: dict[tuple[bytes, int], bytes] = {}
        self._requests: dict[tuple[int, int], list[Proposals]] = defaultdict(list)
        """By node and batch; each incarnation of a node counts its batches anew."""

    def turn(self, number: int, effects: Effects[Message]) -> None:
        """What a node says, journals and answers at the end of a turn."""
        disk = self._disks[number]
        for target, messages in effects.sends.items():
            for message in messages:
                if isinstance(message, Proposals):
                    self._check_registers(message)
                    self._requests[number, message.number].append(message)
                elif isinstance(message, Accepted | Promised):
                    if not any(disk.holds(request, message) for request in self._requests[target, message.number]):
                        raise Unsafe(f"(D1) node {number} claims what is not on its disk: {message}")
                elif isinstance(message, Versions | Registers):
                    told = (
                        message.versions if isinstance(message, Versions) else [item.version for item in message.items]
                    )
                    if not disk.versions.issuperset(told):
                        raise Unsafe(f"(D1) node {number} tells what is not on its disk: {message}")
        for operation, result in effects.answers:
            self._check_answer(operation, result)

    def committed(self, number: int, row: Sequence[Message]) -> None:
        """A journal row is on a node's disk. What a crash has taken before that was never there."""
        for message in row:
            assert isinstance(message, Proposals)
            self._check_registers(message)
        self._disks[number].replay(row)

    def folded(self, number: int, records: Iterable[tuple[bytes, bytes]]) -> None:
        """A slice of a checkpoint is on a node's disk."""
        self._disks[number].take(records)

    def trimmed(self, number: int, records: Mapping[bytes, bytes], rows: Iterable[Sequence[Message]]) -> None:
        """This is all that a node's disk holds now that it has forgotten older rows."""
        left = Disk()
        left.take(records.items())
        for row in rows:
            left.replay(row)
        disk = self._disks[number]
        if any(left.promised[key] < promised for key, promised in disk.promised.items()):
            raise Unsafe(f"(A1) node {number} forgets a promise with its journal")
        if any(left.accepted[key] < accepted for key, accepted in disk.accepted.items()):
            raise Unsafe(f"node {number} forgets what it has accepted with its journal")

    def _check_registers(self, message: Proposals) -> None:
        columns = zip(message.accept_keys, message.accept_versions, message.accept_registers, strict=True)
        for key, version, register in columns:
            if self._registers.setdefault((key, version), register) != register:
                raise Unsafe(f"(A3) version {show_version(version)} of {key!r} carries two registers")

    def _check_answer(self, operation: Operation, result: Result) -> None:
        if result.status < operations.ERROR_STATUS_MIN:
            holders = sum(disk.accepted[operation.key] >= result.version for disk in self._disks.values())
            if holders < self._quorum:
                raise Unsafe(f"(D1) {operation} is answered with {result}, which is on {holders} disks")
