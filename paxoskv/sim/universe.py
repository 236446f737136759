"""One universe: a cluster, its clients, what goes wrong, and what has to be true all the same.

Two phases. First clients work while faults strike; nothing that they are answered may be illegal. Then everything is
healed, and must come to an end: every call is answered, every key can be read and written through every node, all
replicas hold the same, and nobody waits for anything any more.
"""

import random
import traceback
import zlib
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

from paxoskv.core import errors, operations
from paxoskv.core.operations import Argument, Operation, Result
from paxoskv.core.scan import ScanOperation
from paxoskv.sim import configuration as configurations
from paxoskv.sim.configuration import Configuration, Fault
from paxoskv.sim.modes import mode_of
from paxoskv.sim.network import Network
from paxoskv.sim.replica import Replica
from paxoskv.sim.timeline import Timeline
from paxoskv.sim.trace import Trace
from paxoskv.workload import Request, Workload

OK: Final = "ok"
FAILED: Final = "failed"
UNKNOWN: Final = "unknown"

_CLIENT_DELAY_S: Final = 0.0001
_LIFETIMES_MS: Final = (0, 1, 3, 10, 50, 1000)
# What clients allow a node beyond the timeout that they told it.
_CLIENT_PATIENCE_S: Final = 0.1
# Bounds on what has to happen once everything is healed, in virtual seconds.
_PROBE_S_MAX: Final = 5.0
_PROBES_MAX: Final = 20
_PROBE_PAUSE_S: Final = 0.5
_SETTLED_S_MAX: Final = 60.0
_LATE_S_MAX: Final = 1.0
_LEADER_S_MAX: Final = 30.0


@dataclass(slots=True, eq=False)
class Call:
    """One request of one client, and what came of it."""

    process: int
    """A client goes on under a new number after an outcome that it does not know."""
    node: int
    request: Request
    start: float
    finish: float | None = None
    """When the answer came, None as long as there is none."""
    outcome: str = UNKNOWN
    status: int = -1
    value: Argument = None
    version: int = 0
    lifetime_ms: int | None = None
    """A put's: how long its value may live, by the clock of the node that takes it. None: for ever."""
    page: ScanOperation | None = None
    """A scan's, which looks like a get of the key that it begins at: where it ends, and what it brought."""


class Failure(NamedTuple):
    """What must not happen and did. `kind`: assertion, exception, illegal, liveness."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a universe."""

    configuration: Configuration
    failure: Failure | None
    calls: list[Call]
    outcomes: Counter[str]
    seconds: float
    """Virtual ones."""
    steps: int
    frames: int
    crashes: int
    marks: Counter[str]
    """How often each branch that matters was reached."""


@dataclass(slots=True, eq=False)
class _Strike:
    """A fault that has begun."""

    fault: Fault
    over: bool = False
    cut: bool = False
    """A flapping link is cut now."""


class Stuck(Exception):
    """Something did not come to its end in time."""


