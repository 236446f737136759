"""A ballot has so many steps, one for each version of a key that its holder writes; then it takes a new ballot (A3)."""

import pytest
from harness.cluster import Cluster

from paxoskv.cli.serve import serve
from paxoskv.core import operations
from paxoskv.core.operations import Operation
from paxoskv.paxos import ballot

FEW = 63


@pytest.mark.parametrize("together", [1, 2, 20])
def test_where_steps_run_out_a_new_ballot_is_taken_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    """One step more would be of another node's ballot."""
    monkeypatch.setattr(ballot, "STEP_MAX", FEW)
    cluster = Cluster(3)
    versions: list[int] = []
    for turn in range(200 // together):
        asked = [Operation(operations.INCR, b"k", 1, deadline=float("inf")) for _ in range(together)]
        cluster.submit(1, *asked)
        cluster.settle(0.1)
        results = [cluster.result(operation) for operation in asked]
        values = [result.value for result in results if result is not None]
        assert values == list(range(turn * together + 1, (turn + 1) * together + 1))
        versions += [result.version for result in results if result is not None]
    assert sorted(versions) == versions
    assert {ballot.node_of(ballot.ballot_of(version)) for version in versions} == {1}
    assert max(version & 2**ballot.STEP_BITS - 1 for version in versions) <= FEW
    assert len({ballot.ballot_of(version) for version in versions}) > 2


def test_no_node_takes_more_operations_of_one_key_than_a_ballot_has_steps_for() -> None:
    """They would wait for a ballot with more, which there is not."""
    [option] = [parameter for parameter in serve.params if parameter.name == "operations_max"]
    most = getattr(option.type, "max", None)
    assert most is not None
    assert 2 * (most + 1) < ballot.STEP_MAX
