"""Exhaustive search: small bounds are seen whole, and canaries are found without any luck."""

import dataclasses
import pickle
import random
import re
from collections.abc import Callable

import pytest
from harness.canaries import PAXOS, planted
from harness.raft_canaries import RAFT, RAFT_RARE

from paxoskv.core import operations
from paxoskv.core.operations import Result
from paxoskv.sim.canonical import Naming
from paxoskv.sim.explore import begin, explore, steps
from paxoskv.sim.world import Bounds, World

# Nobody asks at node 3, where this key has its home.
INCR = (operations.INCR, b"b", 1, None)
GET = (operations.GET, b"b", None, None)
# And this one at node 1.
INCR_OF_1 = (operations.INCR, b"a", 1, None)
GET_OF_1 = (operations.GET, b"a", None, None)
DUEL = Bounds(((1, INCR_OF_1), (2, INCR_OF_1)), states_max=20_000)
READERS = Bounds(((1, INCR_OF_1), (2, GET_OF_1), (2, GET_OF_1)), states_max=40_000)
READER_AND_CRASH = Bounds(((1, INCR_OF_1), (2, GET_OF_1)), crashes=1, slow_disks=True, states_max=20_000)


@pytest.mark.parametrize(
    "bounds",
    [
        Bounds(((1, INCR),)),
        Bounds(((1, INCR),), duplicates=1),
        Bounds(((1, INCR),), losses=1),
        Bounds(((1, INCR_OF_1), (1, INCR_OF_1)), crashes=1, slow_disks=True),
        Bounds(((1, INCR_OF_1), (2, GET_OF_1)), slow_disks=True),
        Bounds(((1, INCR_OF_1),), losses=1, ticks=1, slow_disks=True),
    ],
    ids=["one increment", "a duplicate", "a loss", "the home crashes", "read by another", "the own disk is late"],
)
def test_no_state_within_the_bounds_violates_anything(bounds: Bounds) -> None:
    found = explore(bounds)
    assert found.violation == ""
    assert found.complete
    assert found.states > 20


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("a first Accept leaves before the own commit", 1),
        ("an initial ballot begins twice", 1),
        ("initial ballots are anybody's", 2),
    ],
)
def test_search_finds_an_initial_ballot_that_is_none(name: str, other: int) -> None:
    with planted(next(canary for canary in PAXOS if canary.name == name)):
        found = explore(Bounds(((1, INCR_OF_1), (other, INCR_OF_1)), crashes=1, slow_disks=True))
    assert found.violation


def test_the_same_bounds_have_the_same_states() -> None:
    bounds = Bounds(((1, INCR),), duplicates=1)
    first, second = explore(bounds), explore(bounds)
    assert (first.states, first.transitions, first.depth) == (second.states, second.transitions, second.depth)


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("quorum of one", DUEL),
        ("accepted value ignored", DUEL),
        ("no lineage", DUEL),
        ("promise check skipped on accept", DUEL),
        ("read without finishing the write it saw", READERS),
        ("everything revealed before its commit", READER_AND_CRASH),
    ],
)
def test_search_alone_finds_a_broken_cluster_and_the_way_there(name: str, bounds: Bounds) -> None:
    with planted(next(canary for canary in PAXOS if canary.name == name)):
        found = explore(bounds)
    assert found.violation
    assert found.trace


def test_states_that_differ_in_batch_numbers_alone_are_one() -> None:
    bounds = Bounds(((1, INCR), (2, INCR)))
    one, other = begin(bounds), begin(bounds)
    for _ in range(5):
        other.nodes[1].engine.context.next_batch()
    for world in (one, other):
        world.submit(1, 0, INCR)
    assert one.frames != other.frames
    assert one.identity() == other.identity()
    one.deliver(*one.frames.pop(0))
    assert one.identity() != other.identity()
    other.deliver(*other.frames.pop(0))
    assert one.identity() == other.identity()


def test_neither_calls_nor_returns_have_an_order_among_themselves_but_one_to_each_other() -> None:
    bounds = Bounds(((1, INCR), (2, INCR)))
    result = Result(operations.OK, 1, 1)

    def told(*events: tuple[int, Result | None]) -> bytes:
        world = begin(bounds)
        world.events = list(events)
        return world.identity()

    assert told((0, None), (1, None), (0, result)) == told((1, None), (0, None), (0, result))
    assert told((0, None), (0, result), (1, None)) != told((0, None), (1, None), (0, result))