class Universe:
    """A cluster under one configuration. Use `run` once."""

    def __init__(self, configuration: Configuration, trace: Trace | None = None) -> None:
        self.configuration = configuration
        self.timeline = Timeline()
        self.calls: list[Call] = []
        self._trace = trace
        self._mode = mode_of(configuration.mode)
        if trace is not None:
            trace.begin(self.timeline, configuration, self._mode)
        self._network = Network(self.timeline, self._rng("network"), configuration.wire, self._deliver, trace)
        self._replicas = {
            number: Replica(
                number,
                configuration,
                self._mode,
                self.timeline,
                self._network,
                self._rng(f"node {number}"),
                trace,
            )
            for number in range(1, configuration.nodes + 1)
        }
        for replica in self._replicas.values():
            replica.peers = {number: other for number, other in self._replicas.items() if other is not replica}
            replica.on_answer = self._answered
            replica.on_crash = self._crashed
            replica.on_elected = self._elected
        self._workload = Workload(
            configuration.workload,
            configuration.keys,
            configuration.reads,
            configuration.hot,
            self._rng("workload"),
        )
        self._lifetimes = self._rng("lifetimes")
        self._faults: dict[int, list[Fault]] = {}
        self._at_elections = deque(f for f in configuration.faults if f.operation == configurations.AT_ELECTION)
        for fault in configuration.faults:
            self._faults.setdefault(fault.operation, []).append(fault)
        self._strikes: list[_Strike] = []
        self._healing = False
        self._issued = 0
        self._processes = configuration.clients + configuration.scanners
        self._waiting: dict[int, Call] = {}
        """The call that each process waits for."""
        self.finished = 0
        """How many clients have nothing left to ask."""
        self._clients: list[_Client] = [_Client(self, number) for number in range(configuration.clients)]
        self._clients += [_Scanner(self, configuration.clients + number) for number in range(configuration.scanners)]

    def _rng(self, part: str) -> random.Random:
        return random.Random(f"{self.configuration.seed} {part}")

    def run(self) -> Outcome:
        """Everything, from the first start to the last check but the history's."""
        failure = None
        try:
            self._work()
            self._heal()
            self._probe()
            self._settle()
        # Each by a name of its own: compiled, a variable has one type.
        except Stuck as stuck:
            failure = Failure("liveness", str(stuck))
        except AssertionError as violation:
            frame = traceback.extract_tb(violation.__traceback__)[-1]
            where = f"{frame.name}, {frame.filename.split('/')[-1]}"
            failure = Failure("assertion", f"{violation or frame.line} ({where})")
        except Exception as error:
            # What no engine may raise: a process would end by it, and again after each restart perhaps.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            name = type(error).__name__
            failure = Failure("exception", f"{name}: {error} ({frame.name}, {frame.filename.split('/')[-1]})")
        return Outcome(
            self.configuration,
            failure,
            self.calls,
            Counter(call.outcome for call in self.calls),
            self.timeline.now,
            self.timeline.steps,
            self._network.frames,
            sum(replica.crashes for replica in self._replicas.values()),
            self._marks(),
        )

    def _marks(self) -> Counter[str]:
        """Which branches that matter were reached, and how often; 0 for the others."""
        kinds = configurations.fault_kinds(self.configuration.mode)
        marks: Counter[str] = Counter({f"fault {kind}": 0 for kind in kinds})
        marks.update(f"fault {strike.fault.kind}" for strike in self._strikes)
        marks.update({"frames lost": self._network.lost, "frames doubled": self._network.duplicated})
        for replica in self._replicas.values():
            marks.update(replica.marks())
        return marks

    # Phase one.

    def _work(self) -> None:
        for replica in self._replicas.values():
            replica.start()
        if self._mode.leads is not None and not self.timeline.run(_LEADER_S_MAX, lambda: self._leader() is not None):
            raise Stuck("nobody was elected, though nothing was wrong yet")
        for client in self._clients:
            client.begin()
        bound = self.configuration.operations * (self.configuration.timeout_s_max + 1.0)
        clients = len(self._clients)
        if not self.timeline.run(self.timeline.now + bound, lambda: self.finished == clients):
            raise Stuck(f"after {bound:.0f} s {len(self._waiting)} calls had not even timed out")

    def take_request(self) -> Request | None:
        """The next request of the workload, None when all operations were issued."""
        return self._workload.draw() if self.take_turn() else None

    def take_turn(self) -> bool:
        """Whether another operation may be issued. Faults strike by its number."""
        if self._issued >= self.configuration.operations:
            return False
        for fault in self._faults.get(self._issued, ()):
            self.timeline.after(fault.delay_s, self._strike, fault)
        self._issued += 1
        return True

    def choose(self, client: "_Client") -> int:
        """The node for a client's next operation."""
        if client.node and client.rng.random() < self.configuration.sticky and self._replicas[client.node].up:
            return client.node
        up = [number for number, replica in self._replicas.items() if replica.up]
        return client.rng.choice(up or list(self._replicas))

    def issue(self, process: int, node: int, request: Request, timeout_s: float) -> Call:
        """Send a request on its way."""
        call = Call(process, node, request, self.timeline.now)
        if request[0] == operations.PUT and self._lifetimes.random() < self.configuration.expiring:
            call.lifetime_ms = self._lifetimes.choice(_LIFETIMES_MS)
        return self._send(call, Operation(*request, reply=call), timeout_s)

    def scan(self, process: int, node: int, start: bytes, keys_only: bool, limit: int | None, timeout_s: float) -> Call:
        """Ask for the page of all keys that begins at `start`."""
        call = Call(process, node, (operations.GET, start, None, None), self.timeline.now)
        call.page = ScanOperation(start, None, keys_only, reply=call, limit=limit)
        return self._send(call, call.page, timeout_s)

    def _send(self, call: Call, operation: Operation, timeout_s: float) -> Call:
        process, node = call.process, call.node
        self.calls.append(call)
        self._waiting[process] = call
        if self._trace is not None:
            self._trace.called(call)

        def arrive() -> None:
            replica = self._replicas[node]
            operation.deadline = replica.clock() + timeout_s
            if call.lifetime_ms is not None:
                operation.expiry = replica.wall_ms() + call.lifetime_ms
            if not replica.submit(operation):
                self._complete(call, FAILED)

        self.timeline.after(_CLIENT_DELAY_S, arrive)
        self.timeline.after(timeout_s + _CLIENT_PATIENCE_S, lambda: self._complete(call, UNKNOWN))
        return call

    def _answered(self, reply: Call, result: Result) -> None:
        self.timeline.after(_CLIENT_DELAY_S, lambda: self._take_answer(reply, result))

    def _take_answer(self, call: Call, result: Result) -> None:
        if self._waiting.get(call.process) is not call:
            return
        if result.status < operations.ERROR_STATUS_MIN:
            call.status, call.value, call.version, _ = result
            if call.page is None:
                self._workload.saw(call.request[1], *_seen(call))
            self._complete(call, OK)
        elif errors.BY_STATUS[result.status].definite:
            self._complete(call, FAILED)
        else:
            self._complete(call, UNKNOWN)

    def _crashed(self, replica: Replica) -> None:
        # Whether the answer was lost with the node, or the request before, a client cannot tell.
        for call in list(self._waiting.values()):
            if call.node == replica.number:
                self.timeline.after(_CLIENT_DELAY_S, self._complete, call, UNKNOWN)

    def _complete(self, call: Call, outcome: str) -> None:
        if self._waiting.get(call.process) is not call:
            return
        del self._waiting[call.process]
        call.outcome = outcome
        if outcome != UNKNOWN:
            call.finish = self.timeline.now
        if self._trace is not None:
            self._trace.completed(call)
        client = self._clients[call.process % len(self._clients)]
        client.completed(outcome)

    def new_process(self, client: int) -> int:
        """The number under which a client goes on that does not know what became of its last call."""
        self._processes += len(self._clients)
        return self._processes + client

    def _deliver(self, identifier: int, source: int, target: int, frame: bytes) -> None:
        taken = self._replicas[target].deliver(source, frame)
        if self._trace is not None:
            if taken:
                self._trace.received(identifier, source, target)
            else:
                self._trace.dropped(identifier, source, target, "stale" if self._replicas[target].up else "down")

    # Faults.

    def _leader(self) -> Replica | None:
        """One that leads, if any does."""
        leads = self._mode.leads
        if leads is not None:
            for replica in self._replicas.values():
                if replica.engine is not None and leads(replica.engine):
                    return replica
        return None

    def _elected(self) -> None:
        if self._issued and self._at_elections:
            fault = self._at_elections.popleft()
            if fault.kind == configurations.CRASH_IN_TURN and not fault.delay_s:
                self._strike(fault)
                return
            self.timeline.after(fault.delay_s, lambda: self._strike(fault))

    def _strike(self, fault: Fault) -> None:
        if self._healing:
            return
        if fault.node == configurations.LEADER:
            leader = self._leader()
            node = fault.peer if leader is None else leader.number
            # Its other end, then, is the next node in order.
            peer = fault.peer if fault.peer != node else node % len(self._replicas) + 1
            fault = replace(fault, node=node, peer=peer)
        strike = _Strike(fault)
        self._strikes.append(strike)
        if self._trace is not None:
            self._trace.fault(fault, begins=True)
        self._toggle(strike, True)
        self.timeline.after(fault.lasts_s, lambda: self._end(strike))

    def _end(self, strike: _Strike) -> None:
        if not strike.over:
            strike.over = True
            if self._trace is not None:
                self._trace.fault(strike.fault, begins=False)
            self._toggle(strike, False)

    def _toggle(self, strike: _Strike, begins: bool) -> None:
        fault = strike.fault
        replica = self._replicas[fault.node]
        link = self._network.link(fault.node, fault.peer)
        sign = 1 if begins else -1
        kind = fault.kind
        if kind == configurations.CRASH:
            replica.keep_down() if begins else replica.let_up()
        elif kind == configurations.CRASH_IN_TURN:
            replica.die_after = int(fault.amount * 1000) if begins else None
        elif kind == configurations.PAUSE:
            replica.pause() if begins else replica.resume()
        elif kind == configurations.PARTITION:
            for other in replica.peers.values():
                self._cut(replica, other, begins, both=True)
        elif kind == configurations.CUT_ONE_WAY:
            self._cut(replica, self._replicas[fault.peer], begins, both=False)
        elif kind == configurations.FLAP:
            self._flap(strike)
        elif kind == configurations.SLOW_LINK:
            link.slow_s += sign * fault.amount * (0.02 + self.configuration.election_s)
        elif kind == configurations.LOSSY_LINK:
            link.loss += sign * fault.amount
        elif kind == configurations.DISK_STALL:
            replica.disk.stall() if begins else replica.disk.resume()
        elif kind == configurations.DISK_FULL:
            replica.disk.fill() if begins else replica.disk.make_room()
        elif kind == configurations.DISK_FAILURE:
            replica.disk.fail_next = begins
        elif kind == configurations.TRANSFER:
            leader = self._leader()
            if begins and leader is not None:
                leader.command("raft-transfer", fault.peer)
        elif begins:
            assert kind == configurations.CLOCK_JUMP
            replica.jump(fault.amount * 10)
            replica.jump_wall(fault.amount - 0.5)

    def _flap(self, strike: _Strike) -> None:
        """Cut and mend a link some twenty times, and leave it mended."""
        if strike.over and not strike.cut:
            return
        strike.cut = not strike.cut
        fault = strike.fault
        self._cut(self._replicas[fault.node], self._replicas[fault.peer], strike.cut, both=True)
        if not strike.over:
            self.timeline.after(fault.lasts_s / 20, lambda: None if strike.over else self._flap(strike))

    def _cut(self, replica: Replica, other: Replica, begins: bool, both: bool) -> None:
        """Cut or mend the way from a node to another, or both ways. Who sends hears of it, sooner or later."""
        for source, target in ((replica, other), (other, replica))[: 2 if both else 1]:
            if source is target:
                continue
            self._network.link(source.number, target.number).cuts += 1 if begins else -1
            if begins:
                source.disconnected(target)
            elif not self._network.link(source.number, target.number).cuts:
                source.connected(target)

    def _heal(self) -> None:
        """End every fault, and wait for every call."""
        self._healing = True
        for strike in self._strikes:
            self._end(strike)
        self._network.heal()
        for replica in self._replicas.values():
            replica.die_after = None
            replica.disk.fail_next = False
            for other in replica.peers.values():
                replica.connected(other)

        def is_everybody_up() -> bool:
            return all([replica.up for replica in self._replicas.values()])

        # Where nothing is left to happen nobody looks.
        if not self.timeline.run(self.timeline.now + 1.0, is_everybody_up) and not is_everybody_up():
            raise Stuck("a node did not start again")
        # What was on its way when all was healed may still be late.
        self.timeline.run(self.timeline.now + _LATE_S_MAX)

    # Phase two.

    def _probe(self) -> None:
        """Read every key through every node, then write it through every node."""
        for key in self._workload.keys:
            for number in self._replicas:
                self._probe_with(number, (operations.GET, key, None, None))
        for key in self._workload.keys:
            for number in self._replicas:
                self._probe_with(number, self._workload.write(key))
        if self.configuration.scanners:
            for number in self._replicas:
                self._probe_scan(number)
        for key in self._workload.keys:
            for number in self._replicas:
                self._probe_with(number, (operations.GET, key, None, None))

    def _probe_with(self, number: int, request: Request) -> None:
        call = self._try(partial(self._ask, number, request))
        if call.outcome != OK or (call.status != operations.OK and request[0] == operations.GET):
            name = operations.KIND_NAMES[request[0]]
            raise Stuck(f"after the faults a {name} of {request[1]!r} through node {number} ended as {call.outcome}")

    def _probe_scan(self, number: int) -> None:
        """All pages come, and say together what the keys are."""
        start: bytes | None = b""
        while start is not None:
            call = self._try(partial(self._ask_scan, number, start))
            if call.outcome != OK or call.page is None:
                raise Stuck(f"after the faults a scan from {start!r} on through node {number} ended as {call.outcome}")
            following = call.page.following
            assert following is None or following > start, f"a page that begins at {start!r} goes on at {following!r}"
            start = following

    def _ask(self, number: int, request: Request) -> Call:
        return self.issue(self.new_process(0), number, request, _PROBE_S_MAX)

    def _ask_scan(self, number: int, start: bytes) -> Call:
        return self.scan(self.new_process(0), number, start, False, None, _PROBE_S_MAX)

    def _try(self, ask: Callable[[], Call]) -> Call:
        # Where there are snapshots, one may carry a node past an operation, and it never knows what came of that; and a
        # node that is catching up with the log refuses its clients until it has.
        call = self._wait(ask())
        tries = 1 if self._mode.leads is None else _PROBES_MAX
        while call.outcome != OK and tries > 1:
            tries -= 1
            self.timeline.run(self.timeline.now + _PROBE_PAUSE_S)
            call = self._wait(ask())
        return call

    def _wait(self, call: Call) -> Call:
        self.timeline.run(self.timeline.now + _PROBE_S_MAX + 1, lambda: self._waiting.get(call.process) is not call)
        return call

    def _settle(self) -> None:
        """Nobody waits for anything, and all hold the same."""
        engines = [replica.engine for replica in self._replicas.values() if replica.engine is not None]
        assert len(engines) == len(self._replicas)
        quiet = self._mode.quiet and not self.configuration.sweeps

        def settled() -> bool:
            return (
                all(
                    engine.status()["operations_in_flight"] == 0 and (not quiet or engine.deadline() is None)
                    for engine in engines
                )
                and self._converged() is None
            )

        until = self.timeline.now + _SETTLED_S_MAX
        while not settled():
            if self.timeline.now >= until:
                waits = [engine.deadline() is not None for engine in engines]
                raise Stuck(
                    self._converged() or f"{_SETTLED_S_MAX:.0f} s after the last call, nodes still wait: {waits}"
                )
            self.timeline.run(min(until, self.timeline.now + 0.25))

    def _converged(self) -> str | None:
        """What differs between replicas, None when nothing does."""
        for key in self._workload.keys:
            states = {
                number: self._mode.state(replica.engine, replica.disk.records.get(key), key)
                for number, replica in self._replicas.items()
                if replica.engine is not None
            }
            if len(set(states.values())) > 1:
                found = {number: zlib.crc32(repr(state).encode()) for number, state in states.items()}
                return f"the replicas of {key!r} did not converge: {found}"
        return None


