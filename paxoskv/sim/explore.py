"""Exhaustive search: every interleaving of a few operations, for small bounds, over the engine that serves.

A state is a `sim.world.World`. A step changes one engine, mostly, and the others are shared; what identifies a state is
in `sim.canonical` and the modules beside it. Breadth first, so the first violation found is a shortest one.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from paxoskv import check
from paxoskv.check.history import History
from paxoskv.check.history import Operation as Checked
from paxoskv.core import errors, operations
from paxoskv.core.operations import Result
from paxoskv.core.text import shown
from paxoskv.sim.history import outcome_of
from paxoskv.sim.paxos_world import PaxosWorld
from paxoskv.sim.raft_world import RaftWorld
from paxoskv.sim.world import Bounds, Step, World
from paxoskv.wire import framing, peer
from paxoskv.workload import Request

_OK_MAX: Final = operations.ERROR_STATUS_MIN


@dataclass(frozen=True, slots=True)
class Exploration:
    """What came of it."""

    states: int
    transitions: int
    depth: int
    complete: bool
    """Every state within the bounds was seen."""
    violation: str
    trace: list[str]
    """The steps that lead to the violation."""
    seconds: float
    outcomes: frozenset[tuple[tuple[int, Result | None], ...]]
    """What clients, and then one at every node, were told where everything came to rest, in order."""


def begin(bounds: Bounds) -> World:
    """Where the search begins."""
    return RaftWorld(bounds) if bounds.mode == "raft" else PaxosWorld(bounds)


def steps(world: World, bounds: Bounds) -> Iterator[Step]:
    """Everything that can happen next."""
    scripts: dict[int, list[tuple[int, Request]]] = {}
    for number, (node, request) in enumerate(bounds.operations):
        scripts.setdefault(node, []).append((number, request))
    for node, script in scripts.items():
        position = world.next.get(node, 0)
        if position < len(script):
            number, request = script[position]

            def ask(after: World, node: int = node, number: int = number, request: Request = request) -> None:
                after.next[node] = after.next.get(node, 0) + 1
                after.submit(node, number, request)

            yield Step(f"a client asks node {node}: {_show(request)}", ask)
    for index, (source, target, frame) in enumerate(world.frames):
        if (source, target, frame) in world.frames[:index]:
            continue  # Its copy was tried.
        text = _describe(world, source, target, frame)

        def take(after: World, index: int = index) -> None:
            after.deliver(*after.frames.pop(index))

        yield Step(text, take, target)
        if world.losses:

            def lose(after: World, index: int = index) -> None:
                after.losses -= 1
                after.frames.pop(index)

            yield Step(f"{text}: lost", lose)
        if world.duplicates:

            def double(after: World, index: int = index) -> None:
                after.duplicates -= 1
                after.deliver(*after.frames[index])

            yield Step(f"{text}, and once more later", double)
    for number, there in world.nodes.items():
        if there.queued:

            def commit(after: World, number: int = number) -> None:
                after.commit_row(number)
                after.turn(number)

            yield Step(f"node {number}'s disk commits", commit)
        if world.crashes:
            for keeping in range(len(there.queued) + 1):

                def crash(after: World, number: int = number, keeping: int = keeping) -> None:
                    after.crashes -= 1
                    after.crash(number, keeping)

                yield Step(f"node {number} crashes and starts again", crash)
    yield from world.passing()


def explore(bounds: Bounds, progress: Callable[[int, int], object] = lambda states, depth: None) -> Exploration:
    """Visit every state within the bounds, or stop at the first violation. `progress` hears of each new depth."""
    began = time.perf_counter()
    parents: dict[bytes, tuple[bytes, str]] = {}
    outcomes: set[tuple[tuple[int, Result | None], ...]] = set()
    depth = transitions = 0

    def result(violation: str, last: bytes, step: str, complete: bool) -> Exploration:
        trace = [step] if step else []
        while last:
            last, step = parents[last]
            if step:
                trace.append(step)
        return Exploration(
            len(parents),
            transitions,
            depth,
            complete,
            violation,
            trace[::-1],
            time.perf_counter() - began,
            frozenset(outcomes),
        )

    try:
        world = begin(bounds)
    except Exception as error:
        return result(_raised(error), b"", "on the way to where the search begins", False)
    first = world.identity()
    parents[first] = (b"", "")
    world.seal()
    layer = [(first, world)]
    while layer:
        progress(len(parents), depth)
        following: list[tuple[bytes, World]] = []
        for here, world in layer:
            quiet = True
            telling = 0
            for text, act, target in steps(world, bounds):
                quiet = False
                after = world.copy()
                told = len(after.events)
                transitions += 1
                try:
                    act(after)
                except Exception as error:
                    return result(_raised(error), here, text, False)
                if any(answer is not None for _, answer in after.events[told:]) and (
                    illegal := _judge(after.events, bounds)
                ):
                    return result(illegal, here, text, False)
                if bounds.reduced and target and after.is_but_for_a_frame(world, target):
                    continue
                telling += bool(target)
                after.prune()
                found = after.identity()
                if found not in parents:
                    parents[found] = (here, text)
                    after.seal()
                    following.append((found, after))
            # It is at rest: whatever is still on its way changes nothing.
            if quiet or not telling:
                # The states that this one stands for, too.
                for names in world.namings:
                    end = world.copy()
                    end.call(names)
                    if illegal := _end(end, bounds):
                        asked = ", then ".join(map(str, end.nodes))
                        return result(illegal, here, f"everything arrives, and nodes are asked: {asked}", False)
                    outcomes.add(tuple([event for event in end.events if event[1] is not None]))
            if len(parents) >= bounds.states_max:
                return result("", b"", "", False)
        layer = following
        depth += bool(following)
    return result("", b"", "", True)


def _end(world: World, bounds: Bounds) -> str:
    """From here, everything comes to rest, and every node reads every key: is that legal, too?"""
    try:
        world.settle()
        number = len(bounds.operations)
        for key in sorted({request[1] for _, request in bounds.operations}):
            for node in world.nodes:
                world.submit(node, number, (operations.GET, key, None, None))
                world.settle()
                number += 1
    except Exception as error:
        return _raised(error)
    return _judge(world.events, bounds)


def _raised(error: Exception) -> str:
    """An engine raises nothing, so whatever it raises is a violation."""
    return f"{'assertion' if isinstance(error, AssertionError) else type(error).__name__}: {error}"


def _judge(events: list[tuple[int, Result | None]], bounds: Bounds) -> str:
    """What is impossible about what clients were told, or nothing."""
    calls: dict[int, int] = {}
    returns: dict[int, tuple[int, Result]] = {}
    for moment, (number, result) in enumerate(events):
        if result is None:
            calls[number] = moment
        else:
            assert number not in returns, "an operation is answered once"
            returns[number] = (moment, result)
    history = History()
    keys = sorted({request[1] for _, request in bounds.operations})
    for number, start in calls.items():
        if number < len(bounds.operations):
            kind, key, argument, condition = bounds.operations[number][1]
        else:
            kind, argument, condition = operations.GET, None, None
            key = keys[(number - len(bounds.operations)) // bounds.nodes]
        finish, result = returns.get(number, (None, None))
        outcome, value, version = "unknown", None, None
        if result is not None:
            if result.status < _OK_MAX:
                outcome = outcome_of(result.status)
                value, version = result.value, result.version
                if kind == operations.DELETE and outcome == "ok":
                    value = result.status == operations.OK
            elif errors.BY_STATUS[result.status].definite:
                outcome = "failed"
        history.add(
            Checked(
                number + 1,
                number + 1,
                operations.KIND_NAMES[kind],
                key,
                float(start),
                None if finish is None or outcome == "unknown" else float(finish),
                outcome,
                argument,
                condition,
                value,
                version,
            )
        )
    violations = check.check(history).violations
    return violations[0].sentence if violations else ""


def _describe(world: World, source: int, target: int, frame: bytes) -> str:
    _, encoded = peer.parse_frame(framing.unpack(frame[framing.LENGTH_BYTES :]))
    said = [one for message in encoded for one in world.describe(world.codec.decode(message))]
    words = [
        " ".join([one["kind"], *[f"{value}" for name, value in one.items() if name not in ("kind", "batch", "index")]])
        for one in said
    ]
    return f"{source} to {target}: {'; '.join(words)}"


def _show(request: Request) -> str:
    kind, key, argument, condition = request
    words = [operations.KIND_NAMES[kind], f"{shown(key)}"]
    for value, before in ((argument, ""), (condition, "if ")):
        if value is not None:
            words.append(f"{before}{shown(value)}")
    return " ".join(words)
