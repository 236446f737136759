"""Runs a scenario: the real engines in the simulator's virtual time, with faults that strike on cue.

A scenario is a function that is given a Theatre and tells it who asks what when, and what goes wrong upon which event.
Everything follows from the scenario, so it happens the same way every time.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any, Final

from paxoskv.core import errors, operations
from paxoskv.core.operations import Operation, Result
from paxoskv.sim import configuration as configurations
from paxoskv.sim.configuration import Configuration, Fault, Wire, draw
from paxoskv.sim.modes import mode_of
from paxoskv.sim.network import Network
from paxoskv.sim.replica import Replica
from paxoskv.sim.timeline import Timeline
from paxoskv.sim.trace import Trace
from paxoskv.sim.universe import FAILED, OK, UNKNOWN, Call
from paxoskv.workload import Request

MS: Final = 0.001
"""Most things in a scenario take milliseconds."""

_NODES: Final = 3
_CLIENT_DELAY_S: Final = 0.1 * MS
_PATIENCE_S: Final = 1 * MS
_ELECTION_S_MAX: Final = 5.0
_SEEDS_MAX: Final = 200
_QUIET_S: Final = 0.02
# Whatever happens, a scenario is over then.
_END_S: Final = 10.0

Fields = dict[str, Any]


class Theatre:
    """A cluster of three nodes, its clients, and what shall happen to them.

    The curtain rises, and the trace begins, once the cluster is ready; in raft mode once the node `leader` leads.
    """

    def __init__(
        self, mode: str, title: str, text: str, write: Callable[[str], object], leader: int, seed: int
    ) -> None:
        """The first seed from `seed` on with that leader decides what chance is left."""
        for number in count(seed):
            assert number < seed + _SEEDS_MAX, f"some seed makes node {leader} the leader"
            self._build(_configuration(number, mode), write)
            if self._warm_up(leader):
                break
        self._trace.raise_curtain(title, text, {number: each.engine for number, each in self._replicas.items()})

    def _build(self, configuration: Configuration, write: Callable[[str], object]) -> None:
        self._timeline = Timeline()
        self._mode = mode_of(configuration.mode)
        self._trace = _Curtain(write, self._saw)
        self._trace.prepare(self._timeline, configuration, self._mode)
        self._network = Network(
            self._timeline,
            random.Random(f"{configuration.seed} network"),
            configuration.wire,
            self._deliver,
            self._trace,
        )
        self._replicas = {
            number: Replica(
                number,
                configuration,
                self._mode,
                self._timeline,
                self._network,
                random.Random(f"{configuration.seed} node {number}"),
                self._trace,
            )
            for number in range(1, _NODES + 1)
        }
        for replica in self._replicas.values():
            replica.peers = {number: other for number, other in self._replicas.items() if other is not replica}
            replica.on_answer = self._answered
            replica.on_crash = self._crashed
        self._cues: list[_Cue] = []
        self._waiting: list[Call] = []
        self._planned = 0
        self._then: dict[int, Callable[[], object]] = {}

    def _warm_up(self, leader: int) -> bool:
        for replica in self._replicas.values():
            replica.start()
        self._timeline.run(self._timeline.now + _QUIET_S)
        leads = self._mode.leads
        if leads is None:
            return True
        engines = {number: replica.engine for number, replica in self._replicas.items()}
        if not self._timeline.run(_ELECTION_S_MAX, lambda: any(leads(each) for each in engines.values() if each)):
            return False
        self._timeline.run(self._timeline.now + _QUIET_S)
        engine = engines[leader]
        return engine is not None and leads(engine)

    # What a scenario says.

    @property
    def is_led(self) -> bool:
        """Whether this mode has a leader."""
        return self._mode.leads is not None

    def at(self, milliseconds: float, action: Callable[[], object]) -> None:
        """Do something so long from now."""
        self._planned += 1

        def act() -> None:
            self._planned -= 1
            action()

        self._timeline.after(milliseconds * MS, act)

    def ask(
        self,
        client: int,
        node: int,
        kind: int,
        key: bytes,
        argument: bytes | int | None = None,
        patience_ms: float = 3000,
        then: Callable[[], object] = lambda: None,
    ) -> None:
        """A client asks a node, and does something, `then`, when its call has ended."""
        request: Request = (kind, key, argument, None)
        call = Call(client, node, request, self._timeline.now)
        self._waiting.append(call)
        self._then[id(call)] = then
        self._trace.called(call)

        def arrive() -> None:
            replica = self._replicas[node]
            deadline = replica.clock() + patience_ms * MS
            if not replica.submit(Operation(kind, key, argument, None, deadline, reply=call)):
                self._complete(call, FAILED)

        self._timeline.after(_CLIENT_DELAY_S, arrive)
        self._timeline.after(patience_ms * MS + _PATIENCE_S, lambda: self._complete(call, UNKNOWN))

    def when(self, event: str, action: Callable[[], object], times: int = 1, **fields: Any) -> None:
        """Do something at once when such an event happens, for so many of them.

        `fields` are the event's; `says` is the kind of one of its frame's messages.
        """
        self._cues.append(_Cue(event, fields, action, times))

    def lose(self, source: int, target: int, says: str, times: int = 1) -> None:
        """Lose the next frames that say something of this kind on the way from one node to another."""
        link = self._network.link(source, target)

        def strike() -> None:
            link.loss += 1.0
            self._timeline.after(0.0, mend)

        def mend() -> None:
            link.loss -= 1.0

        self.when("send", strike, times, source=source, target=target, says=says)

    def crash(self, node: int) -> None:
        """The node's process dies."""
        self._timeline.after(0.0, self._replicas[node].keep_down)

    def restart(self, node: int) -> None:
        """The node's process starts again, on its disk."""
        self._replicas[node].let_up()

    def cut_off(self, node: int) -> None:
        """Cut all links of a node."""
        self._trace.fault(_partition(node), begins=True)
        for source, target in self._links_of(node):
            self._network.link(source.number, target.number).cuts += 1
            source.disconnected(target)

    def reconnect(self, node: int) -> None:
        """Undo `cut_off`."""
        self._trace.fault(_partition(node), begins=False)
        for source, target in self._links_of(node):
            self._network.link(source.number, target.number).cuts -= 1
            source.connected(target)

    def _links_of(self, node: int) -> list[tuple[Replica, Replica]]:
        replica = self._replicas[node]
        return [pair for other in replica.peers.values() for pair in ((replica, other), (other, replica))]

    def play(self, quiet_ms: float = 3.0) -> None:
        """Run until everybody has an answer and nothing is planned, and a little longer."""
        until = self._timeline.now + _END_S
        self._timeline.run(until, lambda: not self._waiting and not self._planned)
        assert not self._waiting, "everybody has an answer"
        self._timeline.run(self._timeline.now + quiet_ms * MS)

    # What happens.

    def _saw(self, event: str, fields: Fields) -> None:
        for cue in [cue for cue in self._cues if cue.fits(event, fields)]:
            cue.times -= 1
            if not cue.times:
                self._cues.remove(cue)
            cue.action()

    def _deliver(self, identifier: int, source: int, target: int, frame: bytes) -> None:
        if self._replicas[target].deliver(source, frame):
            self._trace.received(identifier, source, target)
        else:
            self._trace.dropped(identifier, source, target, "stale" if self._replicas[target].up else "down")

    def _answered(self, call: Call, result: Result) -> None:
        self._timeline.after(_CLIENT_DELAY_S, lambda: self._take(call, result))

    def _take(self, call: Call, result: Result) -> None:
        if result.status < operations.ERROR_STATUS_MIN:
            call.status, call.value, call.version, _ = result
            self._complete(call, OK)
        else:
            self._complete(call, FAILED if errors.BY_STATUS[result.status].definite else UNKNOWN)

    def _crashed(self, replica: Replica) -> None:
        for call in [call for call in self._waiting if call.node == replica.number]:
            self._timeline.after(_CLIENT_DELAY_S, self._complete, call, UNKNOWN)

    def _complete(self, call: Call, outcome: str) -> None:
        if call not in self._waiting:
            return
        self._waiting.remove(call)
        call.outcome = outcome
        self._trace.completed(call)
        self._then.pop(id(call))()


