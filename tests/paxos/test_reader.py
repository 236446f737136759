"""Reads, where they end in no answer."""

from harness.cluster import Cluster

from paxoskv.core import errors, operations
from paxoskv.core.operations import Operation


def test_a_read_without_a_deadline_outlives_the_ones_it_shares_a_batch_with() -> None:
    cluster = Cluster(watched=True)
    cluster.settle()
    cluster.crash(2)
    cluster.crash(3)
    hasty = Operation(operations.GET, b"k", deadline=cluster.now + 0.5)
    patient = Operation(operations.GET, b"k")
    cluster.submit(1, hasty, patient)
    cluster.settle(2)
    result = cluster.result(hasty)
    assert result is not None
    assert result.status == errors.Unavailable.status
    assert cluster.result(patient) is None
    cluster.restart(2)
    cluster.settle()
    assert cluster.result(patient) is not None
