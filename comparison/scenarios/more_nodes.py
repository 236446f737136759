"""More nodes: 3, 5 and 7 here, and more than a machine holds by a model that is calibrated from what was measured.

The model knows processors alone. An operation takes so many microseconds of the node that is asked, or of the leader,
and so many of each other node that has a copy; both were measured here, with three nodes. A node with a processor of
its own is full when these add up to one second in a second. Without a leader the work spreads over all nodes; with one
log all of it passes the leader.
"""

from typing import Any, Final

from comparison import plots, processes
from comparison.load import Load
from comparison.plots import COLOURS, Plot
from comparison.results import Results
from comparison.scenarios.contract import Scenario, Section, Turn, number, table
from comparison.systems.contract import Layout, System

_CLIENTS: Final = 256
_COPIES: Final = 3
_PREDICTED: Final = (3, 5, 7, 10, 20, 30, 50, 70, 100)
_MEASURED: Final = (3, 5, 7)


class MoreNodes(Scenario):
    name = "more-nodes"
    title = "More nodes"
    question = "What do 256 clients get of 5 and 7 nodes on this machine, and what would 100 machines give?"

    def unfit(self, system: type[System]) -> str | None:
        return None if system.name in ("leaderless", "raft", "etcd", "zookeeper") else "three nodes say it all"

    def run(self, turn: Turn) -> None:
        system = turn.system
        for count in _MEASURED:
            turn.say(f"{count} nodes")
            turn.start(Layout(turn.folders(count)))
            system.drive(Load(seconds=turn.pace.pick(1.0, 0.5), fill=True))
            leader = system.leader()
            before = {node: processes.usage(process.pid) for node, process in system.nodes.items()}
            found = system.drive(Load(_CLIENTS, turn.pace.seconds))
            operations = max(1, found["operations"])
            used = {
                node: (processes.usage(process.pid) - before[node]).cpu_s * 1e6 / operations
                for node, process in system.nodes.items()
            }
            if leader is not None:
                found["leader_us"] = used[leader]
                found["others_us"] = (sum(used.values()) - used[leader]) / (count - 1)
            turn.keep({"nodes": count}, found)

    def tell(self, results: Results) -> Section | None:
        systems = results.systems(self.name)
        if not systems:
            return None
        counts = results.points(self.name, "nodes")
        rows = [
            [
                results.title(system),
                *(number(results.median(self.name, system, "ops_per_s", nodes=count)) for count in counts),
                *(number(results.median(self.name, system, "server_cpu_us", nodes=count)) for count in counts),
            ]
            for system in systems
        ]
        head = ["", *(f"{count} nodes" for count in counts), *(f"CPU us/op, {count}" for count in counts)]
        tables = ["Measured here, where all nodes share the processors; writes a second:\n\n" + table(head, rows)]
        predictions = {system: self._predictions(results, system) for system in systems}
        known = {system: found for system, found in predictions.items() if found}
        plot = []
        if known:
            tables.append(
                "**Predicted, not measured**: writes a second if every node had a processor of its own, three copies "
                "of each key without a leader, one log on three of the nodes with one:\n\n"
                + table(
                    ["", *(str(count) for count in _PREDICTED)],
                    [[results.title(s), *(number(found[c]) for c in _PREDICTED)] for s, found in known.items()],
                )
            )
            plot.append(self._plot(results, known))

        def speeds(system: str) -> str:
            return " / ".join(number(results.median(self.name, system, "ops_per_s", nodes=count)) for count in counts)

        shown = ", ".join(f"{results.title(system)} {speeds(system)}" for system in systems)
        return Section(
            f"Writes a second with {' / '.join(map(str, counts))} nodes on this one machine: {shown}.",
            tables,
            plot,
            [
                "The prediction knows processors alone: no network, no disks, no skew of keys, and batches as large as "
                "those measured. Every key has its copies on all nodes in paxoskv as it is; three copies among many "
                "nodes is what its placement is made for, not what it does yet. " + self._error(results, systems)
            ],
        )

    def _cost(self, results: Results, system: str, nodes: int) -> float | None:
        return results.median(self.name, system, "server_cpu_us", nodes=nodes)

    def _predictions(self, results: Results, system: str) -> dict[int, float]:
        """Writes a second by the number of nodes."""
        total = self._cost(results, system, _COPIES)
        leader = results.median(self.name, system, "leader_us", nodes=_COPIES)
        if not total:
            return {}
        if leader is None:
            return {count: count * 1e6 / total for count in _PREDICTED}
        return dict.fromkeys(_PREDICTED, 1e6 / leader)

    def _error(self, results: Results, systems: list[str]) -> str:
        """How far off the model is where it can be tested: nodes that all have copies share this machine."""
        parts = []
        for system in systems:
            three, five = self._cost(results, system, 3), self._cost(results, system, 5)
            seven = self._cost(results, system, 7)
            if three and five and seven:
                # From three and five nodes: a part for the operation, and a part for each copy.
                each = (five - three) / 2
                expected = five + 2 * each
                parts.append(f"{results.title(system)} {(expected - seven) / seven:+.0%}")
        if not parts:
            return "It could not be tested."
        return (
            "Where it can be tested, here, it says from 3 and 5 nodes what an operation costs with 7, and is off by: "
            + ", ".join(parts)
            + "."
        )

    def _plot(self, results: Results, known: dict[str, dict[int, float]]) -> Plot:
        def draw(figure: Any) -> None:
            axes = figure.subplots()
            for system, found in known.items():
                axes.plot(
                    list(found),
                    list(found.values()),
                    color=COLOURS[system],
                    linestyle="--",
                    label=results.title(system),
                )
            plots.logarithmic(axes, [3, 5, 10, 20, 50, 100])
            axes.set_xlabel("machines")
            axes.set_ylabel("writes a second")
            axes.legend()

        return Plot("more-nodes", "PREDICTED, not measured: a processor for each node, three copies", draw, (8, 4.4))
