"""The traces of live nodes as one."""

from typing import Any

from paxoskv.trace import merging
from paxoskv.trace.reading import Event


def life(node: int, *events: Event, incarnation: int = 1, **begin: Any) -> list[Event]:
    head = {"e": "begin", "version": 1, "source": "live", "mode": "paxos", "nodes": [1, 2, 3], "cluster": "c"}
    first = {"t": events[0]["t"] if events else 0.0, **head, "node": node, "incarnation": incarnation, "machine": "m"}
    return [first | begin, *events]


def frame(time: float, event: str, name: str, source: int = 1, target: int = 2) -> Event:
    more: Event = {"bytes": 9, "messages": []} if event == "send" else {}
    return {"t": time, "e": event, "frame": name, "source": source, "target": target, **more}


def told(events: list[Event]) -> list[tuple[str, int]]:
    return [(event["e"], event["frame"]) for event in events if "frame" in event]


def test_events_are_put_in_one_order_that_begins_at_zero() -> None:
    one = life(1, {"t": 100.0, "e": "start", "node": 1, "incarnation": 1}, {"t": 100.3, "e": "commit", "node": 1})
    two = life(2, {"t": 100.1, "e": "start", "node": 2, "incarnation": 1})
    merged = merging.merge([one, two])
    assert merged[0]["e"] == "begin"
    assert merged[0]["nodes"] == [1, 2, 3]
    assert [(event["t"], event["node"]) for event in merged[1:]] == [(0.0, 1), (0.1, 2), (0.3, 1)]


def test_what_arrives_finds_what_left_first_among_equals() -> None:
    sender = life(1, frame(1.0, "send", "x"), frame(1.1, "send", "x"), frame(1.2, "send", "y"))
    receiver = life(2, frame(1.5, "receive", "x"), frame(1.6, "receive", "y"), frame(1.7, "receive", "x"))
    assert told(merging.merge([sender, receiver])) == [
        ("send", 1),
        ("send", 2),
        ("send", 3),
        ("receive", 1),
        ("receive", 3),
        ("receive", 2),
    ]


def test_what_nobody_received_was_lost_and_what_its_node_dropped_was_dropped() -> None:
    sender = life(
        1,
        frame(1.0, "send", "x"),
        frame(1.1, "send", "x"),
        {**frame(1.1, "drop", "x"), "reason": "down"},
        frame(1.2, "send", "z"),
    )
    receiver = life(2, frame(1.5, "receive", "x"))
    merged = merging.merge([sender, receiver])
    assert told(merged)[:3] == [("send", 1), ("send", 2), ("drop", 2)]
    assert ("receive", 1) in told(merged)
    (lost,) = [event for event in merged if event["e"] == "drop" and event["frame"] == 3]
    assert lost["reason"] == "lost"


def test_clocks_of_two_machines_are_compared_by_their_wall_clocks() -> None:
    """And a frame does not arrive before it left, whatever they show."""
    sender = life(1, frame(10.0, "send", "x"), machine="one", offset=1000.0)
    receiver = life(2, frame(500.0, "receive", "x"), machine="two", offset=509.9)
    merged = merging.merge([sender, receiver])
    assert told(merged) == [("send", 1), ("receive", 1)]
    assert merged[1]["t"] == merged[2]["t"]


def test_a_process_that_was_followed_by_another_crashed_unless_it_stopped() -> None:
    first = life(1, {"t": 1.0, "e": "start", "node": 1, "incarnation": 1})
    stopped = life(1, {"t": 3.0, "e": "stop", "node": 1}, incarnation=2)
    last = life(1, {"t": 5.0, "e": "start", "node": 1, "incarnation": 3}, incarnation=3)
    events = [event["e"] for event in merging.merge([[*first, *stopped, *last]])[1:]]
    assert events == ["start", "crash", "start"]


def test_a_life_that_fills_several_files_is_one_life() -> None:
    older = life(1, {"t": 1.0, "e": "start", "node": 1, "incarnation": 1})
    newer = life(1, {"t": 2.0, "e": "commit", "node": 1, "sequence": 1})
    assert [event["e"] for event in merging.merge([newer, older])] == ["begin", "start", "commit"]


def test_calls_and_clients_get_numbers_of_their_own() -> None:
    def call(time: float, node: int, number: int) -> Event:
        return {"t": time, "e": "call", "call": number, "client": 1, "node": node, "kind": "get", "key": "a"}

    def answer(time: float, node: int, number: int) -> Event:
        return {"t": time, "e": "return", "call": number, "node": node, "outcome": "ok"}

    one = life(1, call(1.0, 1, 1), call(1.3, 1, 2), answer(1.4, 1, 1))
    two = life(2, call(1.1, 2, 1), answer(1.2, 2, 1))
    merged = merging.merge([one, two])
    calls = [event for event in merged if event["e"] in ("call", "return")]
    assert [(event["e"], event["call"]) for event in calls] == [
        ("call", 1),
        ("call", 2),
        ("return", 2),
        ("call", 3),
        ("return", 1),
    ]
    assert [event["client"] for event in calls if event["e"] == "call"] == [1, 2, 1]


def test_a_call_whose_node_crashed_is_unknown() -> None:
    call = {"t": 1.0, "e": "call", "call": 1, "client": 1, "node": 1, "kind": "get", "key": "a"}
    again = life(1, {"t": 2.0, "e": "start", "node": 1, "incarnation": 2}, incarnation=2)
    merged = merging.merge([life(1, call), again])
    assert [event["e"] for event in merged[1:]] == ["call", "crash", "return", "start"]
    assert merged[3]["outcome"] == "unknown"


def test_faults_that_no_node_knows_have_their_place() -> None:
    one = life(1, {"t": 1.0, "e": "start", "node": 1, "incarnation": 1}, {"t": 3.0, "e": "commit", "node": 1})
    merged = merging.merge([one], [{"t": 2.0, "e": "fault", "kind": "pause", "node": 2, "peer": 2}])
    assert [event["e"] for event in merged[1:]] == ["start", "fault", "commit"]
