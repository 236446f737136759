"""A node: turns its engine whenever something arrived, and does what the engine decided.

One turn, one batch. Whatever arrived in one round of the event loop (operations, peers' messages, finished commits)
is handled together and leaves as at most one frame for each peer and client. There are no timers to fill a batch:
while a commit is on its way the next one grows by itself.
"""

import asyncio
import contextlib
import resource
import time
from collections.abc import Sequence
from typing import Any, Final, cast

import msgpack

from paxoskv.core.build import COMPILED
from paxoskv.core.engine import Engine, Scan
from paxoskv.core.errors import ConfigurationError, ProtocolError
from paxoskv.core.operations import Operation
from paxoskv.core.scan import ScanOperation
from paxoskv.redis.connection import RedisConnection
from paxoskv.redis.session import Sessions
from paxoskv.server.clients import ClientConnection, ClientPort
from paxoskv.server.config import ClusterConfig, Options
from paxoskv.server.logs import NodeLog
from paxoskv.server.peers import PeerConnection, PeerLink
from paxoskv.storage import datafile
from paxoskv.storage.contract import Storage
from paxoskv.wire import framing, peer

# How a disk is.
OK: Final = "ok"
FULL: Final = "full"
HANGS: Final = "hangs"

_CLIENTS_MAX: Final = 100_000
_OWN_FILES: Final = 128
# Of a checkpoint, between two commits: 128 records cost about as much as a commit. In slices of eight times as many,
# twice as many or more are written in a second, while commits take two to three times as long.
_SLICE_RECORDS: Final = 128
_SLICE_RECORDS_BEHIND: Final = 1024
_HOUSEKEEPING_S: Final = 0.5
_DISK_PATIENCE_S: Final = 1.0
_REPLAY_ROWS: Final = 64
_NODES_SHOWN_MAX: Final = 16
_CLIENT_REFUSED_S: Final = 10.0
_CLOCK_JUMP_S_MAX: Final = 3600.0
# So long clients have to take leave of a node that stops.
_FAREWELL_S_MAX: Final = 1.0


TASK_FAILED: Final = "a task of the node failed"
"""What the loop's exception handler is told of the node's own tasks, of which none may fail."""


