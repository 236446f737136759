"""What the model of a cluster says of more machines, calibrated from what was measured here.

The five service times of nodes are fitted, none of them below zero, to the CPU per operation that was measured with
three and five nodes, of all of them and of the leader where there is one, given how many turns, frames, operations,
bytes and commits the model counts for each operation there; counts depend on the times, so this is done until they
agree. An operation in the load generator is then what brings the throughputs of these points nearest to those that
were measured. The seven nodes are not used for any of it: they are the test.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from comparison import model
from comparison.model import Counts, ServiceTimes, Setting
from comparison.results import Results

MACHINES: Final = (3, 5, 7, 10, 20, 30, 50, 70, 100)
HELD_OUT: Final = 7
CLIENTS_PER_MACHINE: Final = 256
ONE_WAY_S: Final = 100e-6
_FIRST_GUESS: Final = (40.0, 15.0, 5.0, 20.0, 100.0)
_CLIENT_US: Final = (2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
_ROUNDS: Final = 4
_COPIES: Final = 3
_KEYS: Final = 1000
_OPERATIONS: Final = 20_000


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """A point that was measured."""

    setting: Setting
    ops_per_s: float
    cpu_us: float
    leader_us: float | None
    """The leader's part of that, where there is one and it was measured."""


def measured(results: Results, mode: str) -> list[Measured]:
    """The writes of the scenarios `throughput` and `more-nodes`."""
    processors = int(results.about["machine"]["processors"])
    found = []
    for scenario, name in (("throughput", "clients"), ("more-nodes", "nodes")):
        for value in results.points(scenario, name):
            point = {name: value} | ({"mix": "writes"} if name == "clients" else {})
            speed, cpu = (results.median(scenario, mode, what, **point) for what in ("ops_per_s", "server_cpu_us"))
            if speed and cpu:
                nodes, clients = (value, 256) if name == "nodes" else (3, value)
                leader = results.median(scenario, mode, "leader_us", **point)
                found.append(Measured(Setting(mode, nodes, clients, processors=processors), speed, cpu, leader))
    return found


def predict(results: Results, say: Callable[[str], None]) -> dict[str, Any]:
    """By mode: service times, the error at each measured point, and writes a second by the number of machines."""
    found = {}
    for mode in model.MODES:
        points = measured(results, mode)
        fitted = [point for point in points if point.setting.nodes != HELD_OUT]
        if len({point.setting.nodes for point in fitted}) < 2 or len(fitted) < len(_FIRST_GUESS):
            continue
        say(f"calibrating the model of {mode}")
        times = calibrate(fitted, float(results.about["machine"]["fdatasync_ms"]) * 1000)
        errors = [_error(point, times) for point in points]
        machines = {}
        for count in MACHINES:
            say(f"{mode} on {count} machines, in virtual time")
            setting = Setting(mode, count, CLIENTS_PER_MACHINE * count, _COPIES, 0, ONE_WAY_S, _KEYS * count)
            machines[str(count)] = round(
                model.measure(setting, times, max(_OPERATIONS, 2 * setting.clients))[0].ops_per_s
            )
        found[mode] = {"service_times_us": dataclasses.asdict(times), "errors": errors, "machines": machines}
    return found


def calibrate(points: Sequence[Measured], sync_us: float) -> ServiceTimes:
    """The service times with which the model is nearest to these points."""
    times = ServiceTimes(*_FIRST_GUESS, 5.0, sync_us)
    for left in reversed(range(_ROUNDS)):
        rows = []
        for point in points:
            for counts, cpu in zip(_run(point, times), (point.cpu_us, point.leader_us), strict=True):
                if cpu:
                    rows.append([part / cpu for part in counts.per_operation()])
        fitted = non_negative(rows)
        if left:
            # Half way, or else counts and times would chase each other.
            fitted = [(new + old) / 2 for new, old in zip(fitted, dataclasses.astuple(times), strict=False)]
        turn, frame, operation, kilobyte, commit = fitted
        times = ServiceTimes(turn, frame, operation, kilobyte, commit, times.client, sync_us)
    candidates = [dataclasses.replace(times, client=client) for client in _CLIENT_US]
    return min(candidates, key=lambda candidate: _distance(points, candidate))


def _run(point: Measured, times: ServiceTimes) -> tuple[Counts, Counts]:
    return model.measure(point.setting, times, max(300, 10 * point.setting.clients))


def _distance(points: Sequence[Measured], times: ServiceTimes) -> float:
    logarithms = [math.log(_run(point, times)[0].ops_per_s / point.ops_per_s) for point in points]
    return math.fsum(logarithm * logarithm for logarithm in logarithms)


def _error(point: Measured, times: ServiceTimes) -> dict[str, Any]:
    counts, _ = _run(point, times)
    return {
        "nodes": point.setting.nodes,
        "clients": point.setting.clients,
        "measured": round(point.ops_per_s),
        "model": round(counts.ops_per_s),
        "cpu_us_measured": point.cpu_us,
        "cpu_us_model": round(cpu_us(counts, times), 2),
        "held_out": point.setting.nodes == HELD_OUT,
    }


def cpu_us(counts: Counts, times: ServiceTimes) -> float:
    """What an operation costs all nodes together."""
    costs = (times.turn, times.frame, times.operation, times.kilobyte, times.commit)
    return sum(part * cost for part, cost in zip(counts.per_operation(), costs, strict=True))


def non_negative(rows: Sequence[Sequence[float]]) -> list[float]:
    """The x with no part below zero for which all of `rows` times x come nearest to 1, by the sum of squares."""
    import numpy as np

    matrix = np.array(rows)
    width = matrix.shape[1]
    best, least = [0.0] * width, float("inf")
    # The optimum is the plain one of some subset of the columns, and there are few.
    for size in range(1, width + 1):
        for chosen in itertools.combinations(range(width), size):
            part = matrix[:, chosen]
            solution = np.linalg.lstsq(part, np.ones(len(rows)), rcond=None)[0]
            distance = float(np.sum((part @ solution - 1) ** 2))
            if (solution >= 0).all() and distance < least:
                least = distance
                best = [0.0] * width
                for column, value in zip(chosen, solution, strict=True):
                    best[column] = float(value)
    return best
