"""The traces of one cluster's nodes as one trace.

A live node writes what it does, by its own clock, and knows its frames by the checksum of what they say. Here the
nodes' events are put in one order, and every `receive` finds its `send`: the first of that name on that link that was
neither dropped nor received. A frame that nobody received was lost, and a process that ended without saying so, crashed.

Clocks: processes of one machine share its monotonic clock. Those of several are compared by what their wall clocks
showed at the start, so that a frame may seem to arrive before it left; it is shown as arriving at once then.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

from paxoskv.trace.events import VERSION
from paxoskv.trace.reading import Event

# How long a frame that nobody received is under way.
_LOST_S: Final = 0.001


def merge(traces: Sequence[Iterable[Event]], faults: Iterable[Event] = ()) -> list[Event]:
    """One trace of live nodes' traces. `faults` are events that no node knows, by the machine's monotonic clock."""
    lives = [life for trace in traces for life in _lives(trace)]
    begins = [life[0] for life in lives]
    one_machine = len({begin.get("machine") for begin in begins}) <= 1
    events = []
    last_life = {life[0].get("node"): life[0]["t"] for life in sorted(lives, key=lambda life: float(life[0]["t"]))}
    for life in lives:
        begin = life[0]
        shift = 0.0 if one_machine else begin.get("offset", 0.0)
        body = [{**event, "t": event["t"] + shift} for event in life[1:]]
        ended = bool(body) and body[-1]["e"] in ("stop", "cut")
        if not ended and begin["t"] != last_life[begin.get("node")]:
            body.append({"t": body[-1]["t"] if body else begin["t"] + shift, "e": "crash", "node": begin["node"]})
        events.append([event for event in body if event["e"] not in ("stop", "cut")])
    ordered = list(heapq.merge(*events, sorted(faults, key=_time), key=_time))
    origin = ordered[0]["t"] if ordered else 0.0
    first = begins[0]
    nodes = sorted({node for begin in begins for node in begin["nodes"]})
    merged: list[Event] = [
        {
            "t": 0.0,
            "e": "begin",
            "version": VERSION,
            "source": "live",
            "mode": first["mode"],
            "cluster": first.get("cluster", ""),
            "nodes": nodes,
        }
    ]
    for event in _numbered(_matched(ordered)):
        merged.append({**event, "t": round(max(0.0, event["t"] - origin), 9)})
    return merged


def _time(event: Event) -> float:
    return float(event["t"])


def _lives(trace: Iterable[Event]) -> list[list[Event]]:
    """The events of each process that wrote to the file, its `begin` first.

    A recorder that began a new file goes on in the same process: such a part belongs to the life before it.
    """
    lives: list[list[Event]] = []
    for event in trace:
        if event["e"] == "begin":
            lives.append([])
        lives[-1].append(event)
    return lives


def _matched(events: list[Event]) -> list[Event]:
    """The events, frames with numbers of their own, and a `drop` for every frame that nobody received."""
    flying: dict[tuple[Any, int, int], deque[tuple[int, float]]] = {}
    ends: list[Event] = []
    found: list[Event] = []
    # Clocks of two machines differ: a frame must have left before it arrives.
    for event in sorted(events, key=lambda event: (event["t"], event["e"] == "receive")):
        kind = event["e"]
        if kind not in ("send", "receive", "drop"):
            found.append(event)
            continue
        link = (event["frame"], event["source"], event["target"])
        if kind == "send":
            number = len(ends) + 1
            ends.append({**event, "e": "drop", "frame": number, "reason": "lost", "t": event["t"] + _LOST_S})
            flying.setdefault(link, deque()).append((number, event["t"]))
            found.append({**event, "frame": number})
        elif waiting := flying.get(link):
            # What a node dropped is what it sent last; what arrives is what left first.
            number, _ = waiting.pop() if kind == "drop" else waiting.popleft()
            ends[number - 1] = {}
            found.append({**event, "frame": number})
    for lost in ends:
        if lost:
            found.append({name: lost[name] for name in ("t", "e", "frame", "source", "target", "reason")})
    found.sort(key=_time)
    return found


def _numbered(events: list[Event]) -> list[Event]:
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
            number = calls.pop((event["node"], event["call"]), None)
            if number is not None:
                numbered.append({**event, "call": number})
        else:
            numbered.append(event)
            if kind == "crash":
                for known in [known for known in calls if known[0] == event["node"]]:
                    numbered.append({"t": event["t"], "e": "return", "call": calls.pop(known), "outcome": "unknown"})
    return numbered
