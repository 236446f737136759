"""`serve --trace`: a live node writes down what its engine hears and decides.

The recorder stands between the node and its engine and passes everything on. A node without one has nothing of this on
its way; see docs/trace-format.md for what is written.

A frame has no number of its own on the wire, so both ends name it by the checksum of what it says.
"""

import errno
import itertools
import json
import os
import time
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from paxoskv.core import errors, operations
from paxoskv.core.engine import Effects, Engine
from paxoskv.core.errors import ConfigurationError
from paxoskv.core.operations import KIND_NAMES, Operation, Result
from paxoskv.core.scan import ScanOperation
from paxoskv.core.text import shown, text
from paxoskv.paxos import describe as paxos
from paxoskv.paxos.engine import PaxosEngine
from paxoskv.raft import describe as raft
from paxoskv.raft.engine import RaftEngine
from paxoskv.server.clients import PageReply
from paxoskv.server.config import ClusterConfig, Options
from paxoskv.server.logs import NodeLog
from paxoskv.server.node import Node
from paxoskv.storage.contract import Storage
from paxoskv.trace.events import VERSION, Events
from paxoskv.wire import peer

_KEYS_REMEMBERED: Final = 100_000
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class _Words:
    """How one engine is described."""

    message: Callable[[Any], list[dict[str, Any]]]
    keys: Callable[[Any], Iterable[bytes]]
    state: Callable[[Any, bytes], dict[str, Any]]
    node: Callable[[Any], dict[str, Any]]
    entries: Callable[[Any], Iterable[tuple[int, Iterable[bytes]]]]
    """Of what is journaled, what shows in keys only when the node's `applied` gets there."""


_WORDS: Final[dict[type, _Words]] = {
    PaxosEngine: _Words(paxos.message, paxos.keys, paxos.held, lambda engine: {}, lambda message: ()),
    RaftEngine: _Words(raft.message, raft.keys, raft.record, raft.node, raft.entries),
}


def _check_is_trace(path: Path) -> None:
    """Raises OSError where there is something that lines of a trace would spoil, such as a cluster.toml."""
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if file.read(1) != b"{":
                raise OSError(errno.EEXIST, "it is there, and no trace", str(path))


