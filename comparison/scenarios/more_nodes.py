"""More nodes: 3, 5 and 7 here, and more than a machine holds by a model that is calibrated from what was measured."""

from typing import Any, Final

from comparison import plots, processes
from comparison.load import Load
from comparison.plots import COLOURS, Plot
from comparison.results import Results
from comparison.scenarios.contract import Scenario, Section, Turn, number, table
from comparison.systems.contract import Layout, System

_CLIENTS: Final = 256
_MEASURED: Final = (3, 5, 7)

_ABOUT_MODEL: Final = (
    "The prediction is paxoskv's own engines run in virtual time, each turn of theirs taking the time that it was "
    "found to take here: so much for the turn, for each frame, for each operation of a client, for each kilobyte from "
    "a peer, and for each commit. These are fitted to the processor time of the points with three and five nodes, the "
    "time of an operation in the load generator to their throughput; the points with seven nodes test it. What is "
    "fitted is their sum: a single one means little. On the measured points the nodes and the load generator share the "
    "processors of this machine; in the prediction every node has one for itself and clients need none, a message "
    "takes 0.1 ms, and a commit what an fdatasync takes here. Not in it: bandwidth, loss, skew of keys, checkpoints, "
    "and machines that differ. Three copies among many nodes is what the leaderless engine's placement is made for and "
    "what the model gives it, each key's operations through one of its three; the server as it is keeps copies on all "
    "nodes. With more machines a turn's operations are for more peers, so that frames hold less each: that is why "
    "throughput grows slower than their number. etcd and ZooKeeper are not predicted: their engines are not here to be "
    "run. Several logs, each for a part of the keys, would spread a log's work as well; that is another system than "
    "any of these."
)


class MoreNodes(Scenario):
    name = "more-nodes"
    calibrates = True
    measurements, other_s = (3, 3), (25.0, 20.0)
    title = "More nodes"
    question = "What do 256 clients get of 5 and 7 nodes on this machine, and what would 100 machines give?"

    def unfit(self, system: type[System]) -> str | None:
        return None if system.name in ("leaderless", "raft", "etcd", "zookeeper") else "it was left out for time's sake"

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
        known = results.predictions
        plot = []
        if known:
            tables.append(self._predicted(results))
            tables.append(self._errors(results))
            plot.append(self._plot(results))

        def speeds(system: str) -> str:
            return " / ".join(number(results.median(self.name, system, "ops_per_s", nodes=count)) for count in counts)

        shown = ", ".join(f"{results.title(system)} {speeds(system)}" for system in systems)
        return Section(
            f"Writes a second with {' / '.join(map(str, counts))} nodes on this one machine: {shown}.",
            tables,
            plot,
            [_ABOUT_MODEL] if known else [],
        )

    def _predicted(self, results: Results) -> str:
        counts = list(next(iter(results.predictions.values()))["machines"])
        rows = [
            [results.title(system), *(number(found["machines"][count]) for count in counts)]
            for system, found in results.predictions.items()
        ]
        return (
            "**Predicted, not measured**: writes a second if every node had a machine of its own, 256 clients for "
            "each, three copies of each key on as many machines as there are without a leader, and one log on three "
            "of them with one:\n\n" + table(["machines", *counts], rows)
        )

    def _errors(self, results: Results) -> str:
        rows = [
            [
                results.title(system) + (", not used to calibrate" if point["held_out"] else ""),
                str(point["nodes"]),
                f"{point['clients']:,}",
                number(point["measured"]),
                number(point["model"]),
                f"{point['model'] / point['measured'] - 1:+.0%}",
                f"{point['cpu_us_model'] / point['cpu_us_measured'] - 1:+.0%}",
            ]
            for system, found in results.predictions.items()
            for point in found["errors"]
        ]
        head = ["what the model says of what was measured", "nodes", "clients", "measured, writes/s", "model"]
        return "The model's error on the measured points:\n\n" + table([*head, "error", "error in CPU us/op"], rows)

    def _plot(self, results: Results) -> Plot:
        def draw(figure: Any) -> None:
            axes = figure.subplots()
            for system, found in results.predictions.items():
                machines = found["machines"]
                axes.plot(
                    [int(count) for count in machines],
                    list(machines.values()),
                    color=COLOURS[system],
                    linestyle="--",
                    label=results.title(system),
                )
            plots.logarithmic(axes, [3, 5, 10, 20, 50, 100])
            axes.set_xlabel("machines")
            axes.set_ylabel("writes a second")
            axes.legend()

        return Plot("more-nodes", "PREDICTED, not measured: a machine for each node, three copies", draw, (8, 4.4))
