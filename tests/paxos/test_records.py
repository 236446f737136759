"""Memory: what stays, what leaves, and what a record costs."""

import gc
import tracemalloc

import pytest

from paxoskv.core.cache import DIRTY
from paxoskv.paxos import register
from paxoskv.paxos.records import RECORD_BYTES, Record, Records

VALUE_BYTES = 64


def encoded() -> bytes:
    made = register.Register()
    made.value = bytes(VALUE_BYTES)
    made.lineage = {1: (1 << 40, 1 << 40), 2: (2 << 40, 2 << 40)}
    return register.encode(made)


COST = RECORD_BYTES + len(b"key000000") + len(encoded())


def filled(cache_bytes: int, count: int) -> Records:
    records = Records(cache_bytes)
    for number in range(count):
        record = Record(b"key%06d" % number)
        record.register = encoded()
        records.admit(record.key, record.to_blob())
    return records


def test_a_blob_is_read_back() -> None:
    record = Record(b"k")
    record.promised, record.accepted = 5, 7
    again = Record.from_blob(b"k", record.to_blob())
    assert (again.promised, again.accepted, again.register) == (5, 7, b"")


@pytest.mark.parametrize("blob", [b"", b"123", bytes(15), bytes(16) + b"\x05"])
def test_a_damaged_blob_is_refused(blob: bytes) -> None:
    with pytest.raises(ValueError, match=r"damaged|register"):
        Record.from_blob(b"k", blob)


def test_eviction_keeps_what_is_changed_or_in_use_and_ends_within_the_bound() -> None:
    records = filled(50 * COST, 100)
    dirty = records.resident[b"key000001"]
    dirty.state = DIRTY
    busy = records.resident[b"key000002"]
    busy.busy = True
    for _ in range(3):
        records.evict(1000)
    assert records.bytes <= records.cache_bytes
    assert records.resident[b"key000001"] is dirty
    assert records.resident[b"key000002"] is busy
    assert not records.complete


def test_a_record_that_was_used_gets_a_second_chance() -> None:
    records = filled(10 * COST, 10)
    records.evict(100)
    for record in records.resident.values():
        record.used = False
    records.resident[b"key000000"].used = True
    records.cache_bytes = 9 * COST
    records.evict(100)
    assert b"key000000" in records.resident


def test_a_checkpoint_writes_each_changed_record_once_and_what_changes_meanwhile_again() -> None:
    records = filled(1 << 20, 5)
    for record in records.resident.values():
        record.state = DIRTY
        records.dirty[record.key] = record
    assert records.begin_checkpoint() == 5
    first = records.checkpoint_slice(2, 1 << 20)
    assert [key for key, _ in first] == [b"key000000", b"key000001"]
    again = records.resident[b"key000000"]
    again.state = DIRTY
    records.dirty[again.key] = again
    records.folded([key for key, _ in first])
    rest = records.checkpoint_slice(10, 1 << 20)
    records.folded([key for key, _ in rest])
    assert len(rest) == 3
    assert list(records.dirty) == [b"key000000"]


def test_a_cached_key_costs_what_it_is_counted_at() -> None:
    """Under 450 bytes over key and value, as docs/operating.md says, and no more than the bound counts."""
    count = 20_000
    filled(1 << 30, 100)
    gc.collect()
    tracemalloc.start()
    try:
        records = filled(1 << 30, count)
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    over = used / count - len(b"key000000") - VALUE_BYTES
    assert over < 450
    assert used <= records.bytes * 1.1
