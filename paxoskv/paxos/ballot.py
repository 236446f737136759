"""Ballots and versions, packed into integers that compare as the tuples do.

A ballot is (round, node) in 43 bits, a version is (round, node, step) in 63: 35 bits of round, 8 of node, 20 of
step. Packed, because they are compared and stored for every key of every message, and CPython compares two
integers several times faster than two tuples. 0 is "none" for both; step 0 is never proposed.
"""

from typing import Final

NODE_BITS: Final = 8
STEP_BITS: Final = 20
NODE_MAX: Final = 2**NODE_BITS - 1
STEP_MAX: Final = 2**STEP_BITS - 1
ROUND_MAX: Final = 2**35 - 1
"""No higher one is proposed, nor taken from a peer. A key that nodes take from each other a thousand times a second has
rounds for a year; then it can be taken no more, and its writes fail."""
BALLOT_MAX: Final = 2**43 - 1
VERSION_MAX: Final = 2**63 - 1


def make_ballot(round_: int, node: int) -> int:
    """The ballot (round, node)."""
    assert 0 < round_ <= ROUND_MAX
    assert 0 < node <= NODE_MAX
    return round_ << NODE_BITS | node


def initial_ballot(node: int) -> int:
    """The ballot (0, node), lower than any that `make_ballot` makes."""
    assert 0 < node <= NODE_MAX
    return node


def round_of(ballot: int) -> int:
    """A ballot's round."""
    return ballot >> NODE_BITS


def node_of(ballot: int) -> int:
    """The node that a ballot belongs to, 0 for none."""
    return ballot & NODE_MAX


def ballot_of(version: int) -> int:
    """The ballot that a version belongs to."""
    return version >> STEP_BITS


def show_ballot(ballot: int) -> str:
    """`3.1` for round 3 of node 1, `-` for none."""
    return f"{round_of(ballot)}.{node_of(ballot)}" if ballot else "-"


def show_version(version: int) -> str:
    """`3.1/2` for step 2 of that ballot, `-` for none."""
    return f"{show_ballot(ballot_of(version))}/{version & STEP_MAX}" if version else "-"
