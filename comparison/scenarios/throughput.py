"""Throughput and latency by the number of clients, and by the load that is offered."""

from typing import Any, Final

from comparison import plots
from comparison.load import Load
from comparison.plots import Plot
from comparison.results import Results
from comparison.scenarios.contract import DUE_TOO_EARLY, Scenario, Section, Turn, number, significant, table
from comparison.systems.contract import System

_CLIENTS: Final = (1, 16, 64, 256, 1000)
_MIXES: Final = {"writes": 0.0, "reads": 1.0, "half reads": 0.5}
THROUGH_ONE: Final = "writes through one node"
_ENOUGH: Final = 0.9
"""An open loop whose answers come at less than this share of its rate is beyond what the system can do."""


class Throughput(Scenario):
    name = "throughput"
    calibrates = True
    measurements, other_s = (20, 6), (6.0, 5.0)
    title = "Throughput and latency by number of clients"
    question = (
        "How many operations a second do so many clients get, each waiting for its answer, and how long do they wait?"
    )

    def run(self, turn: Turn) -> None:
        pace, system = turn.pace, turn.system
        turn.start()
        system.drive(Load(seconds=pace.pick(1.0, 0.5), fill=True))
        for mix in pace.pick(tuple(_MIXES), ("writes", "reads")):
            for clients in pace.pick(_CLIENTS, (1, 64, 1000)):
                turn.say(f"{clients} clients, {mix}")
                found = system.drive(Load(clients, pace.seconds, _MIXES[mix]))
                turn.keep({"mix": mix, "clients": clients}, found)
        if pace.quick or len(system.numbers()) == 1:
            return
        one = [system.leader() or 1]
        # Where each key has a coordinator, this has to become all keys' first.
        system.drive(Load(seconds=1.0, fill=True), one)
        for clients in _CLIENTS:
            turn.say(f"{clients} clients, {THROUGH_ONE}")
            turn.keep({"mix": THROUGH_ONE, "clients": clients}, system.drive(Load(clients, pace.seconds), one))

    def tell(self, results: Results) -> Section | None:
        systems = results.systems(self.name, mix="writes")
        clients = results.points(self.name, "clients", mix="writes")
        if not systems or not clients:
            return None
        tables = []
        for mix in results.points(self.name, "mix"):
            rows = []
            for system in results.systems(self.name, mix=mix):
                cells = []
                for count in clients:
                    values = results.values(self.name, system, "ops_per_s", mix=mix, clients=count)
                    middle = results.median(self.name, system, "ops_per_s", mix=mix, clients=count)
                    spread = f" ±{(max(values) - min(values)) / 2 / middle:.0%}" if middle and len(values) > 1 else ""
                    cells.append(number(middle) + spread)
                rows.append([results.title(system), *cells])
            tables.append(f"{mix.capitalize()}, operations a second, by clients:\n\n" + by_clients(clients, rows))
        for what, name in (("p50", "p50_ms"), ("p99", "p99_ms")):
            rows = [
                [
                    results.title(system),
                    *(significant(results.median(self.name, system, name, mix="writes", clients=c)) for c in clients),
                ]
                for system in systems
            ]
            tables.append(f"Writes, {what} in milliseconds, by clients:\n\n" + by_clients(clients, rows))
        rows = [
            [
                results.title(system),
                *(number(results.median(self.name, system, "server_cpu_us", mix="writes", clients=c)) for c in clients),
            ]
            for system in systems
        ]
        tables.append(
            "Writes, microseconds of CPU of all nodes together for one operation (the load generator's is in it where "
            "clients live inside the nodes, PySyncObj, and the proposers' is not where they live in the load "
            "generator, Gryadka):\n\n" + by_clients(clients, rows)
        )
        notes = []
        if results.systems(self.name, mix=THROUGH_ONE):
            notes.append(
                "*Through one node*: all clients are connected to one node, the leader where there is one. Otherwise "
                "they are spread over all nodes as each system's client does it: paxoskv's sends each key to the node "
                "that its hash chooses, and with Raft all writes to the leader; etcd's and ZooKeeper's use all nodes, "
                "which pass writes on to the leader. One coordinator makes larger batches of the same operations, and "
                "is one node's load: who has one machine for all nodes gains, who has three loses the other two."
            )
        return Section(self._answer(results, systems, clients), tables, self._plots(results), notes)

    def _answer(self, results: Results, systems: list[str], clients: list[int]) -> str:
        most = max(clients)
        parts = []
        for count in sorted({min(clients), most}):
            speeds = {s: results.median(self.name, s, "ops_per_s", mix="writes", clients=count) for s in systems}
            ranked = sorted((s for s in systems if speeds[s] and s != "redis"), key=lambda s: -(speeds[s] or 0))
            shown = ", ".join(f"{results.title(s)} {number(speeds[s])}" for s in ranked)
            parts.append(f"with {count:,} client{'s' * (count > 1)} {shown}")
        return "Durable writes a second, " + "; ".join(parts) + "."

    def _plots(self, results: Results) -> list[Plot]:
        mixes = [mix for mix in _MIXES if mix in results.points(self.name, "mix")]

        def draw(figure: Any) -> None:
            grid = figure.subplots(2, len(mixes), squeeze=False, sharex=True, sharey="row")
            for column, mix in enumerate(mixes):
                for system in results.systems(self.name, mix=mix):
                    for row, name in enumerate(("ops_per_s", "p99_ms")):
                        pairs = [
                            (count, results.median(self.name, system, name, mix=mix, clients=count))
                            for count in results.points(self.name, "clients", mix=mix)
                        ]
                        xs = [float(x) for x, y in pairs if y]
                        ys = [y for _, y in pairs if y]
                        plots.line(grid[row][column], system, xs, ys, results.title(system))
                grid[0][column].set_title(mix)
                grid[1][column].set_xlabel("clients")
                for row in (0, 1):
                    plots.logarithmic(grid[row][column], results.points(self.name, "clients", mix=mix))
            grid[0][0].set_ylabel("operations a second")
            grid[1][0].set_ylabel("p99, milliseconds")
            handles, labels = grid[0][0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=4)

        return [Plot("throughput", "Closed loops: operations a second, and p99, by clients", draw, (11, 7.2))]


