"""One key that everybody increments, through one node and through all of them."""

from typing import Any

from comparison import plots
from comparison.load import Load
from comparison.plots import Plot
from comparison.results import Results
from comparison.scenarios.contract import Scenario, Section, Turn, number, table

_THROUGH = {1: "one node", 3: "three nodes"}


class HotKey(Scenario):
    name = "hot-key"
    measurements, other_s = (8, 6), (6.0, 5.0)
    title = "A hot key"
    question = (
        "How many increments a second does one key take from so many clients, through one node and through three?"
    )

    def run(self, turn: Turn) -> None:
        pace, system = turn.pace, turn.system
        turn.start()
        system.drive(Load(seconds=pace.pick(1.0, 0.5), fill=True))
        for nodes in (1, 3):
            for clients in pace.pick((1, 16, 64, 256), (1, 256)):
                turn.say(f"{clients} clients through {_THROUGH[nodes]}")
                prefix = f"hot/{nodes}/{clients}/"
                load = Load(
                    clients, pace.seconds, op="incr", distribution="one-key", prefix=prefix, route="any", keys=1
                )
                found = system.drive(load, system.numbers()[:nodes])
                turn.keep({"nodes": nodes, "clients": clients}, found)
            if len(system.numbers()) == 1:
                break

    def tell(self, results: Results) -> Section | None:
        systems = results.systems(self.name)
        if not systems:
            return None
        tables = []
        for nodes in results.points(self.name, "nodes"):
            clients = results.points(self.name, "clients", nodes=nodes)
            rows = [
                [
                    results.title(system),
                    *(number(results.median(self.name, system, "ops_per_s", nodes=nodes, clients=c)) for c in clients),
                ]
                for system in results.systems(self.name, nodes=nodes)
            ]
            head = ["clients", *(f"{count:,}" for count in clients)]
            tables.append(f"Increments a second through {_THROUGH[nodes]}, by clients:\n\n" + table(head, rows))
        wrong = [
            f"{record['system']} ({record['point']})"
            for record in results.select(self.name)
            if not record["data"].get("counter", {}).get("correct", True)
        ]
        notes = [
            "etcd and ZooKeeper have no increment: it is a read and a conditional write, again until nobody was "
            "quicker, as their users write it. In both modes of paxoskv an increment is an operation, and those that "
            "wait for one key are folded into one step; Redis and PySyncObj have them too. Gryadka's proposers, where "
            "there are three, undo each other's promises.",
            "After each run the key's value was compared with what was acknowledged, where the load generator does so "
            "(not PySyncObj's and Gryadka's): " + (f"WRONG for {', '.join(wrong)}." if wrong else "it always fitted."),
        ]
        return Section(self._answer(results), tables, [self._plot(results)], notes)

    def _answer(self, results: Results) -> str:
        parts = []
        for nodes in results.points(self.name, "nodes"):
            clients = results.points(self.name, "clients", nodes=nodes)[-1]
            speeds = {
                system: results.median(self.name, system, "ops_per_s", nodes=nodes, clients=clients)
                for system in results.systems(self.name, nodes=nodes)
            }
            ranked = sorted(speeds, key=lambda system: -(speeds[system] or 0))
            shown = ", ".join(f"{results.title(system)} {number(speeds[system])}" for system in ranked)
            parts.append(f"{clients:,} clients through {_THROUGH[nodes]}: {shown}")
        return "Increments of one key a second, " + "; ".join(parts) + "."

    def _plot(self, results: Results) -> Plot:
        def draw(figure: Any) -> None:
            counts = results.points(self.name, "nodes")
            grid = figure.subplots(1, len(counts), squeeze=False, sharey=True)[0]
            for axes, nodes in zip(grid, counts, strict=True):
                clients = results.points(self.name, "clients", nodes=nodes)
                for system in results.systems(self.name, nodes=nodes):
                    pairs = [
                        (c, results.median(self.name, system, "ops_per_s", nodes=nodes, clients=c)) for c in clients
                    ]
                    xs, ys = [c for c, y in pairs if y], [y for _, y in pairs if y]
                    plots.line(axes, system, xs, ys, results.title(system))
                axes.set_title(f"through {_THROUGH[nodes]}")
                axes.set_xlabel("clients")
                plots.logarithmic(axes, clients)
            grid[0].set_ylabel("increments a second")
            handles, labels = grid[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=4)

        return Plot("hot-key", "One key that everybody increments", draw, (10, 4.8))
