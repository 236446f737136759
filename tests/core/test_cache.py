"""A checkpoint of many records goes by steps, none of which holds a node up."""

import math
import random

import pytest

from paxoskv.core.cache import BLANK, CLEAN, ORDER_KEYS, RecordCache

KEYS = 10 * ORDER_KEYS + 17
SLICE = 256


class CountedKey(bytes):
    """A key that counts how often it was compared: the work of sorting, whatever the machine."""

    comparisons = 0

    def __lt__(self, other: bytes) -> bool:
        CountedKey.comparisons += 1
        return bytes.__lt__(self, other)

    def __eq__(self, other: object) -> bool:
        CountedKey.comparisons += 1
        return bytes.__eq__(self, other)

    __hash__ = bytes.__hash__


class OneRecord:
    """As little as a record can be."""

    busy = False
    cached_bytes = 1

    def __init__(self, key: bytes, state: int = CLEAN) -> None:
        self.key = key
        self.state = state
        self.used = False

    def to_blob(self) -> bytes:
        return b"blob of " + self.key


def changed(count: int) -> RecordCache[OneRecord]:
    """So many changed records, in no order."""
    cache: RecordCache[OneRecord] = RecordCache(1 << 30)
    for number in random.Random(1).sample(range(count), count):
        cache.soil(cache.add(OneRecord(CountedKey(b"%08d" % number))))
    return cache


def test_no_step_of_a_checkpoint_sorts_more_than_a_bounded_number_of_keys() -> None:
    """Sorting 300,000 changed keys at once, as was done, held a node up for 0.2 s."""
    cache = changed(KEYS)
    work: list[int] = []

    def note() -> None:
        work.append(CountedKey.comparisons)
        CountedKey.comparisons = 0

    CountedKey.comparisons = 0
    assert cache.begin_checkpoint() == KEYS
    note()
    while cache.order_checkpoint():
        note()
    note()
    while cache.checkpoint_slice(SLICE, 1 << 30):
        note()
    runs = math.ceil(KEYS / ORDER_KEYS)
    # A run is sorted with at most n log n comparisons. Each key of a slice is compared, twice, with the tops of the
    # heap of all runs on one way through it.
    assert max(work) <= max(ORDER_KEYS * math.log2(ORDER_KEYS), 4 * SLICE * (math.log2(runs) + 1) + runs)
    assert len(work) > runs


@pytest.mark.parametrize("ordered", [True, False], ids=["in steps", "at once"])
@pytest.mark.parametrize("count", [0, 1, ORDER_KEYS, ORDER_KEYS + 1, KEYS])
def test_a_checkpoint_writes_its_records_in_the_order_of_their_keys(count: int, ordered: bool) -> None:
    cache = changed(count)
    assert cache.begin_checkpoint() == count
    while ordered and cache.order_checkpoint():
        # Those belong to the next one.
        cache.soil(cache.add(OneRecord(b"new %d" % len(cache.resident))))
    written: list[bytes] = []
    while records := cache.checkpoint_slice(SLICE, 1 << 30):
        assert len(records) <= SLICE
        written += [key for key, _ in records]
        cache.folded([key for key, _ in records])
    assert written == [b"%08d" % number for number in range(count)]
    assert all(key.startswith(b"new ") for key in cache.dirty)


def test_blank_records_are_counted_until_they_change_or_leave() -> None:
    cache: RecordCache[OneRecord] = RecordCache(cache_bytes=2)
    blank = [cache.add(OneRecord(b"%d" % number, BLANK)) for number in range(4)]
    cache.add(OneRecord(b"clean"))
    assert cache.blank == 4
    cache.soil(blank[0])
    cache.soil(blank[0])
    assert cache.blank == 3
    cache.evict(sweep_max=100)
    # What is dirty stays.
    assert (len(cache.resident), cache.blank) == (2, 0)
