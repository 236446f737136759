"""The parts that scans are made of."""

from hypothesis import given
from hypothesis import strategies as st

from paxoskv.core import operations
from paxoskv.core.operations import Operation, Result
from paxoskv.core.scan import Assembly, Inner, KeyOrder, ScanOperation, after, prefix_end

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
