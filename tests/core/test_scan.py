"""The parts that scans are made of."""

from hypothesis import given
from hypothesis import strategies as st

from paxoskv.core import operations
from paxoskv.core.engine import Scan
from paxoskv.core.operations import Operation, Result
from paxoskv.core.scan import Assembly, Inner, KeyOrder, LocalPages, ScanOperation, after, prefix_end
from paxoskv.paxos.records import Record, Records

keys = st.binary(min_size=1, max_size=3)


@given(st.lists(keys), st.lists(keys), keys, st.none() | keys, st.integers(1, 5))
def test_an_order_answers_what_sorting_everything_would(
    first: list[bytes], later: list[bytes], start: bytes, end: bytes | None, count: int
) -> None:
    order = KeyOrder(first)
    for key in later[::2]:
        order.add(key)
    while not order.advance():
        pass
    known = {*first, *later[::2]}
    for more in (later[1::2], []):
        expected = sorted(key for key in known if key >= start and (end is None or key < end))[:count]
        assert order.first(start, end, count) == expected
        for key in more:
            order.add(key)
            known.add(key)


def test_a_large_order_is_sorted_in_several_turns() -> None:
    names = [b"%06d" % (number * 7919 % 50_000) for number in range(50_000)]
    order = KeyOrder(names)
    turns = 1
    while not order.advance():
        turns += 1
    assert turns > 3
    assert order.first(b"0", None, 60_000) == sorted(names)


@given(st.binary(max_size=3), st.binary(max_size=4))
def test_a_prefix_ends_where_the_first_key_beyond_it_is(prefix: bytes, key: bytes) -> None:
    end = prefix_end(prefix)
    inside = key >= prefix and (end is None or key < end)
    assert inside == key.startswith(prefix)


@given(keys, keys)
def test_nothing_is_between_a_key_and_the_one_after_it(key: bytes, other: bytes) -> None:
    assert (other > key) == (other >= after(key))


def test_a_page_ends_once_it_is_full_and_says_where_the_next_one_begins() -> None:
    """Of what was known, and of what had to be read: nobody knew beforehand how large that is."""
    answered: list[Result] = []
    asked: list[Operation] = []
    operation = ScanOperation(b"", None)
    large = bytes(100)
    keys = [(b"a", (large, 1, 0)), (b"b", None), (b"c", (large, 1, 0)), (b"d", (large, 1, 0))]
    assembly = Assembly(operation, keys, None, 250, asked.append, lambda _, result: answered.append(result))
    assembly.advance()
    [get] = asked
    assert isinstance(get.reply, Inner)
    get.reply.answered(get, Result(operations.OK, large, 1))
    assert [result.status for result in answered] == [operations.OK]
    assert [item.key for item in operation.items] == [b"a", b"b", b"c"]
    assert operation.following == b"d"


def test_the_order_does_not_grow_for_ever_where_somebody_always_scans() -> None:
    """It was made anew only at a moment at which no page was under way."""
    records = Records(1 << 20)
    asked: list[Scan] = []
    before: list[Scan] = []
    pages = LocalPages(records, asked.append)
    found = 0

    def note(keys: list[bytes], blobs: dict[bytes, bytes], following: bytes | None) -> None:
        nonlocal found
        found += 1

    for number in range(3000):
        pages.page(b"", None, note, number * 0.001)
        for new in range(20):
            records.soil(records.add(Record(b"%08d" % (number * 20 + new))))
        if number % 50 == 0:
            records.begin_checkpoint()
            while records.order_checkpoint():
                pass
            while saved := records.checkpoint_slice(1024, 1 << 18):
                records.folded([key for key, _ in saved])
        # What was asked in the round before: whenever a page begins, another one is under way.
        for scan in before:
            pages.scanned(scan.number, [], b"\0")
        while pages.busy:
            pages.advance()
        before, asked[:] = asked[:], []
    assert found > 2500
    assert records.order is not None
    assert records.order.size < 40_000


def test_pages_of_a_disk_that_hangs_do_not_pile_up() -> None:
    asked: list[Scan] = []
    pages = LocalPages(Records(1 << 20), asked.append)
    for _ in range(10_000):
        pages.page(b"", None, lambda *_: None, 1.0)
    assert len(asked) <= 1024


def finds(pages: LocalPages, asked: list[Scan], now: float) -> list[bytes]:
    """What a page has of a storage that has nothing."""
    found: list[bytes] = []
    pages.page(b"", None, lambda keys, *_: found.extend(keys), now)
    pages.scanned(asked.pop().number, [], None)
    for _ in range(3):
        pages.advance()
    return found


def test_the_order_is_forgotten_a_minute_after_the_last_scan() -> None:
    """Every write of a node that was scanned once would go on being noted in it."""
    records = Records(1 << 20)
    asked: list[Scan] = []
    pages = LocalPages(records, asked.append)
    records.soil(records.add(Record(b"a")))
    for begin in (100.0, 150.0):
        assert finds(pages, asked, begin) == [b"a"]
        pages.tick(begin + 59.0)
        assert records.order is not None
    pages.tick(211.0)
    assert records.order is None
    records.soil(records.add(Record(b"b")))
    assert finds(pages, asked, 300.0) == [b"a", b"b"]


def test_the_order_is_not_forgotten_under_a_page_that_needs_it() -> None:
    """A disk that takes a minute is asked all the same, and a page that it has answered is not made at once."""
    records = Records(1 << 20)
    asked: list[Scan] = []
    pages = LocalPages(records, asked.append)
    records.soil(records.add(Record(b"a")))
    found: list[bytes] = []
    pages.page(b"", None, lambda keys, *_: found.extend(keys), 100.0)
    pages.tick(200.0)
    pages.scanned(asked.pop().number, [], None)
    pages.tick(300.0)
    for _ in range(3):
        pages.advance()
        pages.tick(400.0)
    assert found == [b"a"]
    assert records.order is None


def test_a_key_that_is_written_again_and_again_is_kept_once() -> None:
    """While pages overlap, an order lives on; it grew with every write."""
    order = KeyOrder([b"b"])
    while not order.advance():
        pass
    for _ in range(1000):
        for key in (b"a", b"c"):
            order.add(key)
        assert order.first(b"", None, 10) == [b"a", b"b", b"c"]
    assert order.size == 3
