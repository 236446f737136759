"""Exhaustive search: small bounds are seen whole, and canaries are found without any luck."""

import pytest
from harness.canaries import PAXOS, planted

from paxoskv.core import operations
from paxoskv.sim.explore import Bounds, explore

INCR = (operations.INCR, b"a", 1, None)
GET = (operations.GET, b"a", None, None)
DUEL = Bounds(((1, INCR), (2, INCR)), states_max=20_000)
READER_AND_CRASH = Bounds(((1, INCR), (2, GET)), crashes=1, slow_disks=True, states_max=20_000)


@pytest.mark.parametrize(
    "bounds",
    [
        Bounds(((1, INCR),)),
        Bounds(((1, INCR),), duplicates=1),
        Bounds(((1, INCR),), losses=1),
    ],
    ids=["one increment", "a duplicate", "a loss"],
)
def test_no_state_within_the_bounds_violates_anything(bounds: Bounds) -> None:
    found = explore(bounds)
    assert found.violation == ""
    assert found.complete
    assert found.states > 40


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
        ("read without finishing the write it saw", READER_AND_CRASH),
        ("everything revealed before its commit", READER_AND_CRASH),
    ],
)
def test_search_alone_finds_a_broken_cluster_and_the_way_there(name: str, bounds: Bounds) -> None:
    with planted(next(canary for canary in PAXOS if canary.name == name)):
        found = explore(bounds)
    assert found.violation
    assert found.trace


def test_the_bound_on_states_ends_the_search_and_says_so() -> None:
    found = explore(Bounds(((1, INCR), (2, INCR)), states_max=100))
    assert not found.complete
    assert found.violation == ""
