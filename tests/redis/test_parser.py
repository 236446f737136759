"""Bytes to commands, however they arrive."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxoskv.redis.parser import Parser, RespError

COMMANDS = st.lists(st.lists(st.binary(max_size=1100), min_size=1, max_size=70), min_size=1, max_size=4)


def encoded(commands: list[list[bytes]]) -> bytes:
    return b"".join(
        b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in command)
        for command in commands
    )


def test_a_command_may_be_cut_at_every_byte() -> None:
    data = encoded([[b"SET", b"k\r\n$3\r\n", b"*1\r\n"], [b"GET", b""]]) + b"PING 'a b'\r\n" + encoded([[b"x" * 2000]])
    whole = Parser(4096).feed(data)
    assert len(whole) == 4
    for cut in range(len(data) + 1):
        parser = Parser(4096)
        assert parser.feed(data[:cut]) + parser.feed(data[cut:]) == whole
    parser = Parser(4096)
    assert [command for at in range(len(data)) for command in parser.feed(data[at : at + 1])] == whole


@given(COMMANDS, st.lists(st.integers(min_value=1, max_value=900), max_size=20))
def test_what_is_encoded_is_parsed(commands: list[list[bytes]], pieces: list[int]) -> None:
    data = encoded(commands)
    parser = Parser(4096)
    found: list[list[bytes]] = []
    for size in [*pieces, len(data)]:
        found += parser.feed(data[:size])
        data = data[size:]
    assert found == commands


@given(st.binary(max_size=300))
def test_any_bytes_are_commands_or_a_refusal(data: bytes) -> None:
    parser = Parser(64)
    said = "Protocol error: "
    try:
        commands = parser.feed(data)
    except RespError as error:
        commands, said = error.commands, str(error)
    assert said.startswith("Protocol error: ")
    assert all(commands)


def test_commands_before_broken_bytes_are_given() -> None:
    with pytest.raises(RespError, match=r"expected '\$', got '\+'") as caught:
        Parser(64).feed(b"PING\r\n*1\r\n+PING\r\n")
    assert caught.value.commands == [[b"PING"]]


def test_a_value_longer_than_allowed_is_refused_before_it_is_read() -> None:
    with pytest.raises(RespError, match="invalid bulk length"):
        Parser(64).feed(b"*1\r\n$65\r\n")


def test_empty_commands_are_passed_over() -> None:
    assert Parser(64).feed(b"*0\r\n\r\n*-1\r\nPING\r\n") == [[b"PING"]]


def test_a_command_of_too_many_bytes_is_refused_though_each_element_is_short() -> None:
    parser = Parser(64, 1000)
    assert parser.feed(b"*1000000\r\n" + b"$3\r\nabc\r\n" * 100) == []
    with pytest.raises(RespError, match="at most 1000 bytes"):
        parser.feed(b"$3\r\nabc\r\n" * 100)


def outcome(parser: Parser, pieces: list[bytes]) -> tuple[list[list[bytes]], str]:
    """The commands in the pieces, and what is said of them."""
    found: list[list[bytes]] = []
    for piece in pieces:
        try:
            found += parser.feed(piece)
        except RespError as error:
            return found + error.commands, str(error)
    return found, ""


PIECES = st.one_of(
    st.lists(st.binary(max_size=20), min_size=1, max_size=4).map(lambda command: encoded([command])),
    st.sampled_from([b"*1\r\n", b"$3\r\n", b"$-1\r\n", b"*0\r\n", b"*-1\r\n", b"PING\r\n", b"\r\n", b"+OK\r\n"]),
    st.sampled_from([b"*2\r\n$1\r\na\r\n", b"*2\r\n$1\r\na\r\n+", b"$3\r\nabc\r\n"]),
    st.sampled_from([b"*1\r\n$4\r\nPIN\r\n\r\n", b"*1\r\n$02\r\nab\r\n", b"*01\r\n", b"*1\r\n$2\r\nabc\n", b"'a b'\n"]),
    st.binary(max_size=5),
)  # fmt: skip


@given(st.lists(PIECES, max_size=8), st.lists(st.integers(0, 120), max_size=5))
def test_the_quick_way_and_the_close_look_agree_wherever_bytes_are_cut(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(bounds)]
    whole = outcome(Parser(1024), [data])
    assert outcome(Parser(1023), [data]) == whole
    assert outcome(Parser(1024), pieces) == whole
