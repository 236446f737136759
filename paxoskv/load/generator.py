"""Clients in closed loops, or operations at a fixed rate, over raw connections.

Each lane is one client: it has one operation in flight, and its callback sends the next. No task and no future for
an operation; what goes out in one round of the event loop leaves as one frame for each node.
"""

import asyncio
import bisect
import collections
import contextlib
import gc
import itertools
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from paxoskv.client import client
from paxoskv.client.connection import LOST, UNSENT, Connection, favoured
from paxoskv.core import errors, operations
from paxoskv.core.errors import BadRequest, NotReached, PaxosKVError
from paxoskv.core.operations import Argument
from paxoskv.core.scan import PAGE_KEYS_MAX, prefix_end
from paxoskv.load.histogram import Histogram
from paxoskv.load.timeline import Timeline

_CONNECT_S: Final = 5.0
_RETRY_S: Final = 0.05
_OPEN_LOOP_TICK_S: Final = 0.001
# How often operations are looked for that nobody answered in time.
_SWEEP_S_MAX: Final = 1.0
_LOAD_IN_FLIGHT: Final = 512
# Operations that an open loop lets pile up before it counts new ones as not sent.
_OPEN_LOOP_IN_FLIGHT_MAX: Final = 100_000
_VALUES: Final = 64
_ZIPF_THETA: Final = 0.99


@dataclass(slots=True)
class Plan:
    """What to do. `rate` is in operations per second for all clients together, 0 for closed loops."""

    endpoints: list[str]
    clients: int = 256
    duration_s: float = 10.0
    warmup_s: float = 0.0
    keys: int = 10_000
    value_size: int = 64
    read_ratio: float = 0.0
    distribution: str = "uniform"
    op: str = "put"
    """put, incr or rmw for what is not a get; scan: scans in place of gets, and inserts of new keys."""
    scan_length: int = 100
    """Keys that the longest scan wants; each wants from 1 to so many, uniformly."""
    route: str = "key"
    rate: float = 0.0
    seed: int = 0
    prefix: str = "bench/"
    load: bool = True
    """Write every key once before anything is measured."""
    timeout_s: float = 5.0
    timeline: bool = False
    """Keep what happened in every 10 ms, and the longest gap of each client."""
    part: int = 0
    """Which of `parts` processes this is, so that sequential keys are divided over them."""
    parts: int = 1


@dataclass(slots=True)
class Outcome:
    """What came of it; of one process, or of several merged.

    Operations count that were answered while it was measured; increments count always, because a counter does.
    """

    histogram: Histogram = field(default_factory=Histogram)
    seconds: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    coordinators: Counter[str] = field(default_factory=Counter)
    acknowledged_increments: int = 0
    unknown_increments: int = 0
    longest_gap_s: float = 0.0
    """Between two successes of one client; in an open loop, of all together."""
    began_unix: float = 0.0
    """When the measurement began, by the wall's clock."""
    timeline: Timeline | None = None
    scans: int = 0
    scanned_keys: int = 0
    """How many keys those scans found."""
    gaps_s: list[float] = field(default_factory=list)
    """The longest gap of each client, if there is a timeline; none in an open loop."""

    def merge(self, other: "Outcome") -> None:
        """Add what another process measured in the same time."""
        self.histogram.merge(other.histogram.counts, other.histogram.max_us)
        self.seconds = max(self.seconds, other.seconds)
        self.errors += other.errors
        self.unknown += other.unknown
        self.coordinators += other.coordinators
        self.acknowledged_increments += other.acknowledged_increments
        self.unknown_increments += other.unknown_increments
        self.longest_gap_s = max(self.longest_gap_s, other.longest_gap_s)
        self.scans += other.scans
        self.scanned_keys += other.scanned_keys
        self.gaps_s += other.gaps_s
        self.began_unix = other.began_unix if not self.began_unix else min(self.began_unix, other.began_unix)
        if other.timeline is not None:
            self.timeline = self.timeline or Timeline()
            self.timeline.merge(other.timeline)

    def to_json(self) -> dict[str, Any]:
        """The documented keys of ``paxoskv bench --json``."""
        histogram = self.histogram
        result: dict[str, Any] = {
            "ops_per_s": round(histogram.total / self.seconds, 1) if self.seconds else 0.0,
            "p50_ms": round(histogram.percentile_ms(50), 3),
            "p90_ms": round(histogram.percentile_ms(90), 3),
            "p99_ms": round(histogram.percentile_ms(99), 3),
            "p999_ms": round(histogram.percentile_ms(99.9), 3),
            "max_ms": histogram.max_us / 1000,
            "errors": dict(sorted(self.errors.items())),
            "unknown": self.unknown,
            "operations": histogram.total,
            "duration_s": round(self.seconds, 3),
            "longest_gap_ms": round(self.longest_gap_s * 1000, 3),
            "coordinators": dict(sorted(self.coordinators.items())),
        }
        if self.scans:
            result["keys_per_scan"] = round(self.scanned_keys / self.scans, 2)
        if self.timeline is not None:
            result["began_unix"] = self.began_unix
            result["timeline"] = self.timeline.to_json()
            result["gaps_ms"] = [round(gap * 1000, 1) for gap in self.gaps_s]
        return result


