"""Patterns for keys, against a matcher that tries everything; and those that would keep it trying for ever."""

from hypothesis import given
from hypothesis import strategies as st

from paxoskv.redis.commands.globs import matcher


def matches(pattern: bytes, key: bytes) -> bool:
    """The definition, of stars and question marks."""
    if not pattern:
        return not key
    if pattern[:1] == b"*":
        return any(matches(pattern[1:], key[start:]) for start in range(len(key) + 1))
    return key != b"" and pattern[:1] in (b"?", key[:1]) and matches(pattern[1:], key[1:])


def some(letters: bytes) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(letters), max_size=10).map(bytes)


@given(members=some(b"abc-^"), key=some(b"abcd-^"))
def test_a_class_is_the_bytes_that_it_names(members: bytes, key: bytes) -> None:
    negated, named = members[:1] == b"^", members.removeprefix(b"^")
    allowed: set[int] = set()
    while named:
        if named[1:2] == b"-":
            # Where nothing follows, Redis takes the bracket for the end of the range, and closes the class there.
            end = named[2] if len(named) > 2 else ord("]")
            allowed.update(range(min(named[0], end), max(named[0], end) + 1))
            named = named[3:]
        else:
            allowed.add(named[0])
            named = named[1:]
    assert matcher(b"[" + members + b"]", 10)(key) is (len(key) == 1 and (key[0] in allowed) is not negated)


@given(pattern=some(b"ab*?"), key=some(b"ab"))
def test_a_key_matches_as_the_definition_has_it(pattern: bytes, key: bytes) -> None:
    assert matcher(pattern, 10)(key) is matches(pattern, key)


def test_no_pattern_keeps_a_node_busy() -> None:
    """Trying each way to place the stars would take longer than the sun will shine."""
    nested = matcher(b"a*" * 500 + b"b", 1024)
    assert not nested(b"a" * 1024)
    assert nested(b"a" * 1023 + b"b")
    assert not matcher(b"*a" * 512 + b"[bc]*?b", 1024)(b"a" * 1000)
    # Of so many parts each takes a byte of the key, so there is no need to look at them.
    assert not matcher(b"*?" * 32_768, 1024)(b"a" * 1024)


def test_as_many_parts_as_a_key_has_bytes_are_matched() -> None:
    assert matcher(b"*?" * 1024, 1024)(b"a" * 1024)
    assert not matcher(b"*?" * 1024, 1024)(b"a" * 1023)
