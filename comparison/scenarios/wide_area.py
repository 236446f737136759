"""Three regions, as in section 3.2 of the CASPaxos paper (Rystsov, 2018): who waits how long for what."""

from typing import Any, Final

from comparison import plots
from comparison.load import Load, Measurement
from comparison.plots import Plot
from comparison.results import Results
from comparison.scenarios.contract import Scenario, Section, Turn, significant, table
from comparison.systems.contract import System

_REGIONS: Final = ("West US 2", "West Central US", "Southeast Asia")
_ROUND_TRIPS_S: Final = {frozenset((1, 2)): 0.0218, frozenset((1, 3)): 0.169, frozenset((2, 3)): 0.1892}
_PAPER: Final = {"Gryadka": (47, 47, 356), "etcd": (679, 718, 339), "MongoDB": (1086, 1168, 739)}
_TIMEOUT_S: Final = 15.0
_KINDS: Final = {"own": "its own key", "shared": "one key for all regions"}


class WideArea(Scenario):
    name = "wide-area"
    measurements, other_s = (0, 0), (65.0, 25.0)
    title = "Wide area"
    question = (
        "Nodes in three regions, round trips of 21.8, 169 and 189.2 ms: how long does a client in each region take to "
        "read its own key, add one and write it back? And if all of them increment the same key?"
    )

    def unfit(self, system: type[System]) -> str | None:
        return "it has one node" if system.nodes_max < len(_REGIONS) else None

    def run(self, turn: Turn) -> None:
        pace, system = turn.pace, turn.system
        turn.start_linked({pair: seconds / 2 for pair, seconds in _ROUND_TRIPS_S.items()}, max(_ROUND_TRIPS_S.values()))
        placed = []
        for wanted in pace.pick((3, 1), (3,)):
            turn.say(f"moving the leader to {_REGIONS[wanted - 1]}")
            system.make_leader(wanted)
            leader = system.leader()
            if leader in placed:
                continue
            placed.append(leader)
            seconds = pace.pick(8.0, 5.0)
            for kind in _KINDS:
                turn.say(f"{_KINDS[kind]}, leader {leader}")
                running = [system.begin_load(_load(kind, region, seconds), [region]) for region in (1, 2, 3)]
                for one in running:
                    turn.stack.callback(one.stop)
                found: list[Measurement] = [one.result() for one in running]
                for measured in found:
                    if not measured["operations"]:
                        measured["p50_ms"] = measured["p99_ms"] = None  # Others were always quicker.
                data = {f"{name}_{region}": one[name] for region, one in enumerate(found, 1) for name in _KEPT}
                # Of increments, the leader's place does not count in systems that have none.
                turn.keep({"kind": kind, "leader": leader}, data)

    def tell(self, results: Results) -> Section | None:
        systems = results.systems(self.name)
        if not systems:
            return None
        rows: list[list[str]] = []
        for name, figures in _PAPER.items():
            rows.append([f"*{name}, in the paper*", "", *(f"*{figure}*" for figure in figures)])
        shared: list[list[str]] = []
        for system in systems:
            for leader in self._leaders(results, system):
                where = "none" if leader is None else _REGIONS[leader - 1]
                for kind, into in (("own", rows), ("shared", shared)):
                    cells = []
                    for region in (1, 2, 3):
                        middle = results.median(self.name, system, f"p50_ms_{region}", kind=kind, leader=leader)
                        errors = sum(
                            sum(record["data"][f"errors_{region}"].values())
                            for record in results.select(self.name, system, kind=kind, leader=leader)
                        )
                        cells.append(
                            (significant(middle) or "none got through") + (f" ({errors} errors)" if errors else "")
                        )
                    if kind == "shared":
                        total = sum(
                            results.median(self.name, system, f"ops_per_s_{region}", kind=kind, leader=leader) or 0
                            for region in (1, 2, 3)
                        )
                        cells.append(significant(total))
                    into.append([results.title(system), where, *cells])
        head = ["", "leader in", *_REGIONS]
        tables = [
            "One client in each region reads its own key and writes it back; median milliseconds for both:\n\n"
            + table(head, rows),
            "One client in each region increments the same key; median milliseconds, and increments a second of all "
            "together:\n\n" + table([*head, "increments/s"], shared),
        ]
        notes = [
            "Every peer connection goes through a relay that delays it, the same for all systems. etcd and PySyncObj "
            "are given timeouts for round trips of 189 ms (a heartbeat each, ten of them to an election). Paper: "
            "D. Rystsov, *CASPaxos: Replicated State Machines without logs*, 2018, on Azure; its etcd led from "
            "Southeast Asia."
        ]
        return Section(self._answer(results, systems), tables, [self._plot(results, systems)], notes)

    def _leaders(self, results: Results, system: str) -> list[int | None]:
        found = {record["point"]["leader"] for record in results.select(self.name, system)}
        return sorted(found, key=lambda leader: -(leader or 0))

    def _cells(self, results: Results, system: str, leader: int | None) -> list[float | None]:
        return [
            results.median(self.name, system, f"p50_ms_{region}", kind="own", leader=leader) for region in (1, 2, 3)
        ]

    def _answer(self, results: Results, systems: list[str]) -> str:
        parts = []
        for system in systems:
            for leader in self._leaders(results, system):
                where = "" if leader is None else f" (led from {_REGIONS[leader - 1]})"
                cells = " / ".join(significant(value) or "-" for value in self._cells(results, system, leader))
                parts.append(f"{results.title(system)}{where} {cells} ms")
        return f"For its own key a client in {' / '.join(_REGIONS)} takes: " + "; ".join(parts) + "."

    def _plot(self, results: Results, systems: list[str]) -> Plot:
        def draw(figure: Any) -> None:
            axes = figure.subplots()
            # With the leader in the farthest region, as the paper's etcd had it.
            series = {system: self._cells(results, system, self._leaders(results, system)[0]) for system in systems}
            labels = {}
            for system in systems:
                leader = self._leaders(results, system)[0]
                labels[system] = results.title(system) + (f" (led from {_REGIONS[leader - 1]})" if leader else "")
            plots.bars(axes, list(_REGIONS), series, labels)
            axes.set_ylabel("milliseconds, median")
            axes.margins(y=0.08)
            figure.legend(loc="outside lower center", ncols=3)

        return Plot("wide-area", "A client in each region reads its own key and writes it back", draw, (11, 5.0))


_KEPT: Final = ("p50_ms", "p99_ms", "ops_per_s", "operations", "errors")


def _load(kind: str, region: int, seconds: float) -> Load:
    if kind == "own":
        return Load(1, seconds, op="rmw", keys=1, prefix=f"region-{region}/", timeout_s=_TIMEOUT_S, route="any")
    return Load(1, seconds, op="incr", keys=1, prefix="shared/", timeout_s=_TIMEOUT_S, route="any")