class Generator:
    """One process's part of a load. `clock` is in seconds and never goes back."""

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.perf_counter) -> None:
        self.plan = plan
        self.clock = clock
        self.outcome = Outcome()
        self.stopping = False
        self.last_success = 0.0
        self.started_at = 0.0
        """When the measurement, or the warm-up, began; 0 before."""
        self._rng = random.Random(plan.seed)
        # In the client library's order, so that a key's node is the same one.
        self._endpoints = sorted(client.parse_endpoints(plan.endpoints), key=client.split_endpoint)
        self._connections: list[Connection | None] = [None] * len(self._endpoints)
        self._favoured: int | None = None
        """Whose connection writes go to, whatever their key, where a leader takes them."""
        self._dialing: set[asyncio.Task[None]] = set()
        self._measuring = False
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._stop = asyncio.Event()
        self._disconnected = asyncio.Event()
        self._lanes: list[Lane] = []
        self._loading: list[_Loading] = []
        self._loaded: asyncio.Future[None] | None = None
        self._shots: collections.deque[Call] = collections.deque()
        self._timeout_ms = max(1, int(plan.timeout_s * 1000))
        prefix = plan.prefix.encode()
        self._prefix_end = prefix_end(prefix)
        self._keys = [prefix + b"%d" % number for number in range(plan.keys if plan.distribution != "one-key" else 1)]
        self._values = [self._rng.randbytes(plan.value_size) for _ in range(_VALUES)]
        self._homes = [client.home(key, len(self._endpoints)) for key in self._keys]
        self._inserts = itertools.count(plan.keys + plan.part, plan.parts)
        self._draw_key = self._key_drawer()

    def _key_drawer(self) -> Callable[[], int]:
        """A function that draws the index of a key."""
        count = len(self._keys)
        uniform = self._rng.random
        if self.plan.distribution in ("zipf", "latest"):
            weights = list(itertools.accumulate(1 / rank**_ZIPF_THETA for rank in range(1, count + 1)))
            total = weights[-1]
            if self.plan.distribution == "latest":
                return lambda: len(self._keys) - 1 - bisect.bisect_left(weights, uniform() * total)
            order = list(range(count))
            random.Random(self.plan.seed ^ 0x5EED).shuffle(order)
            return lambda: order[bisect.bisect_left(weights, uniform() * total)]
        if self.plan.distribution == "sequential":
            turn = itertools.cycle(range(self.plan.part, count, self.plan.parts))
            return lambda: next(turn)
        return lambda: int(uniform() * count)

    # The course of it.

    async def run(self, ready: Callable[[], Awaitable[None]] | None = None) -> Outcome:
        """Connect, write every key once, await `ready`, warm up, measure, and wait for what is in flight.

        Raises NotReached, BadRequest for what the cluster does not take, and what a write of `load` failed with.
        """
        try:
            await self._connect()
            if self.plan.load:
                await self._load()
            sweeping = asyncio.get_running_loop().create_task(self._sweep())
            try:
                if ready is not None:
                    await ready()
                gc.collect()
                gc.freeze()
                gc.disable()
                await self._measure()
                await self._finish()
            finally:
                gc.enable()
                gc.unfreeze()
                sweeping.cancel()
        finally:
            await self._close()
        return self.outcome

    async def load(self) -> None:
        """Write every key once, and nothing else. Raises as `run` does."""
        try:
            await self._connect()
            await self._load()
        finally:
            await self._close()

    def stop(self) -> None:
        """End the measurement now. What was measured so far counts."""
        self._stop.set()

    async def _measure(self) -> None:
        plan = self.plan
        self._begin_measuring(plan.warmup_s == 0)
        opening: asyncio.Task[None] | None = None
        if plan.rate:
            opening = asyncio.get_running_loop().create_task(self._open_loop(self.started_at))
        else:
            self._lanes = [Lane(self, index % len(self._endpoints)) for index in range(plan.clients)]
            for lane in self._lanes:
                lane.send()
        try:
            if plan.warmup_s:
                await self._stopped(plan.warmup_s)
                self._begin_measuring(True)
            await self._stopped(plan.duration_s)
        finally:
            now = self.clock()
            if opening is not None:
                opening.cancel()
                self.note_success(now)
            self.stopping = True
            self._measuring = False
            self.outcome.seconds = now - self.started_at
            for lane in self._lanes:
                # A client that waits still has waited so long already.
                self.outcome.longest_gap_s = max(self.outcome.longest_gap_s, lane.gap_s(now))
            if plan.timeline:
                self.outcome.gaps_s = [lane.gap_s(now) for lane in self._lanes]

    def _begin_measuring(self, measuring: bool) -> None:
        self._measuring = measuring
        self.started_at = self.last_success = self.clock()
        self.outcome.began_unix = time.time()
        self.outcome.timeline = Timeline() if self.plan.timeline else None
        for lane in self._lanes:
            lane.begin(self.started_at)

    async def _stopped(self, seconds: float) -> None:
        """Wait so long, or until `stop`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    async def _finish(self) -> None:
        """Wait for the answers that are still to come, which the final count of increments needs."""
        if self._in_flight:
            await self._idle.wait()

    # Connections.

    async def _connect(self) -> None:
        attempts = await asyncio.gather(*[self._dial(index) for index in range(len(self._endpoints))])
        hello = next((connection.hello for connection in self._connections if connection is not None), None)
        if hello is None:
            raise NotReached("; ".join(reason for reason in attempts if reason))
        if self.plan.value_size > hello.value_bytes_max:
            raise BadRequest(
                f"values of {self.plan.value_size} bytes; this cluster takes {hello.value_bytes_max} at most"
            )
        if not 0 < len(self._keys[-1]) <= hello.key_bytes_max:
            raise BadRequest(f"keys of {len(self._keys[-1])} bytes; this cluster takes {hello.key_bytes_max} at most")

    async def _dial(self, index: int) -> str:
        host, port = client.split_endpoint(self._endpoints[index])
        try:
            connection = self._connections[index] = await Connection.open(host, port, _CONNECT_S, self._lost)
        except NotReached as error:
            self._redial(index)
            return str(error)
        connection.on_route = self._note_route
        self._note_route()
        return ""

    def _note_route(self) -> None:
        """As the client library does."""
        address = favoured(self._connections)
        self._favoured = self._endpoints.index(address) if address in self._endpoints else None

    def _home(self, kind: int, index: int) -> int:
        """Through which connection an operation on a key goes."""
        return self._homes[index] if kind == operations.GET or self._favoured is None else self._favoured

    def _lost(self, connection: Connection, reason: str) -> None:
        if connection in self._connections:
            index = self._connections.index(connection)
            self._connections[index] = None
            self._note_route()
            if not any(self._connections):
                self._disconnected.set()
            self._redial(index)

    def _redial(self, index: int) -> None:
        async def later() -> None:
            await asyncio.sleep(_RETRY_S * 2)
            await self._dial(index)

        if not self.stopping:
            task = asyncio.get_running_loop().create_task(later())
            self._dialing.add(task)
            task.add_done_callback(self._dialing.discard)

    async def _close(self) -> None:
        self.stopping = True
        for task in self._dialing:
            task.cancel()
        self._disconnected.clear()
        for connection in self._connections:
            if connection is not None:
                connection.close()
        if any(self._connections):
            await self._disconnected.wait()

    # Operations.

    async def _load(self) -> None:
        """One write for every key, through the node that will be asked for it."""
        keys = iter(range(len(self._keys)))
        self._loaded = asyncio.get_running_loop().create_future()
        self._loading = [_Loading(self, keys) for _ in range(min(_LOAD_IN_FLIGHT, len(self._keys)))]
        sweeping = asyncio.get_running_loop().create_task(self._sweep())
        try:
            for lane in list(self._loading):
                lane.send()
            await self._loaded
        finally:
            sweeping.cancel()
            self._loading = []

    def load_key(self, call: "Call", index: int) -> bool:
        """Make `call` the first write of one key. False when no node is connected."""
        value = b"0" if self.plan.op == "incr" else self._values[0]
        return self._submit(call, operations.PUT, index, self._home(operations.PUT, index), value)

    def finish_loading(self, lane: "_Loading", error: PaxosKVError | None) -> None:
        """A lane has no more keys to write, or failed with one."""
        assert self._loaded is not None
        if lane in self._loading:
            self._loading.remove(lane)
        if not self._loaded.done():
            if error is not None:
                self._loaded.set_exception(error)
            elif not self._loading:
                self._loaded.set_result(None)

    def send(self, call: "Call") -> bool:
        """Draw an operation and send it: to the call's home, or to the key's own, or to any node that is connected.

        False when none is connected.
        """
        plan = self.plan
        random_number = self._rng.random()
        argument: Argument = None
        if random_number < plan.read_ratio:
            kind, index = operations.GET, self._draw_key()
            if plan.op == "scan":
                call.scan = ScanUnderWay(index, 1 + int(self._rng.random() * plan.scan_length))
        elif plan.distribution == "latest" or plan.op == "scan":
            kind, index, argument = operations.PUT, self._insert(), self._values[0]
        elif plan.op == "incr":
            kind, index, argument = operations.INCR, self._draw_key(), 1
        elif plan.op == "rmw":
            kind, index = operations.GET, self._draw_key()
            call.modifies = index
        else:
            kind, index = operations.PUT, self._draw_key()
            argument = self._values[int(random_number * 1e6) % _VALUES]
        target = self._home(kind, index) if call.home is None else call.home
        if self._submit_page(call, target) if call.scan else self._submit(call, kind, index, target, argument):
            return True
        call.scan = None
        if self._measuring:
            self.outcome.errors[NotReached.code] += 1
        return False

    def _insert(self) -> int:
        """The index of a key that nobody has written yet."""
        key = self.plan.prefix.encode() + b"%d" % next(self._inserts)
        self._keys.append(key)
        self._homes.append(client.home(key, len(self._endpoints)))
        return len(self._keys) - 1

    def modify(self, call: "Call", status: int, version: int) -> int | None:
        """The next step of a read-modify-write: the write after the read, the read again after somebody else's write.

        None then; otherwise it has ended, and with which status.
        """
        index = call.modifies
        assert index is not None
        submitted: bool | None = None
        if call.kind == operations.GET and status == operations.OK:
            target = self._home(operations.PUT, index) if call.home is None else call.home
            submitted = self._submit(call, operations.PUT, index, target, self._values[0], version)
        elif status == operations.CONDITION_FAILED:
            target = self._homes[index] if call.home is None else call.home
            submitted = self._submit(call, operations.GET, index, target, None)
        if submitted:
            self._in_flight -= 1  # It is one operation all the while.
            return None
        call.modifies = None
        return status if submitted is None else UNSENT

    def scanned(self, call: "Call", status: int, items: int, cursor: bytes | None) -> int | None:
        """The next step of a scan that got a page, or none: the next page.

        None then; otherwise it has ended, and with which status.
        """
        scan = call.scan
        assert scan is not None
        if status == operations.OK:
            scan.found += items
            left = scan.length - scan.found
            if cursor is not None and left > 0:
                scan.cursor = cursor
                scan.limit = client.next_limit(scan.limit, items, left)
                if self._submit_page(call, call.target):
                    self._in_flight -= 1  # It is one operation all the while.
                    return None
                status = UNSENT
            elif self._measuring:
                self.outcome.scans += 1
                self.outcome.scanned_keys += min(scan.found, scan.length)
        call.scan = None
        return status

    def _submit_page(self, call: "Call", target: int) -> bool:
        scan = call.scan
        assert scan is not None
        connection = self._reach(call, operations.GET, target)
        if connection is None:
            return False
        call.identifier = connection.submit_scan(
            self._keys[scan.index], self._prefix_end, scan.cursor, False, self._timeout_ms, scan.limit, call.paged
        )
        return True

    def _submit(
        self, call: "Call", kind: int, index: int, target: int, argument: Argument, condition: Argument = None
    ) -> bool:
        connection = self._reach(call, kind, target)
        if connection is None:
            return False
        key = self._keys[index]
        call.identifier = connection.submit(kind, key, argument, condition, self._timeout_ms, call.answered)
        return True

    def _reach(self, call: "Call", kind: int, target: int) -> Connection | None:
        """The connection that an operation goes through, `target`'s where that is usable. None when there is none."""
        connection = self._connections[target]
        if connection is None or connection.suspect:
            usable = [(i, other) for i, other in enumerate(self._connections) if other is not None]
            if not usable:
                return None
            target, connection = next((pair for pair in usable if not pair[1].suspect), usable[0])
        call.kind = kind
        call.target = target
        call.connection = connection
        self._in_flight += 1
        return connection

    def count(self, call: "Call", status: int, began: float, now: float) -> bool:
        """Count one answer; whether it was a success."""
        call.connection = None
        self._in_flight -= 1
        if self.stopping and not self._in_flight:
            self._idle.set()
        outcome = self.outcome
        if status == operations.OK:
            if call.kind == operations.INCR:
                outcome.acknowledged_increments += 1
            if self._measuring:
                outcome.histogram.record(now - began)
                outcome.coordinators[self._endpoints[call.target]] += 1
                if outcome.timeline is not None:
                    outcome.timeline.note(now - self.started_at, True)
            return True
        kind = error_class(call.kind, status)
        if not kind.definite and call.kind == operations.INCR:
            outcome.unknown_increments += 1
        if self._measuring:
            outcome.errors[kind.code] += 1
            if outcome.timeline is not None:
                outcome.timeline.note(now - self.started_at, False)
            if not kind.definite:
                outcome.unknown += 1
        return False

    def next_node(self, index: int) -> int:
        """Whom to ask instead of a node that refuses."""
        return (index + 1) % len(self._endpoints)

    def note_success(self, now: float) -> None:
        """An open loop's operation succeeded."""
        if self._measuring:
            self.outcome.longest_gap_s = max(self.outcome.longest_gap_s, now - self.last_success)
        self.last_success = now

    async def _sweep(self) -> None:
        """Give up what a node has not answered in time, and let others be asked until it says something."""
        while True:
            await asyncio.sleep(min(_SWEEP_S_MAX, self.plan.timeout_s / 10))
            oldest = self.clock() - self.plan.timeout_s
            for lane in [*self._loading, *self._lanes]:
                if lane.connection is not None and lane.sent < oldest:
                    lane.expire()
            shots = self._shots
            while shots and (shots[0].connection is None or shots[0].sent < oldest):
                shots.popleft().expire()

    async def _open_loop(self, began: float) -> None:
        """Operations at a fixed rate, whether earlier ones were answered or not.

        Latency counts from the moment at which an operation was due, so a stall costs every operation that should
        have been sent meanwhile (no coordinated omission).
        """
        clock = self.clock
        sent = 0
        homes: itertools.cycle[int | None] = itertools.cycle(
            [None] if self.plan.route == "key" else range(len(self._endpoints))
        )
        while True:
            due = int((clock() - began) * self.plan.rate)
            for number in range(sent, due):
                if self._in_flight >= _OPEN_LOOP_IN_FLIGHT_MAX:
                    if self._measuring:
                        self.outcome.errors["not-sent"] += 1
                    continue
                shot = _Shot(self, next(homes), began + number / self.plan.rate)
                shot.sent = clock()
                if self.send(shot):
                    self._shots.append(shot)
            sent = due
            await asyncio.sleep(_OPEN_LOOP_TICK_S)


