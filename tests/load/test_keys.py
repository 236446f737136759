"""Which keys a load is about."""

import random
from collections import Counter

import pytest

from paxoskv.load.keys import Keys
from paxoskv.load.plan import Plan


def keys(distribution: str, part: int = 0) -> Keys:
    plan = Plan([], keys=100, distribution=distribution, seed=part, part=part, parts=2)
    return Keys(plan, random.Random(part), 3)


def favourites(drawn: Keys) -> list[int]:
    return [index for index, _ in Counter(drawn.draw() for _ in range(20_000)).most_common(3)]


def test_every_process_of_a_load_has_the_same_hot_keys() -> None:
    assert favourites(keys("zipf", 0)) == favourites(keys("zipf", 1))


def test_the_newest_keys_are_the_hot_ones() -> None:
    drawn = keys("latest")
    assert favourites(drawn) == [99, 98, 97]
    newest = drawn.insert()
    assert favourites(drawn) == [newest, 99, 98]


def test_processes_divide_keys_in_sequence_and_new_ones() -> None:
    first, second = keys("sequential", 0), keys("sequential", 1)
    assert [first.draw() for _ in range(50)] == list(range(0, 100, 2))
    assert [second.draw() for _ in range(50)] == list(range(1, 100, 2))
    assert [first.names[first.insert()], second.names[second.insert()]] == [b"bench/100", b"bench/101"]


@pytest.mark.parametrize("distribution", ["uniform", "zipf"])
def test_every_key_is_drawn(distribution: str) -> None:
    drawn = keys(distribution)
    assert {drawn.draw() for _ in range(20_000)} == set(range(100))
