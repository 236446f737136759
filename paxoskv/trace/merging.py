"""The traces of one cluster's nodes as one trace.

A live node writes what it does, by its own clock, and knows its frames by the checksum of what they say. Here the
nodes' events are put in one order, and every `receive` finds its `send`: the first of that name on that link that was
neither dropped nor received. A frame that nobody received was lost, and a process that was followed by another without
having stopped, crashed.

Clocks: processes of one machine share its monotonic clock. Those of several are compared by what their wall clocks
showed at the start, so that a frame may seem to arrive before it left; it is shown as arriving at once then.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from paxoskv.trace.events import VERSION
from paxoskv.trace.reading import Event

# How long a frame that nobody received is under way.
_LOST_S: Final = 0.001


@dataclass(slots=True)
class _Life:
    """One process of one node."""

    begin: Event
    events: list[Event] = field(default_factory=list)


def merge(traces: Iterable[Iterable[Event]], faults: Iterable[Event] = ()) -> list[Event]:
    """One trace of live nodes' traces. `faults` are events that no node knows, by the machine's monotonic clock."""
    lives = _lives(traces)
    begins = [life.begin for life in lives.values()]
    one_machine = len({begin.get("machine") for begin in begins}) <= 1
    events = list(faults)
    for (node, incarnation), life in lives.items():
        shift = 0.0 if one_machine else float(life.begin.get("offset", 0.0))
        body = sorted(life.events, key=_time)
        stopped = bool(body) and body[-1]["e"] == "stop"
        if not stopped and any(other == node and later > incarnation for other, later in lives):
            body.append({"t": body[-1]["t"] if body else life.begin["t"], "e": "crash", "node": node})
        events += [{**event, "t": event["t"] + shift} for event in body if event["e"] != "stop"]
    events.sort(key=_time)
    origin = events[0]["t"] if events else 0.0
    first = begins[0]
    begin: Event = {
        "t": 0.0,
        "e": "begin",
        "version": VERSION,
        "source": "live",
        "mode": first["mode"],
        "cluster": first.get("cluster", ""),
        "nodes": sorted({node for each in begins for node in each["nodes"]}),
    }
    return [begin, *[{**event, "t": round(event["t"] - origin, 9)} for event in _numbered(_matched(events))]]


def _time(event: Event) -> float:
    return float(event["t"])


def _lives(traces: Iterable[Iterable[Event]]) -> dict[tuple[int, int], _Life]:
    """The events of each process, by node and incarnation. A long life may fill several files."""
    lives: dict[tuple[int, int], _Life] = {}
    for trace in traces:
        life = None
        for event in trace:
            if event["e"] == "begin":
                life = lives.setdefault((event.get("node", 0), event.get("incarnation", 0)), _Life(event))
            else:
                assert life is not None, "a trace begins with its begin"
                life.events.append(event)
    return lives


def _matched(events: Sequence[Event]) -> list[Event]:
    """The events, frames with numbers of their own, and a `drop` for every frame that nobody received."""
    flying: dict[tuple[Any, int, int], deque[int]] = {}
    frames: dict[int, Event] = {}
    found: list[Event] = []
    early: dict[tuple[Any, int, int], deque[Event]] = {}
    for event in events:
        kind = event["e"]
        if kind not in ("send", "receive", "drop"):
            found.append(event)
            continue
        link = (event["frame"], event["source"], event["target"])
        if kind == "send":
            number = len(frames) + 1
            frames[number] = event
            found.append({**event, "frame": number})
            if waiting := early.get(link):
                # By this machine's clock it arrived before it left.
                found.append({**waiting.popleft(), "t": event["t"], "frame": number})
                frames[number] = {}
            else:
                flying.setdefault(link, deque()).append(number)
        elif numbers := flying.get(link):
            # What a node dropped is what it sent last; what arrives is what left first.
            number = numbers.pop() if kind == "drop" else numbers.popleft()
            frames[number] = {}
            found.append({**event, "frame": number})
        elif kind == "receive":
            early.setdefault(link, deque()).append(event)
    found += [
        {
            "t": sent["t"] + _LOST_S,
            "e": "drop",
            "frame": number,
            "source": sent["source"],
            "target": sent["target"],
            "reason": "lost",
        }
        for number, sent in frames.items()
        if sent
    ]
    found.sort(key=_time)
    return found


def _numbered(events: Sequence[Event]) -> list[Event]:
    """Calls and clients of all nodes under numbers of their own; a call that its node took to its grave is unknown."""
    calls: dict[tuple[int, int], int] = {}
    clients: dict[tuple[int, int], int] = {}
    numbered: list[Event] = []
    count = 0
    for event in events:
        kind = event["e"]
        if kind == "call":
            count += 1
            calls[event["node"], event["call"]] = count
            client = clients.setdefault((event["node"], event["client"]), len(clients) + 1)
            numbered.append({**event, "call": count, "client": client})
        elif kind == "return":
            number = calls.pop((event.get("node", 0), event["call"]), None)
            if number is not None:
                numbered.append({**event, "call": number})
        else:
            numbered.append(event)
            if kind == "crash":
                lost = [calls.pop(known) for known in list(calls) if known[0] == event["node"]]
                numbered += [{"t": event["t"], "e": "return", "call": call, "outcome": "unknown"} for call in lost]
    return numbered
