"""What the summary says about availability: the longest time without a success, by fault."""

import time

from paxoskv.verify.availability import availability
from paxoskv.verify.clients import ClientLog
from paxoskv.verify.nemesis import Incident

BEGAN = time.monotonic() - 100


def log(node: int, *successes: float) -> ClientLog:
    return ClientLog(node, list(successes))


def incident(kind: str, node: int, start: float, finish: float | None) -> Incident:
    return Incident(kind, "", (node,), BEGAN + start, None if finish is None else BEGAN + finish)


def test_clients_of_the_node_and_of_others_are_counted_apart() -> None:
    found = availability(
        [incident("kill", 2, 10, 12)],
        [log(1, 9.9, 10.5, 11, 12.5), log(2, 9.9, 13.4), log(3, *[n / 10 for n in range(200)])],
        BEGAN,
    )["kill"]
    assert found.incidents == 1
    # From the fault's beginning, or the last success, to the next one, though the fault had ended by then.
    assert round(found.others_gap_s, 3) == 1.5
    assert round(found.own_gap_s, 3) == 3.4


def test_a_gap_before_the_fault_is_not_its_doing_and_one_after_it_neither() -> None:
    found = availability([incident("pause", 1, 50, 51)], [log(2, 1, 49.9, 50.2, 50.9, 51.1, 80)], BEGAN)["pause"]
    assert round(found.others_gap_s, 3) == 0.7


def test_a_client_that_never_succeeds_again_counts_until_the_end_of_the_fault() -> None:
    found = availability([incident("partition", 1, 10, 14)], [log(1, 9, 10)], BEGAN)["partition"]
    assert round(found.own_gap_s, 3) == 4.0


def test_kinds_are_counted_apart_and_the_longest_gap_stands() -> None:
    found = availability(
        [incident("kill", 1, 10, 11), incident("kill", 1, 20, 21), incident("clock", 2, 30, 31)],
        [log(2, *range(20), 20.1, 23.1, *range(24, 40))],
        BEGAN,
    )
    assert found["kill"].incidents == 2
    assert round(found["kill"].others_gap_s, 3) == 3.0
    assert round(found["clock"].own_gap_s, 3) == 1.0