@pytest.mark.parametrize(
    "bounds",
    [
        Bounds(((1, INCR),), duplicates=1),
        Bounds(((1, INCR),), losses=1),
        Bounds(((1, INCR),), crashes=1),
        Bounds(((1, INCR),), slow_disks=True),
    ],
    ids=["a duplicate", "a loss", "a crash", "slow disks"],
)
def test_what_is_left_out_of_an_identity_hides_no_outcome(bounds: Bounds) -> None:
    """Fewer states, and from them the same histories as from states that are told apart by every byte."""
    every, ends = _visit(bounds, _bytes)
    fewer, same = _visit(bounds, _identity)
    assert fewer < every
    assert same == ends


def _visit(bounds: Bounds, tell: Callable[[World], bytes]) -> tuple[int, set[str]]:
    """How many states there are, and what can be seen of them in the end."""
    world = begin(bounds)
    seen = {tell(world)}
    world.seal()
    layer = [world]
    ends = set()
    while layer:
        following = []
        for world in layer:
            if not world.frames and not any(node.queued for node in world.nodes.values()):
                end = world.copy()
                end.settle()
                for number in end.nodes:
                    end.submit(number, 10 + number, GET)
                    end.settle()
                ends.add(repr(end.events))
            for _, act, _ in steps(world, bounds):
                after = world.copy()
                act(after)
                if tell is _identity:
                    after.prune()
                found = tell(after)
                if found not in seen:
                    seen.add(found)
                    after.seal()
                    following.append(after)
        layer = following
    return len(seen), ends


def _identity(world: World) -> bytes:
    return world.identity()


def _bytes(world: World) -> bytes:
    copy = pickle.loads(pickle.dumps(world))
    copy.seal()
    nodes = [(node.incarnation, node.rows, node.queued, node.seen, node._packed) for node in copy.nodes.values()]
    budgets = (copy.losses, copy.duplicates, copy.crashes)
    return pickle.dumps((nodes, sorted(copy.frames), copy.next, budgets, copy.events))


def test_a_copy_goes_its_own_way() -> None:
    world = begin(Bounds(((1, INCR),)))
    before = world.identity()
    world.seal()
    copy = world.copy()
    copy.submit(1, 0, INCR)
    assert copy.identity() != before
    assert world.identity() == before


def test_the_bound_on_states_ends_the_search_and_says_so() -> None:
    found = explore(Bounds(((1, INCR), (2, INCR)), states_max=100))
    assert not found.complete
    assert found.violation == ""


@pytest.mark.parametrize(
    "bounds",
    [
        Bounds(((1, INCR),), duplicates=1),
        Bounds(((1, INCR),), losses=1),
        Bounds(((1, INCR), (2, GET)), mode="raft", duplicates=1),
        Bounds((), mode="raft", begin="cold", timeouts=1),
        Bounds((), mode="raft", begin="earlier-term"),
    ],
    ids=["a duplicate", "a loss", "raft: a duplicate", "raft: an election", "raft: an earlier term"],
)
def test_not_going_on_from_deliveries_that_change_nothing_hides_no_outcome(bounds: Bounds) -> None:
    reduced, every = explore(bounds), explore(dataclasses.replace(bounds, reduced=False))
    assert reduced.complete
    assert every.complete
    assert reduced.violation == every.violation == ""
    assert reduced.states <= every.states
    assert reduced.outcomes == every.outcomes
    assert reduced.outcomes


@pytest.mark.parametrize(
    "bounds",
    [
        Bounds(((1, INCR),), duplicates=1, crashes=1, slow_disks=True),
        Bounds(((1, INCR), (2, INCR)), nodes=4),
        Bounds((), mode="raft", begin="cold", timeouts=2, crashes=1, slow_disks=True),
        Bounds(((1, INCR), (1, GET)), mode="raft", timeouts=2, ticks=2, crashes=1, slow_disks=True),
        Bounds(((1, INCR), (1, GET)), mode="raft", nodes=5, timeouts=2, duplicates=2),
    ],
    ids=["paxos", "paxos: four nodes", "raft: elections", "raft: an operation", "raft: five nodes"],
)
def test_who_is_called_what_makes_no_difference(bounds: Bounds) -> None:
    """Whatever happens to one cluster, and the same to another whose nodes have other names: they are alike."""
    for seed in range(60):
        rng = random.Random(seed)
        world, mirror = begin(bounds), begin(bounds)
        names = rng.choice(world.namings)
        for _ in range(40):
            world.seal()
            mirror.seal()
            # Crashes that keep different rows have one text: the last of them is taken, in both.
            possible = {text: act for text, act, _ in steps(world, bounds)}
            if not possible:
                break
            text = rng.choice(sorted(possible))
            mirrored = _renamed(text, names)
            world, mirror = world.copy(), mirror.copy()
            possible[text](world)
            {text: act for text, act, _ in steps(mirror, bounds)}[mirrored](mirror)
            world.prune()
            mirror.prune()
            assert world.identity() == mirror.identity(), f"seed {seed}, {names}: {text}"
        world.seal()
        mirror.seal()
        ends = []
        for end, called in ((world.copy(), names), (mirror.copy(), world.namings[0])):
            end.call(called)
            end.settle()
            for node in end.nodes:
                end.submit(node, 100, GET)
                end.settle()
            ends.append([result for _, result in end.events])
        assert ends[0] == ends[1], f"seed {seed}, {names}"


