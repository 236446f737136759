"""The five stories: the same every time, with the end that their texts promise."""

import json

import pytest

from paxoskv.film.scenarios import SCENARIOS, perform
from paxoskv.trace.reading import Event

MODES = ("paxos", "raft")
ALL = [(name, mode) for name in SCENARIOS for mode in MODES]


def answers(events: list[Event]) -> list[tuple[str, object, str, object]]:
    """(kind, argument, outcome, value) of every call, in the order of the answers."""
    calls = {event["call"]: event for event in events if event["e"] == "call"}
    return [
        (calls[event["call"]]["kind"], calls[event["call"]]["argument"], event["outcome"], event["value"])
        for event in events
        if event["e"] == "return"
    ]


@pytest.mark.parametrize(("name", "mode"), ALL)
def test_a_scenario_happens_the_same_way_every_time(name: str, mode: str) -> None:
    first = perform(name, mode)
    assert json.dumps(perform(name, mode)) == json.dumps(first)
    begin = first[0]
    assert begin["title"] == SCENARIOS[name].title
    assert begin["text"] == SCENARIOS[name].texts[mode]
    assert not [event for event in first if event["e"] == "failure"]
    assert 50 < len(first) < 400, "as long as one wants to watch"
    received = {event["frame"] for event in first if event["e"] in ("receive", "drop")}
    assert received <= {event["frame"] for event in first if event["e"] == "send"}, "no frame comes from nowhere"


@pytest.mark.parametrize("mode", MODES)
def test_both_duellists_win_one_after_the_other(mode: str) -> None:
    events = perform("duel", mode)
    assert [each[2] for each in answers(events)] == ["ok"] * 3
    last_write = answers(events)[1][1]
    assert answers(events)[2][3] == last_write
    if mode == "paxos":
        kinds = {said["kind"] for event in events if event["e"] == "send" for said in event["messages"]}
        assert {"Prepare", "Refused", "Relay", "RelayAnswer"} <= kinds


@pytest.mark.parametrize("mode", MODES)
def test_a_half_done_write_is_finished_by_who_comes_next(mode: str) -> None:
    events = perform("takeover", mode)
    assert answers(events) == [
        ("put", "tea", "ok", None),
        ("put", "cocoa", "unknown", None),
        ("get", None, "ok", "cocoa"),
        ("put", "coffee", "ok", None),
        ("get", None, "ok", "coffee"),
    ]
    assert sum(event["e"] == "crash" for event in events) == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_minority_waits_and_the_majority_goes_on(mode: str) -> None:
    events = perform("minority", mode)
    healed = next(event["t"] for event in events if event["e"] == "heal")
    ends = {event["call"]: event for event in events if event["e"] == "return"}
    calls = {event["argument"]: event for event in events if event["e"] == "call"}
    lonely, other = ends[calls["water"]["call"]], ends[calls["coffee"]["call"]]
    assert other["t"] < healed < lonely["t"]
    assert lonely["outcome"] == other["outcome"] == "ok"


@pytest.mark.parametrize("mode", MODES)
def test_a_write_whose_acknowledgements_were_lost_counts_once(mode: str) -> None:
    events = perform("lost-ack", mode)
    assert [event["reason"] for event in events if event["e"] == "drop"] == ["lost", "lost"]
    assert answers(events)[-1] == ("get", None, "ok", "2")


@pytest.mark.parametrize("mode", MODES)
def test_a_hot_key_takes_fewer_proposals_than_clients(mode: str) -> None:
    events = perform("hot-key", mode)
    assert answers(events)[-1] == ("get", None, "ok", "12")
    results = [value for kind, _, _, value in answers(events) if kind == "incr"]
    assert sorted(results, key=int) == list(range(1, 13))  # type: ignore[arg-type]
    kind, field = ("Append", "entries") if mode == "raft" else ("Accept", "value")
    proposals = {
        json.dumps(said)
        for event in events
        if event["e"] == "send"
        for said in event["messages"]
        if said["kind"] == kind and said[field]
    }
    assert len(proposals) < 12
