"""The core workloads of YCSB (Cooper et al., 2010), with its zipf constant of 0.99."""

from typing import Any, Final

from comparison import plots
from comparison.load import Load
from comparison.plots import Plot
from comparison.results import Results
from comparison.scenarios.contract import Scenario, Section, Turn, number, table

_CLIENTS: Final = 64
_VALUE_BYTES: Final = 1000
_WORKLOADS: Final[dict[str, dict[str, Any]]] = {
    "A": {"read_ratio": 0.5, "distribution": "zipf"},
    "B": {"read_ratio": 0.95, "distribution": "zipf"},
    "C": {"read_ratio": 1.0, "distribution": "zipf"},
    "D": {"read_ratio": 0.95, "distribution": "latest"},
    "F": {"read_ratio": 0.5, "distribution": "zipf", "op": "rmw"},
}
_WORDS: Final = {
    "A": "half reads, half updates",
    "B": "95 % reads",
    "C": "reads",
    "D": "95 % reads of the latest, 5 % inserts",
    "F": "half reads, half read-modify-writes",
}


class Ycsb(Scenario):
    name = "ycsb"
    measurements, other_s = (6, 6), (8.0, 6.0)
    title = "YCSB"
    question = "How many operations a second of the YCSB core workloads do 64 clients get?"

    def run(self, turn: Turn) -> None:
        pace, system = turn.pace, turn.system
        turn.start()
        system.drive(Load(seconds=pace.pick(1.0, 0.5), fill=True, value_size=_VALUE_BYTES))
        for name, settings in _WORKLOADS.items():
            if name == "D" and not system.inserts:
                continue
            turn.say(name)
            found = system.drive(Load(_CLIENTS, pace.seconds, value_size=_VALUE_BYTES, **settings))
            turn.keep({"workload": name}, found)

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
            [
                "10,000 records of 1,000 bytes, zipf with 0.99. E, short scans, is left out: ZooKeeper, Redis, Gryadka "
                "and PySyncObj have no scan in the order of keys. D needs inserts, which the load generators of "
                "Gryadka and PySyncObj do not make."
            ],
        )

    def _ranked(self, results: Results, systems: list[str], workload: str) -> str:
        speeds = {s: results.median(self.name, s, "ops_per_s", workload=workload) for s in systems}
        ranked = sorted((s for s in systems if speeds[s]), key=lambda s: -(speeds[s] or 0))[:3]
        return ", ".join(f"{results.title(s)} {number(speeds[s])}" for s in ranked)