def _clients_max() -> int:
    """As many connections as there are file descriptors, but for those that the node needs itself.

    Raises ConfigurationError where none would be left.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CLIENTS_MAX + _OWN_FILES if hard == resource.RLIM_INFINITY else min(hard, _CLIENTS_MAX + _OWN_FILES)
    if wanted <= _OWN_FILES:
        raise ConfigurationError(
            f"this process may have {hard} files open, of which a node needs {_OWN_FILES} for itself; raise the limit "
            "(ulimit -n, or LimitNOFILE of its service) by one for each client"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted - _OWN_FILES


def slice_records(journal_bytes: int, wanted_bytes: int) -> int:
    """How many records a checkpoint writes at a time.

    Where the journal has come to twice what it should be, checkpoints do not keep up: then its length, memory and the
    time that the next start takes have no bound, and that weighs more than what a commit takes.
    """
    return _SLICE_RECORDS if journal_bytes <= 2 * wanted_bytes else _SLICE_RECORDS_BEHIND


def _listed(nodes: Sequence[int]) -> str:
    return ", ".join(map(str, nodes[:_NODES_SHOWN_MAX])) + (", ..." if len(nodes) > _NODES_SHOWN_MAX else "")


class Node:
    """The parts of one running node, and the turn that connects them."""

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
        self.id = number
        self.config = config
        self.options = options
        self.cluster = config.cluster
        self.epoch = config.epoch
        self.limits = config.limits
        self.codec = codec
        self.incarnation = storage.incarnation
        self.log = log
        self.stopping = False
        """No operation is taken any more."""
        self._stopped = False
        """The engine takes no turn any more: storage is about to close, and takes no row then."""
        self.started_at = time.monotonic()
        self.connections: set[ClientConnection] = set()
        self.silent_connections: set[ClientPort] = set()
        self.redis_sessions = Sessions()
        self.clients_max = _clients_max()
        self.key_bytes_max = config.limits.key_bytes_max
        self.value_bytes_max = config.limits.value_bytes_max
        self.peer_connections: set[PeerConnection] = set()
        self.incarnations: dict[int, int] = {}
        self.stale_frames = 0
        self.links = {other.id: PeerLink(self, other) for other in config.nodes.values() if other.id != number}
        self.hello = peer.PeerHello(
            config.mode,
            config.cluster,
            config.epoch,
            number,
            storage.incarnation,
            storage.uuid,
            tuple(sorted(config.nodes)),
            config.limits.key_bytes_max,
            config.limits.value_bytes_max,
        )
        self._storage = storage
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._clock_offset = 0.0
        self._scheduled = False
        self._operations: list[Operation] = []
        self._scans: list[ScanOperation] = []
        self._messages: list[tuple[int, list[Any]]] = []
        self._committed = 0
        self._committed_seen = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._tick_due = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusals: dict[str, str] = {}
        self._client_refused_from = 0.0
        self._checkpointing = False
        self._storage_uuids = dict(storage.peers)
        self._writes_to = 0
        self._turns = 0
        self._turn_operations = 0
        self._drained = asyncio.Event()
        self._left = asyncio.Event()

    # Start.

    async def recover(self) -> int:
        """Replay the journal; answers how many rows there were. Raises StorageError when they are damaged."""
        try:
            return await self._replay()
        except (ProtocolError, ValueError, TypeError, msgpack.UnpackException) as error:
            # Every row has a checksum, so a defect of this program wrote it, or another version.
            path = self.config.node(self.id).data / datafile.FILE
            what = f"is damaged (its journal or its records cannot be read: {error or type(error).__name__})"
            raise datafile.refusal(path, what) from error

    async def _replay(self) -> int:
        count = 0
        engine = self._engine
        decode = self.codec.decode
        while missing := engine.recover([]):
            engine.loaded(await self._storage.load(missing), self.now())
        async for rows in self._storage.replay():
            for start in range(0, len(rows), _REPLAY_ROWS):
                part = rows[start : start + _REPLAY_ROWS]
                journal = [decode(encoded) for row in part for encoded in msgpack.unpackb(row, use_list=False)]
                while missing := engine.recover(journal):
                    engine.loaded(await self._storage.load(missing), self.now())
                count += len(part)
        return count

    def start(self) -> None:
        """Begin to talk to peers."""
        self._storage.on_committed = self._on_committed
        for link in self.links.values():
            self.spawn(link.run())
        self.spawn(self._housekeeping())
        self._schedule()

    def spawn(self, coroutine: Any) -> None:
        """Run something in the background until the node stops. What it raises ends the node."""
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler({"message": TASK_FAILED, "exception": error})

    def now(self) -> float:
        """The node's time in seconds. Not the loop's own: uvloop's has milliseconds; this one has the same zero."""
        return time.monotonic() + self._clock_offset

    def wall_ms(self) -> int:
        """What this node's clock shows, milliseconds since the epoch. Only expiry looks at it."""
        return time.time_ns() // 1_000_000

    # What arrives.

    def submit(self, operations: Sequence[Operation]) -> None:
        """Operations of a client; `reply` is (connection, id)."""
        self._operations.extend(operations)
        if not self._scheduled:
            self._schedule()

    def scan(self, operation: ScanOperation) -> None:
        """A client's scan; `reply` as of other operations."""
        self._scans.append(operation)
        if not self._scheduled:
            self._schedule()

    def receive(self, sender: int, messages: list[Any]) -> None:
        """One peer's frame."""
        self._messages.append((sender, messages))
        if not self._scheduled:
            self._schedule()

    def _on_committed(self, sequence: int) -> None:
        if self._stopped:
            return
        self._committed = sequence
        if not self._scheduled:
            self._schedule()
        self._checkpoint_if_wanted()

    def _checkpoint_if_wanted(self) -> None:
        if not self._checkpointing and (
            self._storage.journal_bytes > self.options.journal_bytes or self._engine.wants_checkpoint
        ):
            self._checkpointing = True
            self.spawn(self._checkpoint())

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._stopped:
            return
        engine = self._engine
        now = self.now()
        engine.wall(self.wall_ms())
        if self._committed > self._committed_seen:
            self._committed_seen = self._committed
            engine.committed(self._committed, now)
        if self._messages:
            received = self._messages
            self._messages = []
            for sender, messages in received:
                engine.receive(sender, messages, now)
        if self._operations:
            operations = self._operations
            self._operations = []
            self._turns += 1
            self._turn_operations += len(operations)
            engine.submit(operations, now)
        if self._scans:
            scans, self._scans = self._scans, []
            for scan in scans:
                engine.scan(scan, now)
        if self._tick_due:
            self._tick_due = False
            engine.tick(now)
        self._carry_out()

    def _carry_out(self) -> None:
        effects = self._engine.take_effects()
        # Proposals do not depend on the own disk; they race it. What does depend on it, the engine holds back.
        for target, messages in effects.sends.items():
            self.links[target].send(messages)
        if effects.journal:
            row: bytes = msgpack.packb([self.codec.encode(message) for message in effects.journal])
            self._storage.append(effects.sequence, row)
        if effects.answers:
            waiting: list[ClientConnection | RedisConnection] = []
            for operation, result in effects.answers:
                # A connection of either kind, or what takes a scan's page in the place of one and has nothing to flush.
                connection, identifier = cast("tuple[Any, Any]", operation.reply)
                if connection.completed(identifier, result):
                    waiting.append(connection)
            for connection in waiting:
                connection.flush()
        if self._engine.writes_to != self._writes_to:
            self._writes_to = self._engine.writes_to
            for client in self.connections:
                client.write_route()
        if self.stopping and not self._in_flight() and self._engine.retired:
            self._drained.set()
        if effects.loads:
            self.spawn(self._load(effects.loads))
        for scan in effects.scans:
            self.spawn(self._scan(scan))
        deadline = self._engine.deadline()
        if deadline is not None and (self._timer is None or deadline < self._timer_at):
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            self._timer = self._loop.call_at(deadline - self._clock_offset, self._on_timer)

    def _on_timer(self) -> None:
        # Whatever the clock says: loops round, and a tick that was judged too early would be the last one.
        self._timer = None
        self._tick_due = True
        if not self._scheduled:
            self._scheduled = True
            self._turn()

    # The disk.

    async def _load(self, keys: list[bytes]) -> None:
        records = await self._storage.load(keys)
        self._engine.loaded(records, self.now())
        if not self._scheduled:
            self._schedule()

    async def _scan(self, scan: Scan) -> None:
        records, after = await self._storage.scan(scan.start, scan.end, scan.floor, scan.limit)
        self._engine.scanned(scan.number, records, after, self.now())
        if not self._scheduled:
            self._schedule()

    async def _checkpoint(self) -> None:
        """Fold changed records into their table, slice by slice, and forget the journal before them."""
        started = time.monotonic()
        boundary = self._storage.boundary()
        count = self._engine.begin_checkpoint()
        for _ in iter(self._engine.order_checkpoint, False):
            await asyncio.sleep(0)
        storage = self._storage
        while records := self._engine.checkpoint_slice(
            slice_records(storage.journal_bytes, self.options.journal_bytes)
        ):
            await self._storage.fold(records)
            self._engine.folded([key for key, _ in records])
            # Or memory would stay over its bound until somebody asks for something.
            if not self._scheduled:
                self._schedule()
        await self._storage.trim(boundary)
        self._checkpointing = False
        self.log.debug("checkpoint", records=count, seconds=time.monotonic() - started)

    async def _housekeeping(self) -> None:
        """What need not happen at once: the disk's state for the log, checkpoints though nothing is committed."""
        disk = OK
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            before, disk = disk, self._disk
            if disk != before:
                self._log_disk(before, disk)
            self._checkpoint_if_wanted()

    @property
    def _disk(self) -> str:
        """How the disk is."""
        if self._storage.disk_full:
            return FULL
        # An engine hears of what hangs when it matters to its memory; people had better hear of it sooner.
        hangs = self._storage.changing_s > _DISK_PATIENCE_S or self._engine.status()["engine"]["disk_hangs"]
        return HANGS if hangs else OK

    def _log_disk(self, before: str, now: str) -> None:
        path = self.config.node(self.id).data
        effect = "this node does not vote, and coordinates through the others"
        if now == FULL:
            self.log.error("disk full", path=path, effect=f"until there is room, {effect}")
        elif now == HANGS:
            self.log.warning("disk hangs", path=path, effect=f"until it answers, {effect}")
        else:
            self.log.info("disk has room again" if before == FULL else "disk works again")

    # Peers.

    def check_peer(self, hello: peer.PeerHello, expected: int | None = None) -> None:
        """Raise ProtocolError, with a sentence, unless this is a node of our cluster on the disk that we know."""
        if hello.cluster != self.cluster:
            raise ProtocolError(f"it belongs to cluster {framing.shown(hello.cluster)}, this node to {self.cluster!r}")
        if hello.mode != self.config.mode:
            raise ProtocolError(f"it runs in {hello.mode} mode, this cluster in {self.config.mode} mode")
        if hello.epoch != self.epoch:
            raise ProtocolError(
                f"its configuration has epoch {hello.epoch}, this node's {self.epoch}; give both the same cluster.toml"
            )
        if hello.nodes != self.hello.nodes:
            # Majorities of one list need not meet those of another, and a key's home would not be the same.
            raise ProtocolError(
                f"its cluster.toml has the nodes {_listed(hello.nodes)}, this node's {_listed(self.hello.nodes)}; give "
                "both the same"
            )
        for name in ("key_bytes_max", "value_bytes_max"):
            theirs, ours = getattr(hello, name), getattr(self.hello, name)
            if theirs != ours:
                # What the larger one allows would not fit the other's frames, and would break the connection each time.
                raise ProtocolError(
                    f"its cluster.toml has {name} = {theirs}, this node's {ours}; give both the same file, and start "
                    "them again"
                )
        if expected is not None and hello.node != expected:
            raise ProtocolError(f"node {hello.node} answers at the address of node {expected}; check cluster.toml")
        if hello.node == self.id:
            raise ProtocolError(f"another process runs as node {self.id}; every node needs an id of its own")
        if hello.node not in self.links:
            raise ProtocolError(f"node {hello.node} is not in this node's cluster.toml")
        known = self._storage_uuids.get(hello.node)
        if known is not None and known != hello.storage_uuid:
            raise ProtocolError(
                f"node {hello.node} has another disk than the one this cluster knows (storage {hello.storage_uuid}, "
                f"not {known}). A node that lost its disk would break its promises: bring the old disk back, or leave "
                "the node off, and copy the keys to a new cluster (docs/operating.md)"
            )
        if hello.incarnation < self.incarnations.get(hello.node, 0):
            raise ProtocolError(
                f"node {hello.node} was already here as incarnation {self.incarnations[hello.node]}, and claims "
                f"{hello.incarnation} now: either it is started twice, or its disk was restored from a copy"
            )

    def heard_of(self, hello: peer.PeerHello) -> None:
        """A peer has introduced itself, and was found right."""
        if hello.node not in self._storage_uuids:
            self._storage_uuids[hello.node] = hello.storage_uuid
            self.spawn(self._storage.remember_peer(hello.node, hello.storage_uuid))
        link = self.links[hello.node]
        if self.incarnations.get(hello.node) != hello.incarnation:
            self.incarnations[hello.node] = hello.incarnation
            # What was received of the former one, and not handled yet, is answered to nobody.
            self._messages = [received for received in self._messages if received[0] != hello.node]
            self._engine.peer_up(hello.node, hello.incarnation, self.now())
            if not link.up:
                self._engine.peer_lost(hello.node, self.now())
            if not self._scheduled:
                self._schedule()
        link.wake()

    def peer_up(self, hello: peer.PeerHello) -> None:
        """The link to a peer works."""
        self.heard_of(hello)
        self._engine.peer_up(hello.node, hello.incarnation, self.now())
        if not self._scheduled:
            self._schedule()

    def peer_lost(self, number: int) -> None:
        """The link to a peer broke."""
        self._engine.peer_lost(number, self.now())
        if not self._scheduled:
            self._schedule()

    def refused(self, sender: str, reason: str) -> None:
        """Log a refused connection on the peer port, once for each sender and reason."""
        if self._refusals.get(sender) != reason:
            if len(self._refusals) > 1000:
                self._refusals.clear()
            self._refusals[sender] = reason
            self.log.warning("peer refused", peer=sender, reason=reason)

    def client_refused(self, reason: str) -> None:
        """Log that a client was refused; not more often than once in a while, since there may be many."""
        now = time.monotonic()
        if now >= self._client_refused_from:
            self._client_refused_from = now + _CLIENT_REFUSED_S
            self.log.warning("client refused", reason=reason)

    @property
    def client_count(self) -> int:
        """Connections on the client port."""
        return len(self.connections) + len(self.silent_connections) + len(self.redis_sessions.connections)

    @property
    def writes_to(self) -> str:
        """The client address of the node that takes writes with the least detour, "" when that is any, or not known."""
        return str(self.config.node(self._writes_to).client) if self._writes_to else ""

    # For people.

    def status(self) -> dict[str, Any]:
        """What `paxoskv status` shows, JSON-compatible."""
        node = self.config.node(self.id)
        engine = self._engine.status()
        return {
            "node": self.id,
            "cluster": self.cluster,
            "mode": self.config.mode,
            "build": "compiled" if COMPILED else "interpreted",
            "epoch": self.epoch,
            "incarnation": self.incarnation,
            "client": str(node.client),
            "peer": str(node.peer),
            "uptime_s": round(time.monotonic() - self.started_at, 1),
            "keys": max(self._storage.record_count, engine["cached_keys"]),
            "clients": self.client_count,
            "stale_frames": self.stale_frames,
            **engine,
            "disk": self._disk,
            "storage": self._storage.status(),
            "peers": {
                str(link.target.id): {
                    "state": "up" if link.up else "down",
                    "address": str(link.target.peer),
                    "sent_frames": link.sent_frames,
                    "dropped_frames": link.dropped_frames,
                    "reason": link.reason,
                }
                for link in self.links.values()
            },
            "batches": {
                "turns": self._turns,
                "operations_per_turn": round(self._turn_operations / self._turns, 1) if self._turns else 0.0,
            },
        }

    def inject_fault(self, name: Any, argument: Any) -> str:
        """Switch a fault on or off; answers why not, or nothing."""
        if not self.options.fault_injection:
            return "this node was not started with --fault-injection"
        if name == "disk-stall" and type(argument) is bool:
            self._storage.stall(argument)
        elif name == "clock-jump" and type(argument) is float and 0 < argument <= _CLOCK_JUMP_S_MAX:
            self._clock_offset += argument
            self._tick_due = True
            if not self._scheduled:
                self._schedule()
        else:
            known = "disk-stall (true or false) and clock-jump (seconds, a float)"
            return f"unknown fault {framing.shown(name)}; there are {known}"
        self.log.warning("fault injected", fault=name, argument=argument)
        return ""

    def command(self, name: Any, argument: Any) -> str:
        """An operator's wish for the engine; answers why it is not granted, or nothing."""
        refusal = self._engine.command(name, argument, self.now())
        self.log.info("command", name=name, argument=argument, refusal=refusal)
        if not self._scheduled:
            self._schedule()
        return refusal

    # Stop.

    async def drain(self, timeout_s: float) -> int:
        """Take no more operations, finish those in flight, and hand over what the others would miss.

        Answers how many operations are left when time is up.
        """
        self.stopping = True
        for connection in list(self.connections):
            connection.leave()
        self._engine.retire(self.now())
        if not self._scheduled:
            self._schedule()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._drained.wait()
        with contextlib.suppress(TimeoutError):
            # What a client has sent by now lies unread somewhere, and would be in doubt if the connection broke.
            async with asyncio.timeout(_FAREWELL_S_MAX):
                while self.connections:
                    self._left.clear()
                    await self._left.wait()
        return self._in_flight()

    def left(self, connection: ClientConnection) -> None:
        """The client is gone."""
        self.connections.discard(connection)
        self._left.set()

    def _in_flight(self) -> int:
        return len(self._operations) + len(self._scans) + int(self._engine.status()["operations_in_flight"])

    async def stop(self) -> None:
        """End the background tasks and close every connection. What peers say from here on is not heard."""
        self._stopped = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        for connection in list(self.connections):
            connection.close()
        for unknown in list(self.silent_connections):
            unknown.close()
        for door in list(self.redis_sessions.connections):
            door.close()
        for peer_connection in list(self.peer_connections):
            peer_connection.close()
