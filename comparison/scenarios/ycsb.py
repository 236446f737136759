"""The core workloads of YCSB (Cooper et al., 2010), with its zipf constant of 0.99."""

from collections.abc import Callable
from typing import Any, Final

from comparison import plots
from comparison.load import Load
from comparison.plots import Plot
from comparison.results import Point, Results
from comparison.scenarios.contract import Scenario, Section, Turn, number, table
from comparison.systems import ALL as SYSTEMS
from comparison.systems.contract import System

_CLIENTS: Final = 64
_VALUE_BYTES: Final = 1000
_WORKLOADS: Final[dict[str, dict[str, Any]]] = {
    "A": {"read_ratio": 0.5, "distribution": "zipf"},
    "B": {"read_ratio": 0.95, "distribution": "zipf"},
    "C": {"read_ratio": 1.0, "distribution": "zipf"},
    "D": {"read_ratio": 0.95, "distribution": "latest"},
    "F": {"read_ratio": 0.5, "distribution": "zipf", "op": "rmw"},
    # Last, and of records of its own, since D has inserted some, as YCSB loads its table anew before E.
    "E": {"read_ratio": 0.95, "distribution": "zipf", "op": "scan", "prefix": "scan/", "fill": True},
}
_WORDS: Final = {
    "A": "half reads, half updates",
    "B": "95 % reads",
    "C": "reads",
    "D": "95 % reads of the latest, 5 % inserts",
    "E": "95 % short scans, 5 % inserts",
    "F": "half reads, half read-modify-writes",
}


def _missing(system: type[System], has: Callable[[Point], bool]) -> list[str]:
    """The workloads that a system can do and that were not measured yet."""
    cannot = {"D"} if not system.inserts else set()
    if system.unordered:
        cannot.add("E")
    return [name for name in _WORKLOADS if name not in cannot and not has({"workload": name})]


class Ycsb(Scenario):
    name = "ycsb"
    measurements, other_s = (7, 7), (10.0, 8.0)
    title = "YCSB"
    question = "How many operations a second of the YCSB core workloads do 64 clients get?"

    def run(self, turn: Turn) -> None:
        pace, system = turn.pace, turn.system
        missing = _missing(type(system), turn.has)
        turn.start()
        if missing != ["E"]:
            system.drive(Load(seconds=pace.pick(1.0, 0.5), fill=True, value_size=_VALUE_BYTES))
        for name in missing:
            turn.say(name)
            found = system.drive(Load(_CLIENTS, pace.seconds, value_size=_VALUE_BYTES, **_WORKLOADS[name]))
            turn.keep({"workload": name}, found)

    def owes(self, system: type[System], has: Callable[[Point], bool]) -> bool:
        return bool(_missing(system, has))

    def tell(self, results: Results) -> Section | None:
        systems = results.systems(self.name)
        workloads = results.points(self.name, "workload")
        if not systems:
            return None
        rows = []
        for system in systems:
            cells = []
            for name in workloads:
                speed, high = (results.median(self.name, system, n, workload=name) for n in ("ops_per_s", "p99_ms"))
                cells.append("" if speed is None else f"{number(speed)} ({number(high, 1)})")
            rows.append([results.title(system), *cells])
        body = table(["", *(f"{name}: {_WORDS[name]}" for name in workloads)], rows)
        answer = "; ".join(f"{name}: {self._ranked(results, systems, name)}" for name in workloads)

        def draw(figure: Any) -> None:
            axes = figure.subplots()
            series = {
                system: [results.median(self.name, system, "ops_per_s", workload=name) for name in workloads]
                for system in systems
            }
            plots.bars(axes, workloads, series, {system: results.title(system) for system in systems})
            plots.logarithmic_heights(axes)
            axes.set_ylabel("operations a second")
            figure.legend(loc="outside lower center", ncols=4)

        return Section(
            f"Operations a second, {answer}.",
            ["Operations a second (p99 in milliseconds):\n\n" + body],
            [Plot("ycsb", "YCSB, 64 clients, 10,000 records of 1,000 bytes", draw, (12, 4.8))],
            [self._notes(results, systems)],
        )

    def _notes(self, results: Results, systems: list[str]) -> str:
        parts = ["10,000 records of 1,000 bytes, zipf with 0.99."]
        if any(results.select(self.name, workload="E")):
            parts.append("E: a scan is of 1 to 100 records from one on, in the order of their keys, and one operation.")
            found = [
                f"{results.title(system)} {keys:.0f}"
                for system in systems
                if (keys := results.median(self.name, system, "keys_per_scan", workload="E")) is not None
            ]
            parts.append(f"In the mean a scan found so many: {', '.join(found)}.")
            version = results.about["systems"].get("etcd", {}).get("versions", {}).get("etcd", "")
            if version.startswith("3.4.") and any(results.select(self.name, "etcd", workload="E")):
                parts.append("etcd 3.4 goes through its index to the end of the records before it looks at the limit.")
            lacking = [
                f"{results.title(system)} ({SYSTEMS[system].unordered})"
                for system in systems
                if system in SYSTEMS and SYSTEMS[system].unordered
            ]
            if lacking:
                parts.append(f"These have no scan in the order of keys: {', '.join(lacking)}.")
        else:
            parts.append("E, short scans, was not measured.")
        without = [results.title(system) for system in systems if system in SYSTEMS and not SYSTEMS[system].inserts]
        if without:
            parts.append(f"D needs inserts, which the load generators of {' and '.join(without)} do not make.")
        return " ".join(parts)

    def _ranked(self, results: Results, systems: list[str], workload: str) -> str:
        speeds = {s: results.median(self.name, s, "ops_per_s", workload=workload) for s in systems}
        ranked = sorted((s for s in systems if speeds[s]), key=lambda s: -(speeds[s] or 0))[:3]
        return ", ".join(f"{results.title(s)} {number(speeds[s])}" for s in ranked)