def error_class(kind: int, status: int) -> type[PaxosKVError]:
    """The error that an unsuccessful answer stands for; a read that nobody answered has changed nothing."""
    if status == UNSENT:
        return NotReached
    found = errors.OutcomeUnknown if status == LOST else errors.BY_STATUS.get(status, errors.OutcomeUnknown)
    return errors.Unavailable if kind == operations.GET and not found.definite else found


class ScanUnderWay:
    """A scan, from its first page to its last."""

    __slots__ = ("cursor", "found", "index", "length", "limit")

    def __init__(self, index: int, length: int) -> None:
        self.index = index
        """Of the key that it begins at."""
        self.length = length
        """How many keys it wants."""
        self.found = 0
        self.cursor: bytes | None = None
        self.limit = min(length, PAGE_KEYS_MAX)
        """How many keys its present page is made of at most."""


class Call:
    """An operation in flight, or the client that has one after the other; `connection` is None while there is none."""

    __slots__ = ("connection", "generator", "home", "identifier", "kind", "modifies", "scan", "sent", "target")

    def __init__(self, generator: Generator, home: int | None) -> None:
        self.generator = generator
        self.home = home
        self.connection: Connection | None = None
        self.identifier = 0
        self.kind = operations.GET
        self.modifies: int | None = None
        """The index of the key that is read and then written, while that goes on."""
        self.scan: ScanUnderWay | None = None
        self.sent = 0.0
        self.target = 0

    def answered(self, status: int, value: Argument, version: int, *expiry: int) -> None:
        """The node's answer, or what became of it instead."""
        raise NotImplementedError

    def paged(self, status: int, reason: Any, items: tuple[Any, ...], cursor: bytes | None) -> None:
        """A page of a scan, or what became of it instead: ask for the next one, or end."""
        step = self.generator.scanned(self, status, len(items), cursor)
        if step is not None:
            self.answered(step, reason, 0)

    def expire(self) -> None:
        """Give it up, if it is still in flight."""
        connection = self.connection
        if connection is not None:
            connection.forget(self.identifier)
            if not connection.suspect and not connection.closed:
                connection.suspect = True
                connection.probe()
            self.scan = None
            self.answered(LOST, b"no answer in time", 0)


