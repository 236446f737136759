"""Plays transcripts of log engines: interleavings that a reader can review without Python.

A text of blocks, as in `scenarios.runner`. An entry is `index/term`. What a block causes: the messages that leave, and
the answers that clients get.

    elect 1                      node 1 stands for election, and everything works until all follow it
    stand 1                      node 1 has heard of no leader for long enough, and asks the others; `stand 3 beside 1
                                 2` meanwhile everything works among those
    submit 1 put k x             node 1 is asked by a client; `get k`, `append k x`
    deliver 1>2                  the oldest message on that link arrives; `deliver 1>2 Append` the oldest of that kind;
                                 `deliver *` all that is in flight arrives, and what that causes stays in flight
    split 1>2 1                  the oldest Append on that link is two, of which the first has one entry
    duplicate 1>2, drop 1>2      it arrives and stays in flight all the same, or never arrives; `drop *`
    commit 1                     the node's disk finishes the oldest row that it was given; `commit *` all of them
    exchange 1 2                 among these nodes everything works, until nothing happens any more; the rest is lost
    crash 1                      with nothing more on its disk; `crash 1 keeping 1` with one more row
    restart 1, checkpoint 1, load 1
    cut 3, join 3                what comes from node 3 and goes to it is lost; or no more
    transfer 1 2                 node 1, which leads, is told to hand over to node 2
    pass 0.1                     so many seconds, for everybody; `pass 0.1 1 2` only those nodes notice
    settle                       everything works and time passes until nothing happens any more
    logs                         what each node is, and holds: its role, term, log and commit index
"""

from collections.abc import Callable
from typing import Any, Final

from harness.raft import LIMIT, Cluster, Packet
from scenarios.runner import Player, name_of

from paxoskv.core import operations
from paxoskv.core.errors import BY_STATUS
from paxoskv.core.operations import Operation, Result
from paxoskv.raft import messages
from paxoskv.raft.engine import RaftEngine
from paxoskv.raft.entry import POSITION_BITS
from paxoskv.raft.messages import Message
from paxoskv.wire import framing, peer, raft

_KINDS: Final = {name: kind for kind, name in enumerate(operations.KIND_NAMES)}


class Transcript(Player):
    """One cluster, and the commands of one file."""

    def __init__(self, nodes: int = 3, **options: Any) -> None:
        self.lines: list[str] = []
        self.cluster = Cluster(nodes, **options)
        self._shown = 0
        self._quiet = False
        self._cut: set[int] = set()
        self._packets: set[Packet] = set()
        cluster = self.cluster
        self._commands: dict[str, Callable[..., object]] = {
            "elect": self._elect,
            "stand": self._stand,
            "submit": self._submit,
            "deliver": self._deliver,
            "duplicate": self._duplicate,
            "drop": self._drop,
            "split": self._split,
            "commit": self._commit,
            "exchange": self._exchange,
            "crash": lambda node, _="", rows="0": cluster.crash(int(node), int(rows)),
            "restart": lambda node: cluster.restart(int(node)),
            "checkpoint": lambda node: cluster.checkpoint(int(node)),
            "load": lambda node: cluster.load(int(node)),
            "cut": lambda node: self._cut.add(int(node)),
            "join": lambda node: self._cut.discard(int(node)),
            "transfer": self._transfer,
            "pass": lambda seconds, *nodes: cluster.tick(float(seconds), *map(int, nodes)),
            "settle": self._settle,
            "logs": self._logs,
        }

    def run(self, command: str) -> None:
        """Run one line, and note what it caused."""
        name, *words = command.split()
        self._commands[name](*words)
        self._note()

    # Commands.

    def _elect(self, node: str) -> None:
        self._quiet = True
        self.cluster.elect(int(node))
        self.cluster.packets.clear()

    def _stand(self, node: str, _: str = "", *others: str) -> None:
        cluster = self.cluster
        election = cluster.engine(int(node)).election
        trials = election.counters["trials"]
        while election.counters["trials"] == trials:
            cluster.tick(0.05, *map(int, others or ["0"]))
            if others:
                cluster.exchange(*map(int, others))
            cluster.tick(0.0, int(node))

    def _submit(self, node: str, kind: str, key: str, argument: str = "") -> None:
        operation = Operation(_KINDS[kind], key.encode(), argument.encode() or None, deadline=self.cluster.now + 1000)
        self.cluster.submit(int(node), operation)

    def _find(self, link: str, kind: str | None) -> Packet:
        source, target = map(int, link.split(">"))
        for packet in self.cluster.of(source, target):
            if kind in (None, _words(packet.message).split()[0]):
                return packet
        raise AssertionError(f"nothing of that kind is in flight on {link}: {kind}")

    def _split(self, link: str, count: str) -> None:
        packet = self._find(link, "Append")
        whole = packet.message
        assert isinstance(whole, messages.Append)
        first, rest = whole.entries[: int(count)], whole.entries[int(count) :]
        middle = whole.previous_index + len(first)
        term = first[-1].term if first else whole.previous_term
        parts = [
            messages.Append(whole.term, whole.previous_index, whole.previous_term, whole.committed, whole.round, first),
            messages.Append(whole.term, middle, term, whole.committed, whole.round, rest),
        ]
        header, _ = peer.parse_frame(framing.unpack(packet.frame[framing.LENGTH_BYTES :]))
        place = self.cluster.packets.index(packet)
        self.cluster.packets[place : place + 1] = [
            Packet(packet.source, packet.target, part, peer.pack_frames(header, [raft.CODEC.encode(part)], LIMIT)[0])
            for part in parts
        ]

    def _exchange(self, *nodes: str) -> None:
        self._quiet = True
        self.cluster.exchange(*map(int, nodes))

    def _transfer(self, node: str, target: str) -> None:
        refusal = self.cluster.engine(int(node)).command("raft-transfer", int(target), self.cluster.now)
        assert not refusal, refusal
        self.cluster.turn(int(node))

    def _settle(self) -> None:
        self._quiet = True
        self.cluster.settle()
        self.cluster.packets.clear()

    def _logs(self) -> None:
        for number, node in self.cluster.nodes.items():
            if node.engine is not None:
                self.lines.append(f"{number} {_state(node.engine)}")

    # What they caused.

    def _note(self) -> None:
        cluster = self.cluster
        if self._cut:
            cluster.packets = [p for p in cluster.packets if not self._cut & {p.source, p.target}]
        for packet in cluster.packets:
            if packet not in self._packets:
                self._packets.add(packet)
                if not self._quiet:
                    self.lines.append(f"{packet.source}>{packet.target} {_words(packet.message)}")
        for operation, result in cluster.answers[self._shown :]:
            self.lines.append(f"answer {name_of(operation)}: {_answer(result)}")
        self._shown = len(cluster.answers)
        self._quiet = False


