"""The trace of a universe: what failed in it, and by which calls one sees it."""

import json

from harness.canaries import PAXOS, planted

from paxoskv.sim import run
from paxoskv.sim.configuration import draw
from paxoskv.sim.trace import Trace
from paxoskv.trace import reading

SEEDS_MAX = 100


def test_a_violation_names_the_calls_that_prove_it() -> None:
    (canary,) = [each for each in PAXOS if each.name == "quorum of one"]
    with planted(canary):
        for seed in range(SEEDS_MAX):
            lines: list[str] = []
            report = run.simulate(draw(seed, operations=100), Trace(lines.append))
            if report.failure is not None and report.failure.kind == "illegal":
                break
    events = list(reading.parse((line + "\n" for line in lines), "a universe"))
    failure = events[-1]
    assert failure["e"] == "failure"
    calls = {event["call"]: event for event in events if event["e"] == "call"}
    ends = {event["call"]: event["t"] for event in events if event["e"] == "return"}
    assert len({calls[number]["key"] for number in failure["calls"]}) == 1, json.dumps(failure)
    answered = [ends[number] for number in failure["calls"] if number in ends]
    assert answered == sorted(answered)
    assert answered, "who proves something was answered"