class _Cue:
    """Something to do upon an event."""

    def __init__(self, event: str, fields: Fields, action: Callable[[], object], times: int) -> None:
        self.times = times
        self.action = action
        self._event = event
        self._says = fields.pop("says", None)
        self._fields = fields

    def fits(self, event: str, fields: Fields) -> bool:
        """Whether this is such an event."""
        return (
            event == self._event
            and all(fields.get(name) == value for name, value in self._fields.items())
            and (self._says is None or any(said["kind"] == self._says for said in fields.get("says", ())))
        )


class _Curtain(Trace):
    """A trace that begins later than its universe, and tells somebody of its events."""

    def __init__(self, write: Callable[[str], object], saw: Callable[[str, Fields], None]) -> None:
        super().__init__(write)
        self._shown = False
        self._began = 0.0
        self._saw = saw
        self._now = lambda: self._timeline.now - self._began
        self._said: dict[int | str, list[Fields]] = {}
        self._before: set[int | str] = set()
        """Frames that left before the curtain rose."""

    def prepare(self, timeline: Timeline, configuration: Configuration, mode: Any) -> None:
        """What `begin` needs, kept for later."""
        self._configuration = configuration
        self.follow(timeline, configuration, mode)

    def raise_curtain(self, title: str, text: str, engines: dict[int, Any]) -> None:
        """Begin, with what there is now."""
        self._began = self._timeline.now
        self._shown = True
        self.forget()
        self.begin(self._timeline, self._configuration, self._mode, title, text)
        for number, engine in engines.items():
            self.started(number, 1)
            self.changed(number, engine)

    def event(self, name: str, **fields: Any) -> None:
        frame = fields.get("frame")
        if not self._shown:
            if name == "send":
                self._before.add(fields["frame"])
            return
        if frame in self._before:
            return
        super().event(name, **fields)
        if name == "send":
            self._said[fields["frame"]] = fields["messages"]
        self._saw(name, {**fields, "says": self._said.get(fields.get("frame", -1), [])})


def _partition(node: int) -> Fault:
    return Fault(configurations.PARTITION, 0, 0.0, 0.0, node, node, 0.0)


def _configuration(seed: int, mode: str) -> Configuration:
    """A calm cluster on a quick network, in which nothing goes wrong by chance."""
    return replace(
        draw(seed, mode, nodes=_NODES, operations=1, faults=False),
        keys=1,
        wire=Wire(0.42 * MS, 0.52 * MS, straggle=0.0, straggle_times=1.0, loss=0.0, duplicate=0.0, in_order=True),
        commit_s_min=0.24 * MS,
        commit_s_max=0.32 * MS,
        turn_s=0.0,
        cache_bytes=1 << 28,
        journal_bytes=1 << 25,
        drift=0.0,
        election_s=0.4,
        log_bytes=1 << 25,
        append_bytes=1 << 19,
        window_messages=128,
        lease_reads=False,
    )
