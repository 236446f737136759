"""Clients in closed loops, or operations at a fixed rate, over raw connections.

Each lane is one client: it has one operation in flight, and its callback sends the next. No task and no future for
an operation; what goes out in one round of the event loop leaves as one frame for each node.
"""

import asyncio
import collections
import contextlib
import gc
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

from paxoskv.client.connection import UNSENT, Connection, favoured
from paxoskv.client.endpoints import parse_endpoints
from paxoskv.core import operations
from paxoskv.core.errors import BadRequest, NotReached, PaxosKVError
from paxoskv.core.operations import Argument
from paxoskv.core.scan import next_limit, prefix_end
from paxoskv.load.calls import Call, Lane, Loading, ScanUnderWay, Shot, error_class
from paxoskv.load.keys import Keys
from paxoskv.load.plan import Outcome, Plan
from paxoskv.load.timeline import Timeline

_CONNECT_S: Final = 5.0
_REDIAL_S: Final = 0.1
_OPEN_LOOP_TICK_S: Final = 0.001
# How often operations are looked for that nobody answered in time.
_SWEEP_S_MAX: Final = 1.0
_LOAD_IN_FLIGHT: Final = 512
# Operations that an open loop lets pile up before it counts new ones as not sent.
_OPEN_LOOP_IN_FLIGHT_MAX: Final = 100_000
_VALUES: Final = 64


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
        self._endpoints = sorted(parse_endpoints(plan.endpoints))
        self._addresses = list(map(str, self._endpoints))
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
        self._loading: list[Loading] = []
        self._loaded: asyncio.Future[None] | None = None
        self._shots: collections.deque[Call] = collections.deque()
        self._timeout_ms = max(1, int(plan.timeout_s * 1000))
        self._prefix_end = prefix_end(plan.prefix.encode())
        self._values = [self._rng.randbytes(plan.value_size) for _ in range(_VALUES)]
        self._keys = Keys(plan, self._rng, len(self._endpoints))

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
        if not 0 < len(self._keys.names[-1]) <= hello.key_bytes_max:
            raise BadRequest(
                f"keys of {len(self._keys.names[-1])} bytes; this cluster takes {hello.key_bytes_max} at most"
            )

    async def _dial(self, index: int) -> str:
        host, port = self._endpoints[index]
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
        self._favoured = self._addresses.index(address) if address in self._addresses else None

    def _home(self, kind: int, index: int) -> int:
        """Through which connection an operation on a key goes."""
        return self._keys.homes[index] if kind == operations.GET or self._favoured is None else self._favoured

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
            await asyncio.sleep(_REDIAL_S)
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
        keys = iter(range(len(self._keys.names)))
        self._loaded = asyncio.get_running_loop().create_future()
        self._loading = [Loading(self, keys) for _ in range(min(_LOAD_IN_FLIGHT, len(self._keys.names)))]
        sweeping = asyncio.get_running_loop().create_task(self._sweep())
        try:
            for lane in list(self._loading):
                lane.send()
            await self._loaded
        finally:
            sweeping.cancel()
            self._loading = []

    def load_key(self, call: Call, index: int) -> bool:
        """Make `call` the first write of one key. False when no node is connected."""
        value = b"0" if self.plan.op == "incr" else self._values[0]
        return self._submit(call, operations.PUT, index, self._home(operations.PUT, index), value)

    def finish_loading(self, lane: Loading, error: PaxosKVError | None) -> None:
        """A lane has no more keys to write, or failed with one."""
        assert self._loaded is not None
        if lane in self._loading:
            self._loading.remove(lane)
        if not self._loaded.done():
            if error is not None:
                self._loaded.set_exception(error)
            elif not self._loading:
                self._loaded.set_result(None)

    def send(self, call: Call) -> bool:
        """Draw an operation and send it: to the call's home, or to the key's own, or to any node that is connected.

        False when none is connected.
        """
        plan = self.plan
        random_number = self._rng.random()
        argument: Argument = None
        if random_number < plan.read_ratio:
            kind, index = operations.GET, self._keys.draw()
            if plan.op == "scan":
                call.scan = ScanUnderWay(index, 1 + int(self._rng.random() * plan.scan_length))
        elif plan.distribution == "latest" or plan.op == "scan":
            kind, index, argument = operations.PUT, self._keys.insert(), self._values[0]
        elif plan.op == "incr":
            kind, index, argument = operations.INCR, self._keys.draw(), 1
        elif plan.op == "rmw":
            kind, index = operations.GET, self._keys.draw()
            call.modifies = index
        else:
            kind, index = operations.PUT, self._keys.draw()
            argument = self._values[int(random_number * 1e6) % _VALUES]
        target = self._home(kind, index) if call.home is None else call.home
        if self._submit_page(call, target) if call.scan else self._submit(call, kind, index, target, argument):
            return True
        call.scan = call.modifies = None
        if self._measuring:
            self.outcome.errors[NotReached.code] += 1
        return False

    def modify(self, call: Call, status: int, version: int) -> int | None:
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
            target = self._keys.homes[index] if call.home is None else call.home
            submitted = self._submit(call, operations.GET, index, target, None)
        if submitted:
            self._in_flight -= 1  # It is one operation all the while.
            return None
        call.modifies = None
        return status if submitted is None else UNSENT

    def scanned(self, call: Call, status: int, items: int, cursor: bytes | None) -> int | None:
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
                scan.limit = next_limit(scan.limit, items, left)
                if self._submit_page(call, call.target):
                    self._in_flight -= 1  # It is one operation all the while.
                    return None
                status = UNSENT
            elif self._measuring:
                self.outcome.scans += 1
                self.outcome.scanned_keys += min(scan.found, scan.length)
        call.scan = None
        return status

    def _submit_page(self, call: Call, target: int) -> bool:
        scan = call.scan
        assert scan is not None
        connection = self._reach(call, operations.GET, target)
        if connection is None:
            return False
        call.identifier = connection.submit_scan(
            self._keys.names[scan.index], self._prefix_end, scan.cursor, False, self._timeout_ms, scan.limit, call.paged
        )
        return True

    def _submit(
        self, call: Call, kind: int, index: int, target: int, argument: Argument, condition: Argument = None
    ) -> bool:
        connection = self._reach(call, kind, target)
        if connection is None:
            return False
        key = self._keys.names[index]
        call.identifier = connection.submit(kind, key, argument, condition, self._timeout_ms, call.answered)
        return True

    def _reach(self, call: Call, kind: int, target: int) -> Connection | None:
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

    def count(self, call: Call, status: int, began: float, now: float) -> bool:
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
                outcome.coordinators[self._addresses[call.target]] += 1
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
                    # Nothing is answered before this loop ends, so that goes for the rest of them, however many.
                    if self._measuring:
                        self.outcome.errors["not-sent"] += due - number
                    break
                # The first one is due after one interval, and not at once: so many are due by now, and no more.
                shot = Shot(self, next(homes), began + (number + 1) / self.plan.rate)
                shot.sent = clock()
                if not self.send(shot):
                    # No node is connected, and none will be before this loop ends.
                    if self._measuring:
                        self.outcome.errors[NotReached.code] += due - number - 1
                    break
                self._shots.append(shot)
            sent = due
            await asyncio.sleep(_OPEN_LOOP_TICK_S)
