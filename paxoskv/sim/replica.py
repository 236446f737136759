"""The simulator's driver of one engine: what `server.node` is, with virtual time, disk and network."""

import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgpack

from paxoskv.core.engine import Effects, Engine
from paxoskv.core.operations import Operation, Result
from paxoskv.core.scan import ScanOperation
from paxoskv.sim.configuration import Configuration
from paxoskv.sim.disk import Disk
from paxoskv.sim.mode import Mode
from paxoskv.sim.network import Network
from paxoskv.sim.timeline import Timeline
from paxoskv.sim.trace import Trace
from paxoskv.wire import framing, peer

CLUSTER: Final = "universe"
EPOCH: Final = 1
_FRAME_BYTES_MAX: Final = 4 << 20
_SLICE_RECORDS: Final = 4

# Some day, so that no expiry comes before it.
_EPOCH_MS: Final = 1_700_000_000_000
_WALL_SKEW_S_MAX: Final = 0.05


class Replica:
    """One node: its disk, which lasts, and its engine, which lives until the next crash."""

    def __init__(
        self,
        number: int,
        configuration: Configuration,
        mode: Mode,
        timeline: Timeline,
        network: Network,
        rng: random.Random,
        trace: Trace | None,
    ) -> None:
        self.number = number
        self.disk = Disk(timeline, rng, configuration.commit_s_min, configuration.commit_s_max)
        self.engine: Engine[Any] | None = None
        self.peers: dict[int, Replica] = {}
        self.crashes = 0
        self._marks = Counter(
            dict.fromkeys(("crashes", "stale_frames", "checkpoints", "torn_rows", "failed_commits"), 0)
        )
        self.die_after: int | None = None
        """Crash in the next turn that has something for the disk, after so many of its effects."""
        self.on_answer: Callable[[Any, Result], None] = lambda reply, result: None
        """Told of every answer: what the operation carries as `reply`, and the result."""
        self.on_crash: Callable[[Replica], None] = lambda replica: None
        self.on_elected: Callable[[], None] = lambda: None
        """Told when this node leads that did not before."""
        self._configuration = configuration
        self._mode = mode
        self._leads = mode.leads
        # Of these every turn makes use.
        self._watch = mode.watch
        self._encode, self._decode = mode.codec.encode, mode.codec.decode
        self._turn_s = configuration.turn_s
        self._timeline = timeline
        self._network = network
        self._rng = rng
        self._trace = trace
        self._down = 0
        self._paused = 0
        self._rate = 1.0 + rng.uniform(-1, 1) * configuration.drift
        self._offset = rng.uniform(0, 1000)
        self._wall_s = random.Random(f"{configuration.seed} wall {number}").uniform(-_WALL_SKEW_S_MAX, _WALL_SKEW_S_MAX)
        """By how much the wall clock is wrong."""
        self._clear()
        self.disk.on_committed = self._on_committed
        self.disk.on_failed = self._on_commit_failed

    def _clear(self) -> None:
        """Forget what only a process knows."""
        self._incarnations: dict[int, int] = {}
        self._operations: list[Operation] = []
        self._scans: list[ScanOperation] = []
        self._messages: list[tuple[int, list[Any]]] = []
        self._committed = 0
        self._scheduled = False
        self._tick_due = False
        self._timer_at = float("inf")
        self._checkpointing = False
        self._leading = False
        self._life = self.crashes

    def marks(self) -> Counter[str]:
        """What happened to this node, and its engine's counters, over all its lives."""
        marks = self._marks.copy()
        if self.engine is not None:
            status = self.engine.status()
            marks.update({name: count for name, count in status["engine"].items() if type(count) is int})
            marks.update({name: status[name] for name in ("evictions", "loads")})
        return marks

    @property
    def up(self) -> bool:
        """A process runs, though it may be paused."""
        return self.engine is not None

    def clock(self) -> float:
        """The node's own time: it drifts and jumps, and never goes back."""
        return self._offset + self._timeline.now * self._rate

    def wall_ms(self) -> int:
        """What the node's wall clock shows. Unlike `clock` it also goes back."""
        return _EPOCH_MS + int((self._timeline.now * self._rate + self._wall_s) * 1000)

    def jump_wall(self, seconds: float) -> None:
        """Somebody sets the wall clock, either way."""
        self._wall_s += seconds

    def jump(self, seconds: float) -> None:
        """Set the clock forward."""
        self._offset += seconds
        self._set_timer()

    # The life of a process.

    def start(self) -> None:
        """Start a process on the disk, unless another fault keeps it down."""
        if self._down or self.engine is not None:
            return
        disk = self.disk
        disk.incarnation += 1
        engine = self._mode.build(
            self.number,
            disk.incarnation,
            tuple(sorted([self.number, *self.peers])),
            random.Random(self._rng.getrandbits(64)),
            self._configuration,
            not disk.records,
        )
        rows = [msgpack.unpackb(row, use_list=False) for row in disk.replay()]
        self._marks["torn_rows"] = disk.torn
        for row in [(), *rows]:
            journal = [self._decode(encoded) for encoded in row]
            while missing := engine.recover(journal):
                engine.loaded({key: disk.records.get(key) for key in missing}, self.clock())
        self._clear()
        self.engine = engine
        self._watch.started(self.number, engine)
        if self._trace is not None:
            self._trace.started(self.number, disk.incarnation)
        for other in self.peers.values():
            if other.engine is not None:
                self.connected(other)
                other.connected(self)
        self._schedule()

    def crash(self) -> None:
        """The process dies, here and now."""
        if self.engine is None:
            return
        self._marks = self.marks()
        self._marks["crashes"] += 1
        self.engine = None
        self.die_after = None
        self.crashes += 1
        self._clear()
        self._watch.committed(self.number, self.disk.crash())
        if self._trace is not None:
            self._trace.crashed(self.number)
        self.on_crash(self)
        for other in self.peers.values():
            other.disconnected(self)

    def keep_down(self) -> None:
        """Crash, and stay so until as many `let_up`."""
        self._down += 1
        self.crash()

    def let_up(self) -> None:
        """Undo one `keep_down`, and start if nothing else keeps it down."""
        self._down -= 1
        self.start()

    def pause(self) -> None:
        """No turn happens any more, until as many `resume`. What arrives, waits."""
        self._paused += 1

    def resume(self) -> None:
        """Undo one `pause`."""
        self._paused -= 1
        if not self._paused and self.engine is not None:
            self._schedule()

    def _on_commit_failed(self) -> None:
        # Whatever such a disk says next time is not to be believed (D2).
        self._marks["failed_commits"] += 1
        self.keep_down()
        self._timeline.after(self._rng.uniform(0.001, 0.05), self.let_up)

    # Peers.

    def connected(self, other: "Replica") -> None:
        """The way to a peer is there, under its present incarnation."""
        if self.engine is not None and other.engine is not None:
            self._introduce(other.number, other.disk.incarnation)
            self.engine.peer_up(other.number, other.disk.incarnation, self.clock())
            self._schedule()

    def disconnected(self, other: "Replica") -> None:
        """The way to a peer is gone, as far as one can tell."""
        if self.engine is not None:
            self.engine.peer_lost(other.number, self.clock())
            self._schedule()

    def _introduce(self, sender: int, incarnation: int) -> None:
        """What was received of a former incarnation, and not handled yet, is answered to nobody."""
        if self._incarnations.get(sender) != incarnation:
            self._incarnations[sender] = incarnation
            self._messages = [received for received in self._messages if received[0] != sender]
            assert self.engine is not None
            self.engine.peer_up(sender, incarnation, self.clock())

    def deliver(self, source: int, frame: bytes) -> bool:
        """Take a peer's frame; False when it is for another incarnation, or from a former one."""
        if self.engine is None:
            return False
        header, encoded = peer.parse_frame(framing.unpack(frame[framing.LENGTH_BYTES :]))
        assert header.sender == source
        if header.recipient_incarnation != self.disk.incarnation or (
            self._incarnations.get(source, 0) > header.incarnation
        ):
            self._marks["stale_frames"] += 1
            return False
        self._introduce(source, header.incarnation)
        decode = self._decode
        self._messages.append((source, [decode(message) for message in encoded]))
        self._schedule()
        return True

    # Turns.

    def submit(self, operation: Operation) -> bool:
        """A client's operation, or its scan; False when there is no process to take it."""
        if self.engine is None:
            return False
        if isinstance(operation, ScanOperation):
            self._scans.append(operation)
        else:
            self._operations.append(operation)
        self._schedule()
        return True

    def command(self, name: str, argument: Any) -> None:
        """An operator's wish, which may be refused."""
        if self.engine is not None:
            self.engine.command(name, argument, self.clock())
            self._schedule()

    def _on_committed(self, sequence: int) -> None:
        self._committed = sequence
        self._watch.committed(self.number, sequence)
        if self._trace is not None:
            self._trace.committed(self.number, sequence)
        self._schedule()
        if self.disk.journal_bytes > self._configuration.journal_bytes:
            self._checkpoint()

    def _schedule(self) -> None:
        if self._scheduled or self._paused:
            return
        self._scheduled = True
        turn_s = self._turn_s
        self._timeline.after(turn_s * self._rng.random() if turn_s else 0.0, self._turn, self._life)

    def _turn(self, life: int) -> None:
        if life != self._life or self.engine is None:
            return
        self._scheduled = False
        if self._paused:
            return
        engine = self.engine
        now = self.clock()
        engine.wall(self.wall_ms())
        if self._committed:
            sequence, self._committed = self._committed, 0
            engine.committed(sequence, now)
        if self._messages:
            received, self._messages = self._messages, []
            for sender, messages in received:
                engine.receive(sender, messages, now)
        if self._operations:
            operations, self._operations = self._operations, []
            engine.submit(operations, now)
        if self._scans:
            scans, self._scans = self._scans, []
            for scan in scans:
                engine.scan(scan, now)
        if self._tick_due:
            self._tick_due = False
            engine.tick(now)
        effects = engine.take_effects()
        self._watch.turn(self.number, engine, effects)
        if self._leads is not None and self._leading != self._leads(engine):
            self._leading = not self._leading
            if self._leading:
                self.on_elected()
        if self.die_after is not None and effects.journal:
            self._die_in_turn(effects)
        else:
            self._carry_out(effects)

    def _carry_out(self, effects: Effects[Any]) -> None:
        for target, messages in effects.sends.items():
            self._send(target, messages)
        if effects.journal:
            self._append(effects)
        for operation, result in effects.answers:
            self.on_answer(operation.reply, result)
        if effects.loads:
            self.disk.load(effects.loads, self._loaded)
        for scan in effects.scans:
            self.disk.scan(scan, self._scanned)
        if self._trace is not None:
            assert self.engine is not None
            self._trace.changed(self.number, self.engine)
        self._set_timer()
        assert self.engine is not None
        if self.engine.wants_checkpoint:
            self._checkpoint()

    def _die_in_turn(self, effects: Effects[Any]) -> None:
        """Do a part of what was decided, then die."""
        steps: list[Callable[[], object]] = [
            *[lambda target=target, said=said: self._send(target, said) for target, said in effects.sends.items()],
            lambda: self._append(effects),
            *[lambda reply=o.reply, result=r: self.on_answer(reply, result) for o, r in effects.answers],
        ]
        # In any order: a driver sends and journals side by side, and processes die between the threads' steps too.
        self._rng.shuffle(steps)
        assert self.die_after is not None
        for step in steps[: self.die_after % (len(steps) + 1)]:
            step()
        self.keep_down()
        self._timeline.after(self._rng.choice((0.0005, 0.005, 0.05)), self.let_up)

    def _send(self, target: int, messages: list[Any]) -> None:
        header = peer.Header(CLUSTER, EPOCH, self.number, self.disk.incarnation, self._incarnations.get(target, 0))
        encode = self._encode
        for frame in peer.pack_frames(header, [encode(message) for message in messages], _FRAME_BYTES_MAX):
            self._network.send(self.number, target, frame)

    def _append(self, effects: Effects[Any]) -> None:
        self._watch.journaled(self.number, effects.sequence, effects.journal)
        encode = self._encode
        row = framing.encode([encode(message) for message in effects.journal])
        if self._trace is not None:
            self._trace.journaled(self.number, effects.sequence, len(row))
        self.disk.append(effects.sequence, row)

    def _loaded(self, records: Any) -> None:
        assert self.engine is not None
        self.engine.loaded(records, self.clock())
        self._schedule()

    def _scanned(self, number: int, records: Any, last: bytes | None) -> None:
        assert self.engine is not None
        self.engine.scanned(number, records, last, self.clock())
        self._schedule()

    def _set_timer(self) -> None:
        if self.engine is None:
            return
        deadline = self.engine.deadline()
        if deadline is None:
            return
        now = self._timeline.now
        due = max((deadline - self._offset) / self._rate, now)
        if due == now:
            # Where rounding has it that no time is left, and yet the node's clock shows less than the deadline, the
            # engine would say that it is too early, and be asked again, at this very moment for ever.
            while self._offset + due * self._rate < deadline:
                due += math.ulp(2 * deadline)
        if due < self._timer_at:
            self._timer_at = due
            self._timeline.after(due - now, self._on_timer, self._life, due)

    def _on_timer(self, life: int, due: float) -> None:
        if life != self._life:
            return
        if self._timer_at == due:
            self._timer_at = float("inf")
        self._tick_due = True
        self._schedule()

    # Checkpoints.

    def _checkpoint(self) -> None:
        if self._checkpointing or self.engine is None:
            return
        self._checkpointing = True
        boundary = self.disk.boundary()
        self.engine.begin_checkpoint()
        self._fold(boundary)

    def _fold(self, boundary: int) -> None:
        engine = self.engine
        assert engine is not None
        records = engine.checkpoint_slice(_SLICE_RECORDS)

        def folded() -> None:
            engine.folded([key for key, _ in records])
            self._schedule()
            self._fold(boundary)

        def trimmed() -> None:
            self._checkpointing = False
            self._marks["checkpoints"] += 1

        if records:
            self.disk.fold(records, folded)
        else:
            self.disk.trim(boundary, trimmed)