class Lane(Call):
    """One client in a closed loop. With route=any it stays with the node `target`, and goes on to the next one when
    it is refused there."""

    __slots__ = ("_last_success", "_longest_gap_s")

    def __init__(self, generator: Generator, target: int) -> None:
        super().__init__(generator, None if generator.plan.route == "key" else target)
        self.begin(generator.clock())

    def begin(self, now: float) -> None:
        """Measure gaps from here on."""
        self._last_success = now
        self._longest_gap_s = 0.0

    def gap_s(self, now: float) -> float:
        """The longest time without a success until now."""
        return max(self._longest_gap_s, now - self._last_success)

    def send(self) -> None:
        """Send the next operation."""
        self.sent = self.generator.clock()
        if not self.generator.send(self):
            asyncio.get_running_loop().call_later(_RETRY_S, self._again)

    def _again(self) -> None:
        if not self.generator.stopping:
            self.send()

    def answered(self, status: int, value: Argument, version: int, *expiry: int) -> None:
        """Count it, and go on."""
        generator = self.generator
        if self.modifies is not None:
            step = generator.modify(self, status, version)
            if step is None:
                return
            status = step
        now = generator.clock()
        if generator.count(self, status, self.sent, now):
            gap = now - self._last_success
            if gap > self._longest_gap_s:
                self._longest_gap_s = gap
            self._last_success = now
            if not generator.stopping:
                self.send()
        elif not generator.stopping:
            refusal = errors.BY_STATUS.get(status)
            if self.home is not None and refusal is not None and refusal.retryable:
                self.home = generator.next_node(self.target)
            # Not at once: a node that refuses everything would be asked a million times a second.
            asyncio.get_running_loop().call_later(_RETRY_S / 10, self._again)


