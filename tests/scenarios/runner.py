"""Runs transcripts: interleavings that a reader can review without Python.

A transcript is a text of blocks. A block is some commands, a line of dashes, and what they caused, up to an empty line.
Lines that begin with # are comments.

    submit 1 append k y          node 1 is asked by a client; `if` gives a condition: put k x if 0, cas k new if old;
                                 `until 2000` an expiry (milliseconds);
                                 several operations, separated by semicolons, reach it in one turn
    deliver 1>2                  the oldest frame on that link arrives; `deliver 1>2 Accept` the oldest that has one
    deliver *                    all that is in flight arrives, and what that causes stays in flight
    duplicate 1>2                it arrives, and stays in flight all the same; `drop 1>2` it never arrives
    commit 1                     the node's disk finishes the oldest row that it was given; `commit *` all of them
    crash 1                      with nothing more on its disk; `crash 1 keeping 1` with one more row
    restart 1, load 1, checkpoint 1
    clock 1 2000                 the node's wall clock shows so many milliseconds; `clock * 2000` everybody's
    pass 0.1                     so many seconds, for everybody
    settle                       everything works and time passes until nothing happens any more
    holds                        what every acceptor has on its disk of each key that was named
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from harness.cluster import Cluster, Packet

from paxoskv.core import operations
from paxoskv.core.errors import BY_STATUS
from paxoskv.core.operations import Operation, Result
from paxoskv.paxos import describe, register
from paxoskv.paxos.ballot import show_ballot, show_version
from paxoskv.paxos.messages import Message
from paxoskv.paxos.records import Record
from paxoskv.wire import framing, paxos, peer

RULE = "----"
_KINDS = {name: kind for kind, name in enumerate(operations.KIND_NAMES)}
_STATUSES = {
    operations.OK: "ok",
    operations.ABSENT: "ok",
    operations.CONDITION_FAILED: "condition-failed",
    operations.NOT_AN_INTEGER: "not-an-integer",
    operations.INTEGER_OVERFLOW: "integer-overflow",
}


class Player:
    """What the transcripts of both engines do with frames in flight, and with disks."""

    cluster: Any

    def _find(self, link: str, kind: str | None) -> Any:
        raise NotImplementedError

    def _deliver(self, link: str, kind: str | None = None) -> None:
        if link == "*":
            for packet in list(self.cluster.packets):
                self.cluster.deliver(packet)
        else:
            self.cluster.deliver(self._find(link, kind))

    def _duplicate(self, link: str, kind: str | None = None) -> None:
        self.cluster.deliver(self._find(link, kind), keep=True)

    def _drop(self, link: str, kind: str | None = None) -> None:
        if link == "*":
            self.cluster.packets.clear()
        else:
            self.cluster.packets.remove(self._find(link, kind))

    def _commit(self, node: str) -> None:
        for number in self.cluster.nodes if node == "*" else [int(node)]:
            while self.cluster.commit(number) and node == "*":
                pass


class Transcript(Player):
    """One cluster, and the commands of one file."""

    def __init__(self, nodes: int = 3) -> None:
        self.lines: list[str] = []
        self.keys: dict[bytes, None] = {}
        self.cluster = Cluster(nodes)
        self._shown = 0
        self._quiet = False
        self._packets: set[Packet] = set()
        self._commands: dict[str, Callable[..., None]] = {
            "submit": self._submit,
            "deliver": self._deliver,
            "duplicate": self._duplicate,
            "drop": self._drop,
            "commit": self._commit,
            "crash": self._crash,
            "restart": lambda node: self.cluster.restart(int(node)),
            "load": lambda node: self.cluster.load(int(node)),
            "checkpoint": lambda node: self.cluster.checkpoint(int(node)),
            "pass": lambda seconds: self.cluster.tick(float(seconds)),
            "clock": self._clock,
            "settle": self._settle,
            "holds": self._holds,
        }

    def run(self, command: str) -> None:
        """Run one line, and note what it caused."""
        name, *words = command.split()
        self._commands[name](*words)
        self._note()

    # Commands.

    def _submit(self, node: str, *words: str) -> None:
        requests = " ".join(words).split(";")
        self.cluster.submit(int(node), *[self._operation(*request.split()) for request in requests])

    def _operation(self, kind: str, key: str, *words: str) -> Operation:
        self.keys[key.encode()] = None
        before, _, condition = " ".join(words).partition("if")
        before, _, expiry = before.partition("until")
        argument = before.strip()
        number = _KINDS[kind]
        by_version = number in (operations.PUT, operations.DELETE)
        return Operation(
            number,
            key.encode(),
            int(argument) if number == operations.INCR else argument.encode() if argument else None,
            None if not condition else _version(condition.strip()) if by_version else condition.strip().encode(),
            deadline=self.cluster.now + 1000,
            expiry=int(expiry) if expiry else None,
        )

    def _find(self, link: str, kind: str | None) -> Packet:
        source, target = map(int, link.split(">"))
        for packet in self.cluster.packets:
            if (packet.source, packet.target) == (source, target) and (
                kind is None
                or any(said["kind"] == kind for message in _messages(packet) for said in describe.message(message))
            ):
                return packet
        raise AssertionError(f"nothing of that kind is in flight on {link}: {kind}")

    def _crash(self, node: str, _: str = "", rows: str = "0") -> None:
        self.cluster.crash(int(node), int(rows))

    def _clock(self, node: str, milliseconds: str) -> None:
        for number in self.cluster.nodes if node == "*" else [int(node)]:
            self.cluster.engine(number).wall(int(milliseconds))

    def _settle(self) -> None:
        self._quiet = True
        self.cluster.settle()

    def _holds(self) -> None:
        for key in sorted(self.keys):
            for number, node in self.cluster.nodes.items():
                if node.engine is None:
                    continue
                record = node.engine.records.resident.get(key) or Record(key)
                [version], [encoded] = node.engine.acceptor.read([key])
                value, _, _ = register.user_view(encoded)
                self.lines.append(
                    f"{number} {describe.text(key)} promised={show_ballot(record.promised)} "
                    f"accepted={show_version(version)} value={_show(value)}"
                )

    # What they caused.

    def _note(self) -> None:
        for packet in self.cluster.packets:
            if packet not in self._packets:
                self._packets.add(packet)
                if not self._quiet:
                    for message in _messages(packet):
                        for said in describe.message(message):
                            self.lines.append(f"{packet.source}>{packet.target} {_words(said)}")
        for operation, result in self.cluster.answers[self._shown :]:
            self.lines.append(f"answer {name_of(operation)}: {_answer(result)}")
        self._shown = len(self.cluster.answers)
        self._quiet = False


def _messages(packet: Packet) -> list[Message]:
    _, encoded = peer.parse_frame(framing.unpack(packet.frame[framing.LENGTH_BYTES :]))
    return [paxos.CODEC.decode(message) for message in encoded]


def _words(said: dict[str, Any]) -> str:
    fields = [f"{name}={_show(value)}" for name, value in said.items() if name not in ("kind", "batch", "index", "key")]
    return " ".join([said["kind"], *([said["key"]] if "key" in said else []), *fields])


def _show(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "-"
    return "-" if value is None else value.decode() if isinstance(value, bytes) else str(value)


def name_of(operation: Operation) -> str:
    words = [operations.KIND_NAMES[operation.kind], operation.key.decode()]
    if operation.argument is not None:
        words.append(_show(operation.argument))
    if operation.expiry is not None:
        words += ["until", str(operation.expiry)]
    if operation.condition is not None or operation.kind == operations.CAS:
        condition = operation.condition
        words += ["if", show_version(condition) if isinstance(condition, int) and condition else _show(condition)]
    return " ".join(words)


def _answer(result: Result) -> str:
    if result.status in _STATUSES:
        version = show_version(result.version) if result.version else "absent"
        return f"{_STATUSES[result.status]} {_show(result.value)} {version}"
    return BY_STATUS[result.status].code


def _version(text: str) -> int:
    """`3.1/2` as a number; 0 for absent."""
    if text == "0":
        return 0
    ballot, step = text.split("/")
    round_, node = ballot.split(".")
    return (int(round_) << 8 | int(node)) << 20 | int(step)


class Stage(Protocol):
    """What plays commands, one line at a time, and notes what they caused."""

    lines: list[str]

    def run(self, command: str) -> None: ...


def play(text: str, stage: Callable[[int], Stage] = Transcript) -> str:
    """The transcript with what its commands cause now, in place of what stands there."""
    nodes = 3
    lines = text.splitlines()
    for line in lines:
        if line.startswith("# nodes: "):
            nodes = int(line.removeprefix("# nodes: "))
    transcript = stage(nodes)
    transcript.run("settle")
    transcript.lines.clear()
    out: list[str] = []
    skipping = False
    for line in lines:
        if line == RULE:
            out += [RULE, *transcript.lines]
            transcript.lines.clear()
            skipping = True
        elif not line:
            out.append(line)
            skipping = False
        elif line.startswith("#"):
            out.append(line)
        elif not skipping:
            out.append(line)
            transcript.run(line)
    return "\n".join(out) + "\n"


def files() -> list[Path]:
    """Every transcript."""
    return sorted(Path(__file__).parent.glob("*.txt"))
