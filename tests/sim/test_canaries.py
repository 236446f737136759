"""Clusters broken on purpose: the simulator finds each of them, within a number of seeds.

A canary that is not found is a hole in the simulator.
"""

import pytest
from harness.canaries import LEAP, PAXOS, PAXOS_SCANS, PAXOS_STEPS, Canary, planted
from harness.raft_canaries import RAFT

from paxoskv.sim import run
from paxoskv.sim.configuration import draw

SEEDS_MAX = 1000
# Where the search begins, so that it is short; beyond, and then from 0 on, the other seeds are tried.
BEGIN = {
    "reads see what is not on disk": 86,
    "what was read as expired is deleted whatever stands": 5,
    "expired by the reader's clock alone": 21,
    "equal ballot promised": 40,
    "promise not persisted": 957,
    "failed condition leaves no trace": 316,
    "settled by promises": 63,
    "read answered from the holder's memory": 134,
    "a relay's late results are taken for those of any later ballot": 51,
    "what was passed has the result of its last evaluation": 108,
    "results remembered from any ballot": 39,
    "steps of a chain reordered": 2,
    "answers for a former incarnation reach the new one": 111,
    "a scan goes on where the longest page ended": 72,
    "a scan shows what is not on disk": 95,
    "a first Accept leaves before the own commit": 323,
    "a scan takes from storage what has changed since it asked": 114,
    "a scan asks nobody": 13,
    "a page that was never answered is waited for": 36,
    "acknowledgement counted twice from one node": 9,
    "a fold takes more steps than its ballot has left": 37,
}
RAFT_BEGIN = {
    "votes of past terms counted": 34,
    "the longer log wins, whatever its terms": 34,
    "acknowledges in a later term what an earlier leader sent": 17,
    "the entry before is not compared": 26,
    "commits what was not verified": 12,
    "entries applied again to newer records": 17,
    "stale leader answers reads": 14,
    "reads before the index is applied": 12,
    "a scan takes from storage what has changed since it asked": 159,
}


@pytest.mark.parametrize("canary", PAXOS + PAXOS_SCANS + PAXOS_STEPS, ids=str)
def test_the_simulator_finds_a_broken_cluster(canary: Canary) -> None:
    assert _is_found(canary, "paxos", BEGIN), f"no seed of {SEEDS_MAX} shows it"


@pytest.mark.parametrize("canary", RAFT, ids=str)
def test_the_simulator_finds_a_broken_log_cluster(canary: Canary) -> None:
    assert _is_found(canary, "raft", RAFT_BEGIN), f"no seed of {SEEDS_MAX} shows it"


def _is_found(canary: Canary, mode: str, begins: dict[str, int]) -> bool:
    begin = begins.get(canary.name, 0)
    with planted(canary):
        seeds = [*range(begin, SEEDS_MAX), *range(begin)]
        return any(run.simulate(draw(seed, mode)).failure is not None for seed in seeds)


def test_a_ballot_whose_steps_run_out_in_good_order_harms_nobody() -> None:
    """What is found without the rule is found because of that."""
    with planted(LEAP):
        for seed in range(20):
            assert run.simulate(draw(seed)).failure is None


def test_a_failing_universe_is_made_smaller_and_still_fails() -> None:
    canary = next(canary for canary in PAXOS if canary.name == "no lineage")
    with planted(canary):
        configuration = draw(1)
        failure = run.simulate(configuration).failure
        assert failure is not None
        changes = run.shrink(configuration, failure.kind)
        smaller = run.change(configuration, changes)
        again = run.simulate(smaller).failure
    assert again is not None
    assert again.kind == failure.kind
    assert smaller.operations < configuration.operations / 2
