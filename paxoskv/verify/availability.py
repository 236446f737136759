"""What clients noticed of the faults."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from paxoskv.verify.clients import ClientLog
from paxoskv.verify.nemesis import Incident


@dataclass(slots=True)
class Availability:
    """What clients noticed of one kind of fault: the longest time without a success, in seconds."""

    incidents: int = 0
    others_gap_s: float = 0.0
    """Among clients that prefer a node which it did not befall."""
    own_gap_s: float = 0.0
    """Among clients that prefer one which it did."""


def availability(incidents: Sequence[Incident], logs: Sequence[ClientLog], began: float) -> dict[str, Availability]:
    """By kind of fault, the longest time that a client went without a success while it lasted."""
    found: dict[str, Availability] = {}
    for incident in incidents:
        seen = found.setdefault(incident.kind, Availability())
        seen.incidents += 1
        start = incident.start - began
        finish = (time.monotonic() if incident.finish is None else incident.finish) - began
        for log in logs:
            gap = _longest_gap(log.successes, start, finish)
            if log.node in incident.nodes:
                seen.own_gap_s = max(seen.own_gap_s, gap)
            else:
                seen.others_gap_s = max(seen.others_gap_s, gap)
    return found


def _longest_gap(successes: Sequence[float], start: float, finish: float) -> float:
    """The longest time without a success that lies at least in part between `start` and `finish`."""
    longest = 0.0
    before = 0.0
    for moment in successes:
        if moment >= start and before <= finish:
            longest = max(longest, moment - max(before, start))
        before = moment
    if before < finish:
        longest = max(longest, finish - max(before, start))
    return longest