class _Shot(Call):
    """One operation of an open loop, due at a moment that may have been long ago when it is sent."""

    __slots__ = ("_due",)

    def __init__(self, generator: Generator, home: int | None, due: float) -> None:
        super().__init__(generator, home)
        self._due = due

    def answered(self, status: int, value: Argument, version: int, *expiry: int) -> None:
        """Count it."""
        if self.modifies is not None:
            step = self.generator.modify(self, status, version)
            if step is None:
                return
            status = step
        now = self.generator.clock()
        if self.generator.count(self, status, self._due, now):
            self.generator.note_success(now)


class _Loading(Call):
    """Writes one key after the other, of those that several of its kind share."""

    __slots__ = ("_keys",)

    def __init__(self, generator: Generator, keys: Iterator[int]) -> None:
        super().__init__(generator, None)
        self._keys = keys

    def send(self) -> None:
        """Write the next key."""
        index = next(self._keys, None)
        if index is None:
            self.generator.finish_loading(self, None)
            return
        self.sent = self.generator.clock()
        if not self.generator.load_key(self, index):
            self.generator.finish_loading(self, NotReached("every connection broke while the keys were written"))

    def answered(self, status: int, value: Argument, version: int, *expiry: int) -> None:
        """Go on, or fail for all."""
        if self.generator.count(self, status, self.sent, self.sent):
            self.send()
        else:
            why = value.decode(errors="replace") if isinstance(value, bytes) else f"status {status}"
            error = error_class(self.kind, status)(f"the keys could not be written before the measurement: {why}")
            self.generator.finish_loading(self, error)