def _state(engine: RaftEngine) -> str:
    log = engine.log
    entries = [f"{index}/{log.term_at(index)}" for index in range(log.base_index + 1, log.last_index + 1)]
    base = f"records to {log.base_index}/{log.base_term}, then " if log.base_index else ""
    return (
        f"{engine.election.role} term={engine.election.term} log: {base}{' '.join(entries) or '-'}, "
        f"committed to {log.committed}"
    )


def _words(message: Message) -> str:
    if isinstance(message, messages.Append):
        first = message.previous_index + 1
        entries = [f"{index}/{entry.term}" for index, entry in enumerate(message.entries, first)]
        words = f"after={message.previous_index}/{message.previous_term} committed={message.committed}"
        asked = f" round={message.round}" if message.round else ""
        return f"Append term={message.term} {words} entries={','.join(entries) or '-'}{asked}"
    if isinstance(message, messages.Appended):
        return f"Appended term={message.term} match={message.match}" + (f" round={message.round}" * bool(message.round))
    if isinstance(message, messages.Rejected):
        hint = f"{message.hint_index}/{message.hint_term}"
        return f"Rejected term={message.term} after={message.previous_index} hint={hint} applied={message.applied}"
    if isinstance(message, messages.VoteRequest):
        kind = "TrialRequest" if message.is_trial else "VoteRequest"
        last = f"{message.last_index}/{message.last_term}"
        return f"{kind} term={message.term} last={last}" + " by-transfer" * message.by_transfer
    if isinstance(message, messages.Vote):
        return f"{'Trial' if message.is_trial else 'Vote'} term={message.term} {'yes' if message.granted else 'no'}"
    if isinstance(message, messages.Forward):
        batches = ",".join(f"{batch.origin}#{batch.number}" for batch in message.batches)
        return f"Forward term={message.term} batches={batches}"
    if isinstance(message, messages.Expected):
        return f"Expected term={message.term} number={message.number}"
    if isinstance(message, messages.ReadRequest):
        return f"ReadRequest term={message.term} number={message.number}"
    if isinstance(message, messages.ReadIndex):
        return f"ReadIndex term={message.term} number={message.number} index={message.index}"
    if isinstance(message, messages.Chunk):
        keys = ",".join(key.decode() for key in message.keys)
        return f"Chunk term={message.term} snapshot={message.snapshot} part={message.number} keys={keys}"
    if isinstance(message, messages.Install):
        base = f"{message.base.index}/{message.base.term}"
        where = f"snapshot={message.snapshot} part={message.number}"
        return f"Install term={message.term} {where} since={message.since} base={base}"
    if isinstance(message, messages.Stored):
        return f"Stored term={message.term} snapshot={message.snapshot} part={message.number}"
    return f"{type(message).__name__} term={message.term}"


def _answer(result: Result) -> str:
    if result.status >= operations.ERROR_STATUS_MIN:
        return BY_STATUS[result.status].code
    value = result.value.decode() if isinstance(result.value, bytes) else "-" if result.value is None else result.value
    return f"ok {value} by entry {result.version >> POSITION_BITS}" if result.version else f"ok {value}"
