"""One line for each event, whatever is in it."""

import concurrent.futures
import os
import re
import shlex
import sys
from collections.abc import Callable

import pytest

from paxoskv.server.logs import LEVELS, NodeLog

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def said(capfd: pytest.CaptureFixture[str], say: Callable[[NodeLog], None], level: str = "info") -> str:
    log = NodeLog(7, level)
    say(log)
    assert log.flush(60)
    return capfd.readouterr().err


def test_a_line_is_time_level_and_pairs(capfd: pytest.CaptureFixture[str]) -> None:
    line = said(capfd, lambda log: log.info("peer connected", peer=3, start_s=0.12345, data="/var/lib/x"))
    assert re.fullmatch(rf'{STAMP} info node=7 event="peer connected" peer=3 start_s=0\.123 data=/var/lib/x\n', line)


def test_every_level_has_its_word_and_lower_ones_are_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    def say(log: NodeLog) -> None:
        for level in LEVELS:
            getattr(log, level)("event")

    assert [line.split()[1] for line in said(capfd, say, "warning").splitlines()] == ["warning", "error"]


@pytest.mark.parametrize("text", ["two\nlines", "tab\there", 'a "quote"', "\x1b[31mred", "\u2028", "", "a=b c", "ü"])
def test_what_strangers_send_stays_on_its_line_and_in_its_quotes(capfd: pytest.CaptureFixture[str], text: str) -> None:
    output = said(capfd, lambda log: log.warning("client closed", reason=text, after="all"))
    assert output.count("\n") == 1
    assert len(output.splitlines()) == 1
    assert output[:-1].isprintable()
    assert len(shlex.split(output)) == 6


def test_a_line_stays_one_that_can_be_read(capfd: pytest.CaptureFixture[str]) -> None:
    assert len(said(capfd, lambda log: log.warning("client closed", reason="x" * 3_000_000))) < 1200


def test_a_traceback_has_its_lines(capfd: pytest.CaptureFixture[str]) -> None:
    output = said(capfd, lambda log: log.traceback(ValueError("how it came")))
    assert output.endswith("ValueError: how it came\n")


def test_a_log_that_nobody_reads_holds_nobody_up_and_says_later_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a full pipe behind standard error a node stood still, and so did all its clients."""
    reads, writes = os.pipe()
    with os.fdopen(writes, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        log = NodeLog(7, "info")
        text = "x" * 900
        for number in range(3000):
            log.info("event", number=number, text=text)
        assert not log.flush(0)
        with os.fdopen(reads, "rb") as end, concurrent.futures.ThreadPoolExecutor() as pool:
            reading = pool.submit(end.read)
            assert log.flush(60)
            stream.close()
            read = reading.result()
    lines = read.decode().splitlines()
    told = [int(line.split("number=")[1].split()[0]) for line in lines if "number=" in line]
    lost = sum([int(line.split("lines_lost=")[1]) for line in lines if "lines_lost=" in line])
    assert told == sorted(set(told))
    assert told[:1000] == list(range(1000))
    assert len(told) + lost == 3000
    # Some wait in the pipe.
    assert 1000 <= len(told) < 1100