def _renamed(text: str, names: Naming) -> str:
    """A step's text, with nodes called so."""
    return re.sub(r"(?<=node )\d|^\d(?= to )|(?<= to )\d(?=: )", lambda found: str(names[int(found[0])]), text)


@pytest.mark.parametrize(
    "bounds",
    [
        Bounds(((1, INCR),), duplicates=1),
        Bounds(((1, INCR),), losses=1),
        Bounds(((1, INCR),), crashes=1),
        Bounds(((1, INCR_OF_1),), slow_disks=True, ticks=1),
        Bounds((), mode="raft", begin="cold", timeouts=1),
        Bounds(((1, INCR), (1, GET)), mode="raft"),
    ],
    ids=["a duplicate", "a loss", "a crash", "slow disks", "raft: an election", "raft: an increment and a read"],
)
def test_not_telling_nodes_apart_that_nobody_asks_hides_no_outcome(bounds: Bounds) -> None:
    symmetric, every = explore(bounds), explore(dataclasses.replace(bounds, symmetric=False))
    assert symmetric.complete
    assert every.complete
    assert symmetric.violation == every.violation == ""
    assert symmetric.states < every.states
    assert symmetric.outcomes == every.outcomes


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "told apart"])
@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("own vote counted before its commit", Bounds(((1, INCR),), crashes=1, slow_disks=True)),
        ("acceptance acknowledged before its commit", Bounds(((1, INCR),), crashes=1, slow_disks=True)),
        ("acknowledgement counted twice from one node", Bounds(((1, INCR),), crashes=1, slow_disks=True, duplicates=1)),
    ],
)
def test_search_finds_it_whether_or_not_it_tells_nodes_apart_that_nobody_asks(
    name: str, bounds: Bounds, symmetric: bool
) -> None:
    with planted(next(canary for canary in PAXOS if canary.name == name)):
        found = explore(dataclasses.replace(bounds, symmetric=symmetric))
    assert found.violation
    assert found.trace


@pytest.mark.parametrize("reduced", [True, False], ids=["reduced", "every state"])
@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("two votes in a term", Bounds((), mode="raft", begin="cold", timeouts=2)),
        ("vote not persisted", Bounds((), mode="raft", begin="cold", timeouts=1)),
        ("entry acknowledged before its commit", Bounds((), mode="raft", begin="cold", timeouts=1)),
        ("answered before a majority has the entry", Bounds(((1, INCR),), mode="raft")),
        ("election restriction left out", Bounds(((1, INCR),), mode="raft", timeouts=1)),
        ("own vote counted before its commit", Bounds((), mode="raft", begin="cold", timeouts=1, slow_disks=True)),
        ("forwarded twice, applied twice", Bounds(((2, INCR),), mode="raft", duplicates=1)),
        ("truncation of a committed entry", Bounds(((1, INCR), (1, INCR)), mode="raft", duplicates=1)),
        # Figure 3.7 of the dissertation, which no seed finds.
        (
            "commit of an earlier term's entry by counting",
            Bounds((), mode="raft", begin="earlier-term", timeouts=1),
        ),
    ],
)
def test_search_alone_finds_a_broken_log_cluster_and_the_way_there(name: str, bounds: Bounds, reduced: bool) -> None:
    with planted(next(canary for canary in (*RAFT, *RAFT_RARE) if canary.name == name)):
        found = explore(dataclasses.replace(bounds, reduced=reduced))
    assert found.violation
    assert found.trace


def test_a_beginning_that_is_a_violation_is_said_to_be_one() -> None:
    with planted(next(canary for canary in RAFT if canary.name == "entry acknowledged before its commit")):
        found = explore(Bounds((), mode="raft"))
    assert "(D1)" in found.violation
    assert found.trace == ["on the way to where the search begins"]


def test_states_of_the_log_engine_that_differ_in_how_much_time_has_passed_are_one() -> None:
    one = begin(Bounds(((1, INCR),), mode="raft"))
    other = begin(Bounds(((1, INCR),), mode="raft"))
    for world, seconds in ((one, 10.0), (other, 20.0)):
        world.now += seconds
        for node in world.nodes.values():
            node.engine.context.advance(world.now)
    assert one.identity() == other.identity()
    one.submit(1, 0, INCR)
    assert one.identity() != other.identity()
