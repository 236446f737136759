"""Clients in closed loops, or operations at a fixed rate, over raw connections.

Each lane is one client: it has one operation in flight, and its callback sends the next. No task and no future for
an operation; what goes out in one round of the event loop leaves as one frame for each node.
"""

import asyncio
import bisect
import contextlib
import gc
import itertools
import random
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from paxoskv.client.client import parse_endpoints
from paxoskv.client.connection import LOST, Connection
from paxoskv.core import errors, operations
from paxoskv.core.errors import NotReached
from paxoskv.core.operations import Argument
from paxoskv.load.histogram import Histogram

_TIMEOUT_MS: Final = 5000
_CONNECT_S: Final = 5.0
_RETRY_S: Final = 0.05
_OPEN_LOOP_TICK_S: Final = 0.001
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
    route: str = "key"
    rate: float = 0.0
    seed: int = 0
    prefix: str = "bench/"
    load: bool = True
    """Write every key once before anything is measured."""


@dataclass(slots=True)
class Outcome:
    """What came of it; of one process, or of several merged."""

    histogram: Histogram = field(default_factory=Histogram)
    seconds: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    coordinators: Counter[str] = field(default_factory=Counter)
    acknowledged_increments: int = 0
    unknown_increments: int = 0
    longest_gap_s: float = 0.0

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

    def to_json(self) -> dict[str, Any]:
        """The documented keys of ``paxoskv bench --json``."""
        histogram = self.histogram
        return {
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


class Generator:
    """One process's part of a load."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.outcome = Outcome()
        self.stopping = False
        self.started_at = 0.0
        self._rng = random.Random(plan.seed)
        self._endpoints = parse_endpoints(plan.endpoints)
        self._connections: list[Connection | None] = [None] * len(self._endpoints)
        self._dialing: set[asyncio.Task[None]] = set()
        self._measuring = False
        self._in_flight = 0
        self._idle = asyncio.Event()
        prefix = plan.prefix.encode()
        self._keys = [prefix + b"%d" % number for number in range(plan.keys if plan.distribution != "one-key" else 1)]
        self._values = [self._rng.randbytes(plan.value_size) for _ in range(_VALUES)]
        self._homes = [self.home(key, len(self._endpoints)) for key in self._keys]
        self._draw_key = self._key_drawer()

    @staticmethod
    def home(key: bytes, nodes: int) -> int:
        """Which of the endpoints, in their order, a key goes to with route=key."""
        return zlib.crc32(key) % nodes

    def _key_drawer(self) -> Callable[[], int]:
        """A function that draws the index of a key."""
        count = len(self._keys)
        uniform = self._rng.random
        if self.plan.distribution == "zipf":
            weights = list(itertools.accumulate(1 / rank**_ZIPF_THETA for rank in range(1, count + 1)))
            order = list(range(count))
            random.Random(self.plan.seed ^ 0x5EED).shuffle(order)
            total = weights[-1]
            return lambda: order[bisect.bisect_left(weights, uniform() * total)]
        if self.plan.distribution == "sequential":
            turn = itertools.cycle(range(count))
            return lambda: next(turn)
        return lambda: int(uniform() * count)

    async def run(self) -> Outcome:
        """Connect, write every key once, warm up, measure, and wait for what is in flight. Raises NotReached."""
        loop = asyncio.get_running_loop()
        await self._connect()
        if self.plan.load:
            await self._load()
        gc.collect()
        gc.freeze()
        gc.disable()
        plan = self.plan
        self._measuring = plan.warmup_s == 0
        self.started_at = time.perf_counter()
        lanes: list[Lane] = []
        opening: asyncio.Task[None] | None = None
        if plan.rate:
            opening = loop.create_task(self._open_loop())
        else:
            for index in range(plan.clients):
                lane = Lane(self, index % len(self._endpoints))
                lanes.append(lane)
                lane.send()
        try:
            if plan.warmup_s:
                await asyncio.sleep(plan.warmup_s)
                self._measuring = True
                self.started_at = time.perf_counter()
                for lane in lanes:
                    lane.last_success = self.started_at
            await asyncio.sleep(plan.duration_s)
        finally:
            self.stopping = True
            self._measuring = False
            self.outcome.seconds = time.perf_counter() - self.started_at
            if opening is not None:
                opening.cancel()
            for lane in lanes:
                self.outcome.longest_gap_s = max(self.outcome.longest_gap_s, lane.longest_gap_s)
        await self._finish()
        return self.outcome

    async def load(self) -> None:
        """Write every key once, and nothing else. Raises NotReached."""
        await self._connect()
        await self._load()
        self.stopping = True
        await self._finish()

    async def _connect(self) -> None:
        attempts = await asyncio.gather(*[self._dial(index) for index in range(len(self._endpoints))])
        if not any(connection is not None for connection in self._connections):
            raise NotReached("; ".join(reason for reason in attempts if reason))

    async def _load(self) -> None:
        """One write for every key, through the node that will be asked for it."""
        room = asyncio.Semaphore(_LOAD_IN_FLIGHT)

        def answered(status: int, value: Argument, version: int) -> None:
            room.release()

        value = b"0" if self.plan.op == "incr" else self._values[0]
        for key, home in zip(self._keys, self._homes, strict=True):
            await room.acquire()
            connection = self._connections[home] or next((other for other in self._connections if other), None)
            if connection is None:
                raise NotReached("all connections broke while the keys were written")
            connection.submit(operations.PUT, key, value, None, _TIMEOUT_MS, answered)
        for _ in range(_LOAD_IN_FLIGHT):
            await room.acquire()

    async def _finish(self) -> None:
        """Wait for the answers that are still to come, which the final count of increments needs."""
        if self._in_flight:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TIMEOUT_MS / 1000 + 1):
                    await self._idle.wait()
        for task in self._dialing:
            task.cancel()
        for connection in self._connections:
            if connection is not None:
                connection.close()
        gc.enable()

    async def _dial(self, index: int) -> str:
        host, _, port = self._endpoints[index].rpartition(":")
        try:
            self._connections[index] = await Connection.open(
                host.removeprefix("[").removesuffix("]"), int(port), _CONNECT_S, self._lost
            )
        except NotReached as error:
            self._redial(index)
            return str(error)
        return ""

    def _lost(self, connection: Connection, reason: str) -> None:
        if connection in self._connections:
            index = self._connections.index(connection)
            self._connections[index] = None
            self._redial(index)

    def _redial(self, index: int) -> None:
        async def later() -> None:
            await asyncio.sleep(_RETRY_S * 2)
            await self._dial(index)

        if not self.stopping:
            task = asyncio.get_running_loop().create_task(later())
            self._dialing.add(task)
            task.add_done_callback(self._dialing.discard)

    def send(self, home: int | None, callback: Callable[[int, Argument, int], None]) -> int:
        """Draw an operation and send it: to `home`, or to the key's own node, or to any that is connected.

        Answers which it was, -1 when none is connected.
        """
        plan = self.plan
        index = self._draw_key()
        target = self._homes[index] if home is None else home
        connection = self._connections[target]
        if connection is None:
            target = next((i for i, other in enumerate(self._connections) if other is not None), -1)
            if target < 0:
                return target
            connection = self._connections[target]
            assert connection is not None
        random_number = self._rng.random()
        argument: Argument = None
        if random_number < plan.read_ratio:
            kind = operations.GET
        elif plan.op == "incr":
            kind, argument = operations.INCR, 1
        else:
            kind, argument = operations.PUT, self._values[int(random_number * 1e6) % _VALUES]
        self._in_flight += 1
        connection.submit(kind, self._keys[index], argument, None, _TIMEOUT_MS, callback)
        return target

    def answered(self, status: int, target: int, began: float, now: float) -> bool:
        """Count one answer; whether it was a success."""
        self._in_flight -= 1
        if self.stopping and not self._in_flight:
            self._idle.set()
        outcome = self.outcome
        if status == operations.OK:
            if self.plan.op == "incr":
                outcome.acknowledged_increments += 1
            if self._measuring:
                outcome.histogram.record(now - began)
                outcome.coordinators[self._endpoints[target]] += 1
            return True
        kind = errors.OutcomeUnknown if status == LOST else errors.BY_STATUS.get(status, errors.OutcomeUnknown)
        if not kind.definite:
            outcome.unknown_increments += 1
        if self._measuring:
            outcome.errors[kind.code] += 1
            if not kind.definite:
                outcome.unknown += 1
        return False

    async def _open_loop(self) -> None:
        """Operations at a fixed rate, whether earlier ones were answered or not.

        Latency counts from the moment at which an operation was due, so a stall costs every operation that should
        have been sent meanwhile (no coordinated omission).
        """
        began = time.perf_counter()
        sent = 0
        homes: itertools.cycle[int | None] = itertools.cycle(
            [None] if self.plan.route == "key" else range(len(self._endpoints))
        )
        while True:
            due = int((time.perf_counter() - began) * self.plan.rate)
            for number in range(sent, due):
                if self._in_flight >= _OPEN_LOOP_IN_FLIGHT_MAX:
                    if self._measuring:
                        self.outcome.errors["not-sent"] += 1
                    continue
                shot = _Shot(self, next(homes), began + number / self.plan.rate)
                shot.target = self.send(shot.home, shot.answered)
                if shot.target < 0 and self._measuring:
                    self.outcome.errors["not-reached"] += 1
            sent = due
            await asyncio.sleep(_OPEN_LOOP_TICK_S)


class Lane:
    """One client in a closed loop. Pinned to the node `home` with route=any."""

    __slots__ = ("_began", "_generator", "_home", "_target", "last_success", "longest_gap_s")

    def __init__(self, generator: Generator, target: int) -> None:
        self._generator = generator
        self._target = target
        self._home = None if generator.plan.route == "key" else target
        self._began = 0.0
        self.last_success = time.perf_counter()
        self.longest_gap_s = 0.0

    def send(self) -> None:
        """Send the next operation."""
        self._began = time.perf_counter()
        self._target = self._generator.send(self._home, self._answered)
        if self._target < 0:
            asyncio.get_running_loop().call_later(_RETRY_S, self._again)

    def _again(self) -> None:
        if not self._generator.stopping:
            self.send()

    def _answered(self, status: int, value: Argument, version: int) -> None:
        now = time.perf_counter()
        generator = self._generator
        if generator.answered(status, self._target, self._began, now):
            gap = now - self.last_success
            if gap > self.longest_gap_s:
                self.longest_gap_s = gap
            self.last_success = now
            if not generator.stopping:
                self.send()
        elif not generator.stopping:
            # Not at once: a node that refuses everything would be asked a million times a second.
            asyncio.get_running_loop().call_later(_RETRY_S / 10, self._again)


class _Shot:
    """One operation of an open loop."""

    __slots__ = ("_due", "_generator", "home", "target")

    def __init__(self, generator: Generator, home: int | None, due: float) -> None:
        self._generator = generator
        self._due = due
        self.home = home
        self.target = -1

    def answered(self, status: int, value: Argument, version: int) -> None:
        self._generator.answered(status, self.target, self._due, time.perf_counter())