class TraceFile:
    """Lines in a file that does not grow past a bound: the older half moves to FILE.1, over what was there."""

    def __init__(self, path: Path, bytes_max: int, on_new: Callable[[], object]) -> None:
        """`on_new` is called whenever a file has begun. Raises OSError, also for a file that is no trace."""
        self.path = path
        _check_is_trace(path)
        self._half = max(1, bytes_max // 2)
        self._on_new = on_new
        self._cut_torn_line()
        self._file = path.open("a", encoding="utf-8")
        self._size = path.stat().st_size

    def _cut_torn_line(self) -> None:
        """A process that was killed may have left the beginning of a line."""
        if not self.path.exists():
            return
        with self.path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            block = 4096
            while size:
                start = max(0, size - block)
                file.seek(start)
                end = file.read(size - start).rfind(b"\n")
                if end >= 0 or start == 0:
                    file.truncate(start + end + 1)
                    return
                size = start

    def write(self, line: str) -> None:
        """One line, without its end."""
        self._file.write(line)
        self._file.write("\n")
        self._size += len(line) + 1

    def end_turn(self) -> None:
        """Hand to the system what was written, so that it is there although the process be killed."""
        self._file.flush()
        if self._size > self._half:
            self._file.close()
            self.path.replace(self.path.with_name(self.path.name + ".1"))
            self._file = self.path.open("a", encoding="utf-8")
            self._size = 0
            self._on_new()

    def close(self) -> None:
        """Nothing more will be written."""
        self._file.close()


class TraceRecorder:
    """Writes the trace of one node. What the file system refuses ends the trace, and never the node."""

    def __init__(self, path: Path, bytes_max: int, log: NodeLog, begin: Mapping[str, Any]) -> None:
        """`begin` are the fields of the first line that only the node knows. Raises OSError."""
        if path.is_dir():
            path = path / f"node-{begin['node']}.jsonl"
        self.moment = time.monotonic()
        """When all that is written now happens: what a turn decides, happens at once."""
        self.events = Events(self._write, lambda: self.moment)
        self._log = log
        self._begin = begin
        self._node: int = begin["node"]
        self._off = False
        self._file = TraceFile(path, bytes_max, self._head)
        self._head()
        self.events.started(self._node, begin["incarnation"])
        self.end_turn()

    def _head(self) -> None:
        self.events.forget()
        self.events.event(
            "begin",
            version=VERSION,
            source="live",
            machine=_machine(),
            offset=round(time.time() - time.monotonic(), 6),
            **self._begin,
        )

    def _write(self, line: str) -> None:
        if not self._off:
            self._attempt(lambda: self._file.write(line))

    def tick(self) -> None:
        """What follows happens now."""
        self.moment = time.monotonic()

    def end_turn(self) -> None:
        """What was written so far can be read by others."""
        if not self._off:
            self._attempt(self._file.end_turn)

    def close(self) -> None:
        """The node stops, and says so."""
        self.tick()
        self.events.event("stop", node=self._node)
        self.end_turn()
        self._attempt(self._file.close)

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            self._off = True
            self._log.error("the trace ends", path=self._file.path, reason=error.strerror or str(error))


class TracedNode(Node):
    """A node with a recorder between it and its engine."""

    def __init__(
        self,
        config: ClusterConfig,
        number: int,
        options: Options,
        storage: Storage,
        engine: Engine[Any],
        codec: peer.Codec[Any],
        log: NodeLog,
    ) -> None:
        """Raises ConfigurationError."""
        assert options.trace is not None
        begin = {
            "mode": config.mode,
            "cluster": config.cluster,
            "nodes": sorted(config.nodes),
            "node": number,
            "incarnation": storage.incarnation,
        }
        try:
            self.recorder = TraceRecorder(options.trace, options.trace_bytes, log, begin)
        except OSError as error:
            reason = error.strerror or error
            raise ConfigurationError(f"the trace {options.trace} cannot be written: {reason}") from None
        super().__init__(config, number, options, storage, engine, codec, log)
        self._engine = cast(Engine[Any], Watched(engine, self, self.recorder))

    async def stop(self) -> None:
        await super().stop()
        self.recorder.close()

    def inject_fault(self, name: Any, argument: Any) -> str:
        refused = super().inject_fault(name, argument)
        if not refused:
            self.recorder.tick()
            kind = "heal" if argument is False else "fault"
            self.recorder.events.event(kind, kind=str(name), node=self.id, peer=None)
            if name == "clock-jump":
                self.recorder.events.event("heal", kind=str(name), node=self.id, peer=None)
            self.recorder.end_turn()
        return refused


class Watched:
    """An engine that tells what it hears and decides. What it does not name itself is its engine's."""

    def __init__(self, engine: Engine[Any], node: Node, recorder: TraceRecorder) -> None:
        self._engine = engine
        self._driver = node
        self._recorder = recorder
        self._events = recorder.events
        self._node = node.id
        self._words = _WORDS[type(engine)]
        self._calls: dict[int, int] = {}
        self._numbers = itertools.count(1)
        self._clients: weakref.WeakKeyDictionary[object, int] = weakref.WeakKeyDictionary()
        self._clients_seen = itertools.count(1)
        self._touched: dict[bytes, None] = {}
        self._unapplied: dict[int, Iterable[bytes]] = {}
        """The keys of entries that are in the log and not applied, by index."""
        self._broken: set[int] = set()
        self._left: list[tuple[str, int, int]] = []
        """Frames that were handed to their links last: (name, target, how many that link had dropped before)."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    # What it hears.

    def wall(self, milliseconds: int) -> None:
        """The beginning of a turn."""
        self._note_drops()
        self._recorder.tick()
        self._engine.wall(milliseconds)

    def submit(self, operations_: Sequence[Operation], now: float) -> None:
        """Calls of clients."""
        for operation in operations_:
            self._touched[operation.key] = None
            self._called(operation, KIND_NAMES[operation.kind])
        self._engine.submit(operations_, now)

    def scan(self, operation: ScanOperation, now: float) -> None:
        """A client asks for a page."""
        self._called(operation, "scan")
        self._engine.scan(operation, now)

    def _called(self, operation: Operation, kind: str) -> None:
        number = self._calls[id(operation)] = next(self._numbers)
        connection, _ = cast("tuple[object, int]", operation.reply)
        if isinstance(connection, PageReply):
            connection = connection.connection
        self._events.event(
            "call",
            call=number,
            client=self._client(connection),
            node=self._node,
            kind=kind,
            key=text(operation.key),
            argument=shown(operation.argument),
            condition=shown(operation.condition),
        )

    def _client(self, connection: object) -> int:
        """The number of a connection, which is never another's."""
        number = self._clients.get(connection)
        if number is None:
            number = self._clients[connection] = next(self._clients_seen)
        return number

    def receive(self, sender: int, messages: Sequence[Any], now: float) -> None:
        """A peer's frame."""
        self._events.received(self._name(messages), sender, self._node)
        self._touch(messages)
        self._engine.receive(sender, messages, now)

    def committed(self, sequence: int, now: float) -> None:
        """Rows are on the disk."""
        self._events.committed(self._node, sequence)
        self._engine.committed(sequence, now)

    def peer_up(self, number: int, incarnation: int, now: float) -> None:
        """A link works."""
        self._recorder.tick()
        if number in self._broken:
            self._broken.discard(number)
            self._events.event("heal", kind="link", node=self._node, peer=number)
        self._engine.peer_up(number, incarnation, now)

    def peer_lost(self, number: int, now: float) -> None:
        """A link is broken."""
        self._recorder.tick()
        if number not in self._broken:
            self._broken.add(number)
            self._events.event("fault", kind="link", node=self._node, peer=number)
        self._engine.peer_lost(number, now)

    # What it decides.

    def take_effects(self) -> Effects[Any]:
        """The end of a turn."""
        effects = self._engine.take_effects()
        events = self._events
        encode = self._driver.codec.encode
        # The same messages go to several peers, and are looked at once.
        frames: dict[tuple[int, ...], tuple[str, int, list[dict[str, Any]]]] = {}
        for target, messages in effects.sends.items():
            identity = tuple(map(id, messages))
            frame = frames.get(identity)
            if frame is None:
                size = sum(len(encode(message)) for message in messages)
                said = [one for message in messages for one in self._words.message(message)]
                frame = frames[identity] = (self._name(messages), size, said)
                self._touch(messages)
            name, size, said = frame
            self._left.append((name, target, self._driver.links[target].dropped_frames))
            events.frame(name, self._node, target, size, said)
        if effects.journal:
            size = sum(len(encode(message)) for message in effects.journal)
            events.journaled(self._node, effects.sequence, size)
            self._touch(effects.journal)
            for message in effects.journal:
                self._unapplied.update(self._words.entries(message))
        node = self._words.node(self._engine)
        events.state(self._node, None, node)
        for index in [index for index in self._unapplied if index <= node["applied"]]:
            self._touched.update(dict.fromkeys(self._unapplied.pop(index)))
        for key in self._touched:
            events.state(self._node, text(key), self._words.state(self._engine, key))
        self._touched.clear()
        for operation, result in effects.answers:
            self._answered(operation, result)
        if events.remembered > _KEYS_REMEMBERED:
            events.forget()
        self._recorder.end_turn()
        return effects

    def _answered(self, operation: Operation, result: Result) -> None:
        number = self._calls.pop(id(operation), None)
        if number is None:
            return
        status, value, version, _ = result
        done = status < operations.ERROR_STATUS_MIN
        if not isinstance(operation, ScanOperation):
            self._touched[operation.key] = None
        elif done:
            value = b" ".join([item.key for item in operation.items])
        definite = not done and errors.BY_STATUS[status].definite
        self._events.event(
            "return",
            node=self._node,
            call=number,
            outcome="ok" if done else "failed" if definite else "unknown",
            status=status,
            value=shown(value),
            version=version,
        )

    def _note_drops(self) -> None:
        left, self._left = self._left, []
        for name, target, dropped in left:
            link = self._driver.links[target]
            if link.dropped_frames > dropped:
                self._events.dropped(name, self._node, target, "lost" if link.up else "down")

    def _name(self, messages: Sequence[Any]) -> str:
        checksum = 0
        for message in messages:
            checksum = zlib.crc32(self._driver.codec.encode(message), checksum)
        return f"{checksum:08x}"

    def _touch(self, messages: Sequence[Any]) -> None:
        for key in _all_keys(self._words, messages):
            self._touched[key] = None


def _all_keys(words: _Words, messages: Sequence[Any]) -> Iterator[bytes]:
    for message in messages:
        yield from words.keys(message)


def _machine() -> str:
    """Processes that name the same one share a monotonic clock."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return json.dumps(list(os.uname()))
