"""A trace on its way to the screen: answers say what they answer, disks are followed, and nothing is too much."""

import json
from typing import Any

import pytest

from paxoskv.film import Cut, Reel, make_reel
from paxoskv.film.scenarios import perform
from paxoskv.trace.reading import Event

BEGIN: Event = {"t": 0.0, "e": "begin", "version": 1, "source": "simulation", "mode": "paxos", "nodes": [1, 2, 3]}


def reel(*events: Event, cut: Cut | None = None, **options: Any) -> Reel:
    numbered = [{"t": float(number), **event} for number, event in enumerate(events, 1)]
    return make_reel([BEGIN, *numbered], cut, **options)


def send(number: int, source: int, target: int, **said: Any) -> Event:
    return {"e": "send", "frame": number, "source": source, "target": target, "bytes": 1, "messages": [said]}


def state(node: int, promised: str, accepted: str = "-", value: str | None = None, key: str = "a") -> Event:
    return {"e": "state", "node": node, "key": key, "promised": promised, "accepted": accepted, "value": value}


def journal(node: int, sequence: int) -> Event:
    return {"e": "journal", "node": node, "sequence": sequence, "bytes": 5}


def commit(node: int, sequence: int) -> Event:
    return {"e": "commit", "node": node, "sequence": sequence}


def of(film: Reel, name: str) -> list[list[Any]]:
    return [event[1:] for event in film.events if event[0] == name]


def test_answers_name_what_they_answer() -> None:
    film = reel(
        send(1, 1, 2, kind="Prepare", batch=7, key="a", ballot="1.1"),
        send(2, 1, 3, kind="Prepare", batch=7, key="a", ballot="1.1"),
        send(3, 2, 1, kind="Promised", batch=7, index=0, accepted="-"),
        send(4, 1, 2, kind="Accept", batch=8, key="b", ballot="2.1/1", value="v"),
        send(5, 2, 1, kind="Accepted", batch=8),
        send(6, 1, 2, kind="Read", batch=8, key="c"),
        send(7, 2, 1, kind="Version", batch=8, index=0, accepted="2.1/1"),
    )
    batch = [{"kind": "Prepare", "batch": 7, "key": key, "ballot": "1.1"} for key in ("a", "b")]
    of_two = reel(
        {**send(1, 1, 2), "messages": batch},
        {**send(2, 1, 3), "messages": batch},
        send(3, 2, 1, kind="Promised", batch=7, index=1, accepted="-"),
    )
    assert of_two.messages[-1]["key"] == "b", "the second of the batch"
    answers = [film.messages[event[4][0]] for event in of(film, "send")]
    assert (answers[2]["key"], answers[2]["ballot"]) == ("a", "1.1")
    assert (answers[4]["key"], answers[4]["ballot"]) == ("b", "2.1/1")
    assert answers[6]["key"] == "c", "reads count their batches apart from proposals"


def test_a_state_is_in_memory_first_and_on_disk_with_its_row() -> None:
    film = reel(
        journal(1, 1), state(1, "1.1"), journal(1, 2), state(1, "1.1", "1.1/1", "v"), commit(1, 1), commit(1, 2)
    )
    assert of(film, "state") == [
        [1, "a", "1.1", "-", None, 0],
        [1, "a", "1.1", "1.1/1", "v", 0],
        [1, "a", "1.1", "1.1/1", "v", 1],
    ]
    assert [event[0] for event in film.events][-3:] == ["commit", "commit", "state"], "not with the row before its own"


def test_a_crash_takes_back_what_was_in_memory_only() -> None:
    film = reel(journal(1, 1), state(1, "1.1"), commit(1, 1), journal(1, 2), state(1, "2.2"), {"e": "crash", "node": 1})
    assert of(film, "state")[-1] == [1, "a", "1.1", "-", None, 1]


def test_chosen_is_what_a_majority_of_disks_holds_under_one_ballot() -> None:
    def accepted(node: int, version: str, value: str, row: int) -> list[Event]:
        return [journal(node, row), state(node, version.split("/")[0], version, value)]

    events = [*accepted(1, "1.1/2", "y", 1), *accepted(2, "1.1/1", "x", 1), *accepted(3, "2.3/1", "z", 1)]
    film = reel(*events, commit(1, 1), commit(3, 1))
    assert of(film, "chosen") == [], "two disks, two ballots"
    film = reel(*events, commit(1, 1), commit(2, 1))
    assert of(film, "chosen") == [["a", "1.1/1", "x", [1, 2]]], "whoever accepted step 2 accepted step 1 with it"
    film = reel(*events)
    assert of(film, "chosen") == [], "memory is no disk"


def test_only_what_concerns_a_key_is_left() -> None:
    call = {"e": "call", "call": 1, "client": 1, "node": 1, "kind": "get", "argument": None, "condition": None}
    film = reel(
        {**call, "key": "a"},
        {**call, "call": 2, "key": "b"},
        send(1, 1, 2, kind="Read", batch=1, key="b"),
        send(2, 1, 2, kind="Read", batch=2, key="a"),
        {"e": "receive", "frame": 1, "source": 1, "target": 2},
        {"e": "receive", "frame": 2, "source": 1, "target": 2},
        state(1, "1.1", key="b"),
        {"e": "return", "call": 2, "outcome": "ok"},
        {"e": "crash", "node": 3},
        cut=Cut(keys=frozenset({"a"})),
    )
    assert [event[0] for event in film.events] == ["call", "send", "receive", "crash"]
    assert film.to_json()["keys"] == ["a"]


def test_a_cut_begins_with_what_there_was_then() -> None:
    film = reel(state(1, "1.1"), state(2, "1.1"), state(1, "2.2"), {"e": "crash", "node": 3}, cut=Cut(3.5, 9.0))
    assert of(film, "state") == [[1, "a", "2.2", "-", None, 1], [2, "a", "1.1", "-", None, 1]]
    assert of(film, "crash") == [[3]]
    assert film.times == [0.5] * 3
    assert film.origin == 3.5
    assert reel(state(1, "1.1"), cut=Cut(2.0, 3.0)).events == [], "nothing happens after its begin"


def test_of_a_huge_trace_the_beginning_is_shown_and_the_rest_is_named() -> None:
    film = reel(*[{"e": "crash", "node": 1}] * 50, events_max=20)
    assert len(film.events) == 20
    assert "20 events" in film.left_out
    assert "30 of the trace's 50" in film.left_out
    assert "--from" in film.left_out
    assert not reel(*[{"e": "crash", "node": 1}] * 20, events_max=20).left_out, "all of it is there"


def test_what_must_not_happen_is_in_every_film() -> None:
    crashes: list[Event] = [{"e": "crash", "node": 1}] * 50
    film = reel(*crashes, {"e": "failure", "kind": "illegal", "message": "two values"}, events_max=20)
    assert film.events[-1] == ["failure", "illegal", "two values", []]
    assert film.times[-1] == 51.0


def test_long_values_are_cut() -> None:
    film = reel(state(1, "1.1", "1.1/1", "x" * 100_000))
    assert len(json.dumps(film.to_json())) < 2000
    assert "100,000 characters" in of(film, "state")[0][4]


@pytest.mark.parametrize("mode", ["paxos", "raft"])
def test_a_film_holds_every_frame_and_call_of_its_trace(mode: str) -> None:
    events = perform("takeover", mode)
    film = make_reel(events)
    for name in ("send", "receive", "drop", "call", "return", "commit"):
        assert len(of(film, name)) == sum(event["e"] == name for event in events), name
    assert film.times == sorted(film.times)