def by_clients(clients: list[int], rows: list[list[str]]) -> str:
    """A table whose columns are numbers of clients."""
    return table(["clients", *(f"{count:,}" for count in clients)], rows)


class OfferedLoad(Scenario):
    name = "offered-load"
    measurements, other_s = (8, 3), (6.0, 5.0)
    title = "Latency against offered load"
    flaw = DUE_TOO_EARLY
    question = "When operations come at a rate, answered or not, how long does each take from the moment it was due?"

    def unfit(self, system: type[System]) -> str | None:
        return None if system.open_loop else "its load generator has no open loop"

    def run(self, turn: Turn) -> None:
        pace, system = turn.pace, turn.system
        turn.start()
        system.drive(Load(seconds=pace.pick(1.0, 0.5), fill=True))
        for rate in pace.pick((500, 1000, 2000, 4000, 8000, 16_000, 24_000, 32_000), (1000, 4000, 12_000)):
            turn.say(f"{rate:,} writes a second")
            found = system.drive(Load(256, pace.seconds, rate=rate))
            turn.keep({"rate": rate}, found)
            if found["ops_per_s"] < _ENOUGH * rate:
                break

    def tell(self, results: Results) -> Section | None:
        systems = results.systems(self.name)
        rates = results.points(self.name, "rate")
        if not systems:
            return None
        rows, limits = [], {}
        for system in systems:
            cells = []
            for rate in rates:
                achieved = results.median(self.name, system, "ops_per_s", rate=rate)
                middle, high = (results.median(self.name, system, p, rate=rate) for p in ("p50_ms", "p99_ms"))
                kept = achieved is not None and achieved >= _ENOUGH * rate
                if kept:
                    limits[system] = rate
                cells.append(f"{significant(middle)} / {significant(high)}" if kept else "-" if achieved else "")
            rows.append([results.title(system), *cells])
        ranked = sorted(limits, key=lambda system: -limits[system])
        answer = "Rates that were kept up with (of those tried): " + (
            ", ".join(f"{results.title(system)} {limits[system]:,} writes/s" for system in ranked) or "none"
        )
        tables = [
            "Milliseconds from due to answered, p50 / p99, by writes a second; - where fewer than "
            f"{_ENOUGH:.0%} were answered in time:\n\n" + table(["writes/s", *(f"{r:,}" for r in rates)], rows)
        ]

        def draw(figure: Any) -> None:
            both = figure.subplots(1, 2, sharex=True, sharey=True)
            for axes, name, what in zip(both, ("p50_ms", "p99_ms"), ("p50", "p99"), strict=True):
                for system in systems:
                    pairs = [
                        (rate, results.median(self.name, system, name, rate=rate))
                        for rate in rates
                        if rate <= limits.get(system, 0)
                    ]
                    plots.line(axes, system, [x for x, _ in pairs], [y or 0 for _, y in pairs], results.title(system))
                axes.set_title(what)
                axes.set_xlabel("writes a second")
                plots.logarithmic(axes, rates[::2])
            both[0].set_ylabel("milliseconds since due")
            figure.legend(*both[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)

        return Section(answer + ".", tables, [Plot("offered-load", "Open loop: latency against offered load", draw)])
