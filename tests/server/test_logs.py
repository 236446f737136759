"""One line for each event, whatever is in it."""

import re
import shlex

import pytest

from paxoskv.server.logs import LEVELS, NodeLog

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def number() -> int:
    """A node whose log nobody has used: loggers live as long as the process."""
    return NUMBERS.pop()


NUMBERS = list(range(1000, 1100))


def test_a_line_is_time_level_and_pairs(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    NodeLog(number, "info").info("peer connected", peer=3, start_s=0.12345, data="/var/lib/x")
    line = capsys.readouterr().err
    assert re.fullmatch(
        rf'{STAMP} info node={number} event="peer connected" peer=3 start_s=0\.123 data=/var/lib/x\n', line
    )


def test_every_level_has_its_word_and_lower_ones_are_left_out(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    log = NodeLog(number, "warning")
    for level in LEVELS:
        getattr(log, level)("event")
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["warning", "error"]


@pytest.mark.parametrize("text", ["two\nlines", "tab\there", 'a "quote"', "\x1b[31mred", "\u2028", "", "a=b c", "ü"])
def test_what_strangers_send_stays_on_its_line_and_in_its_quotes(
    number: int, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    NodeLog(number, "info").warning("client closed", reason=text, after="all")
    output = capsys.readouterr().err
    assert output.count("\n") == 1
    assert len(output.splitlines()) == 1
    assert output[:-1].isprintable()
    assert len(shlex.split(output)) == 6


def test_a_line_stays_one_that_can_be_read(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    NodeLog(number, "info").warning("client closed", reason="x" * 3_000_000)
    assert len(capsys.readouterr().err) < 1200


def test_a_second_log_of_the_same_node_does_not_write_twice(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    NodeLog(number, "info")
    NodeLog(number, "info").info("once")
    assert capsys.readouterr().err.count("once") == 1