class _Client:
    """Asks, waits for the answer, thinks, and asks again."""

    def __init__(self, universe: Universe, number: int) -> None:
        self.node = 0
        self.finished = False
        self.rng = random.Random(f"{universe.configuration.seed} client {number}")
        self._universe = universe
        self._number = number
        self._process = number

    def begin(self) -> None:
        """Start, a little after the others."""
        self._universe.timeline.after(self.rng.uniform(0, 0.001), self._ask)

    def _ask(self) -> None:
        universe = self._universe
        request = universe.take_request()
        if request is None:
            self._finish()
            return
        configuration = universe.configuration
        self.node = universe.choose(self)
        timeout_s = self.rng.uniform(configuration.timeout_s_min, configuration.timeout_s_max)
        universe.issue(self._process, self.node, request, timeout_s)

    def _finish(self) -> None:
        self.finished = True
        self._universe.finished += 1

    def completed(self, outcome: str) -> None:
        """The call has ended."""
        if outcome == UNKNOWN:
            self._process = self._universe.new_process(self._number)
        if not self.finished:
            pause = self.rng.uniform(0, 2 * self._universe.configuration.think_s)
            self._universe.timeline.after(pause if outcome == OK else pause + 0.002, self._ask)


class _Scanner(_Client):
    """Asks for page after page of all keys, each through any node."""

    def __init__(self, universe: Universe, number: int) -> None:
        super().__init__(universe, number)
        self._call: Call | None = None
        self._start = b""

    def _ask(self) -> None:
        universe = self._universe
        if not universe.take_turn():
            self._finish()
            return
        configuration = universe.configuration
        self.node = universe.choose(self)
        timeout_s = self.rng.uniform(configuration.timeout_s_min, configuration.timeout_s_max)
        keys_only = self.rng.random() < 0.2
        limit = self.rng.choice((None, None, 1, 3))
        self._call = universe.scan(self._process, self.node, self._start, keys_only, limit, timeout_s)

    def completed(self, outcome: str) -> None:
        assert self._call is not None
        page = self._call.page
        if outcome == OK and page is not None:
            assert page.following is None or page.following > self._start, "a scan gets on"
            self._start = page.following or b""
        super().completed(outcome)


def _seen(call: Call) -> tuple[bytes | None, int]:
    """Value and version of the key as far as an answer tells them."""
    kind, _, argument, _ = call.request
    if call.status == operations.OK and kind in (operations.PUT, operations.CAS, operations.SWAP):
        assert isinstance(argument, bytes)
        return argument, call.version
    if call.status == operations.OK and kind == operations.INCR:
        return b"%d" % int(call.value or 0), call.version
    if kind == operations.APPEND or not (call.value is None or isinstance(call.value, bytes)):
        return None, call.version
    return call.value, call.version
