"""What is no trace is refused with its line and what was expected there."""

from pathlib import Path

import pytest

from paxoskv.trace import reading
from paxoskv.trace.reading import NotATrace

BEGIN = '{"t":0,"e":"begin","version":1,"source":"simulation","mode":"paxos","nodes":[1,2,3]}\n'
START = '{"t":0.5,"e":"start","node":1,"incarnation":1}\n'


def read(text: str) -> list[reading.Event]:
    return list(reading.parse(text.splitlines(keepends=True), "here"))


def refusal(text: str) -> str:
    with pytest.raises(NotATrace) as caught:
        read(text)
    return str(caught.value)


def test_events_come_in_order_and_unknown_ones_are_left_alone() -> None:
    events = read(BEGIN + '{"t":0.1,"e":"sneeze","node":1}\n\n' + START)
    assert [event["e"] for event in events] == ["begin", "start"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["here is empty", '"e":"begin"']),
        ("\n\n", ["here is empty"]),
        ("root:x:0:0\n", ["line 1", "expected one JSON object, found root:x:0:0", "paxoskv simulate --trace"]),
        ("[1,2]\n", ["line 1", "expected one JSON object, found [1, 2]"]),
        (START, ["line 1", '"e":"begin"']),
        ('{"process": 1, "type": "invoke"}\n', ["line 1", '"e":"begin"', "paxoskv simulate --trace"]),
        (BEGIN + "x" * 500 + "\n" + START, ["line 2", "expected one JSON object, found xxx", "..."]),
        (BEGIN + '{"t":1}\n', ["line 2", 'expected an event, with "e"']),
        (BEGIN + '{"t":"now","e":"start"}\n', ["line 2", '"t", the time in seconds']),
        (BEGIN + '{"t":1,"e":"start","node":true,"incarnation":1}\n', ["'node' of 'start'", "a whole number", "true"]),
        (BEGIN + '{"t":1,"e":"start","node":1}\n', ["'incarnation' of 'start'", "found nothing"]),
        (BEGIN + '{"t":NaN,"e":"start"}\n' + START, ["line 2", "expected one JSON object"]),
        (BEGIN + "[" * 100_000 + "\n" + START, ["line 2", "expected one JSON object"]),
        (BEGIN.replace("[1,2,3]", "[]"), ["line 1", "'nodes' of 'begin'", "found []"]),
        (BEGIN.replace("[1,2,3]", '["a"]'), ["line 1", "'nodes' of 'begin'", '["a"]']),
        (BEGIN.replace('"version":1', '"version":7'), ["line 1", "version 7", "reads version 1"]),
    ],
)
def test_what_cannot_be_read_is_named(text: str, words: list[str]) -> None:
    sentence = refusal(text)
    for word in words:
        assert word in sentence
    assert len(sentence) < 400


def test_a_line_that_its_writer_could_not_finish_ends_the_trace() -> None:
    """Its process was killed in the middle of it."""
    assert [event["e"] for event in read(BEGIN + START + START[:20])] == ["begin", "start"]
    # A line in the middle is another matter.
    assert "line 2" in refusal(BEGIN + START[:20] + "\n" + START)


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.jsonl", "there is no file"), (tmp_path, "is a folder")):
        with pytest.raises(NotATrace, match=words):
            list(reading.read(path))


def test_progress_is_told_of_long_files() -> None:
    told: list[int] = []
    list(reading.parse([BEGIN, *[START] * 25_000], "here", told.append))
    assert told == [10_000, 20_000]
