"""A node dies, pauses, or its disk hangs: the leader, where one leads."""

import time
from typing import Any, Final

from comparison.disks import Disks
from comparison.load import Load
from comparison.plots import COLOURS, Plot
from comparison.results import Results
from comparison.scenarios.contract import Scenario, Section, Turn, number, table
from comparison.systems.contract import Layout, System

_FAULTS: Final = {
    "kill": "a node is killed (SIGKILL)",
    "pause": "a node is paused (SIGSTOP)",
    "stall": "a node's disk hangs",
}
_CLIENTS: Final = 60
_TIMEOUT_S: Final = 1.0
_BIN_S: Final = 0.01


class Failure(Scenario):
    name = "failure"
    measurements, other_s = (0, 0), (50.0, 36.0)
    title = "The leader, or any node, dies"
    question = (
        "A node is killed, paused, or its disk hangs (the leader, where there is one). What do 60 clients notice?"
    )

    def unfit(self, system: type[System]) -> str | None:
        return None if system.faults else "it has one node"

    def run(self, turn: Turn) -> None:
        pace, system = turn.pace, turn.system
        before_s, fault_s, after_s = pace.pick((1.5, 5.0, 1.5), (1.0, 3.0, 1.0))
        for fault in _FAULTS:
            if fault not in system.faults:
                continue
            turn.say(_FAULTS[fault])
            disks = None
            if fault == "stall":
                disks = Disks(turn.folders(1)[0], 3)
                turn.stack.callback(disks.stop)
                turn.stack.callback(system.stop)
                turn.stack.callback(disks.thaw_all)
            turn.start(Layout(disks.folders) if disks else None)
            system.drive(Load(seconds=pace.pick(1.0, 0.5), fill=True))
            victim = system.leader() or 1
            # Each client has its node, in every system, and goes to the next one when it gets no answer in time.
            seconds = before_s + fault_s + after_s
            load = Load(_CLIENTS, seconds, timeout_s=_TIMEOUT_S, timeline=True, route="any")
            running = system.begin_load(load)
            turn.stack.callback(running.stop)
            running.wait_measuring()
            time.sleep(before_s)
            began = time.time()
            if disks is not None:
                disks.freeze(victim)
            else:
                {"kill": system.kill, "pause": system.pause}[fault](victim)
            time.sleep(fault_s)
            undone = time.time()
            if disks is not None:
                disks.thaw(victim)
            else:
                {"kill": system.begin, "pause": system.resume}[fault](victim)
            found = running.result()
            system.stop()
            if disks is not None:
                disks.stop()
            start = found["began_unix"]
            # Its last entry is the last answer, whenever that came.
            bins = int(load.seconds / _BIN_S)
            ok = found["timeline"]["ok"] = [*found["timeline"]["ok"], *[0] * bins][:bins]
            found |= _judge(ok, began - start, undone - start)
            found["errors_count"] = sum(found["timeline"]["errors"])
            turn.keep({"fault": fault}, found)

    def tell(self, results: Results) -> Section | None:
        systems = results.systems(self.name)
        faults = [fault for fault in _FAULTS if fault in results.points(self.name, "fault")]
        if not systems or not faults:
            return None
        tables = []
        for fault in faults:
            rows = []
            for system in results.systems(self.name, fault=fault):
                figures = {
                    name: results.median(self.name, system, name, fault=fault)
                    for name in ("before_per_s", "nobody_ms", "kept", "errors_count")
                }
                worst = max(results.values(self.name, system, "nobody_ms", fault=fault))
                kept = figures["kept"]
                rows.append(
                    [
                        results.title(system),
                        number(figures["before_per_s"]),
                        f"{number(figures['nobody_ms'])} ({number(worst)})",
                        "" if kept is None else f"{kept:.0%}",
                        number(results.median(self.name, system, "longest_gap_ms", fault=fault)),
                        number(figures["errors_count"]),
                    ]
                )
            head = ["", "writes/s before", "nobody is answered, ms (worst)", "throughput meanwhile"]
            head += ["longest gap of one client, ms", "errors"]
            tables.append(f"When {_FAULTS[fault]}:\n\n" + table(head, rows))
        notes = [
            f"{_CLIENTS} clients write, each through a node of its own; who gets no answer within {_TIMEOUT_S:g} s "
            "goes to the next one. That second is the longest gap of a client whose node is paused. What "
            "a node refuses at once counts as an error, too. A disk hangs by `fsfreeze` on "
            "a file system that its node has for itself. PySyncObj never waits for a disk, so that was not asked of "
            "it; its clients live in its nodes, and die and pause with them. Gryadka's nodes are acceptors, its "
            "proposers are with the clients. Election timeouts are each system's defaults."
        ]
        return Section(self._answer(results, systems, faults), tables, [self._plot(results, systems, faults)], notes)

    def _answer(self, results: Results, systems: list[str], faults: list[str]) -> str:
        parts = []
        for fault in faults:
            gaps = {s: results.median(self.name, s, "nobody_ms", fault=fault) for s in systems}
            ranked = sorted((s for s in systems if gaps[s] is not None), key=lambda s: gaps[s] or 0)
            shown = ", ".join(f"{results.title(s)} {number(gaps[s])}" for s in ranked)
            parts.append(f"{_FAULTS[fault]}: {shown}")
        return "For how many milliseconds nobody at all was answered when " + "; ".join(parts) + "."

    def _plot(self, results: Results, systems: list[str], faults: list[str]) -> Plot:
        def draw(figure: Any) -> None:
            grid = figure.subplots(len(systems), len(faults), squeeze=False, sharex=True)
            for column, fault in enumerate(faults):
                grid[0][column].set_title(_FAULTS[fault])
                for row, system in enumerate(systems):
                    axes = grid[row][column]
                    records = list(results.select(self.name, system, fault=fault))
                    if not records:
                        axes.text(0.5, 0.5, "not measured", ha="center", color="#888888", transform=axes.transAxes)
                        axes.set_yticks([])
                        continue
                    # The run whose gap is the middle one.
                    records.sort(key=lambda record: record["data"]["nobody_ms"])
                    data = records[len(records) // 2]["data"]
                    ok = data["timeline"]["ok"]
                    level = max(1.0, data["before_per_s"])
                    times = [index * _BIN_S - data["fault_s"] for index in range(len(ok))]
                    shares = [100 * count / _BIN_S / level for count in ok]
                    axes.axvspan(0, data["undone_s"] - data["fault_s"], color="#f3e2c7", linewidth=0)
                    axes.fill_between(times, shares, step="mid", color=COLOURS[system], linewidth=0, alpha=0.35)
                    axes.plot(times, _smoothed(shares), color=COLOURS[system], linewidth=1.4)
                    axes.set_ylim(0, 220)
                    axes.set_yticks([0, 100, 200])
                    axes.text(
                        0.99,
                        0.83,
                        f"nobody answered for {number(data['nobody_ms'])} ms",
                        ha="right",
                        transform=axes.transAxes,
                        fontsize=9.5,
                        bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1.5},
                    )
            for row, system in enumerate(systems):
                grid[row][0].set_ylabel(results.title(system).replace(" (", "\n("), rotation=0, ha="right", va="center")
            for axes in grid[-1]:
                axes.set_xlabel("seconds since then; shaded: while it lasts")

        title = "Writes answered in each 10 ms (line: 100 ms), percent of before, as a node (the leader, if any) fails"
        return Plot("failure", title, draw, (13, 1.45 * len(systems) + 1.3))


def _smoothed(values: list[float], width: int = 10) -> list[float]:
    """Means of neighbours. A silence stays a silence, but for its edges."""
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    half = width // 2
    bounds = [(max(0, index - half), min(len(values), index + half)) for index in range(len(values))]
    return [(sums[high] - sums[low]) / (high - low) for low, high in bounds]


def _judge(ok: list[int], fault_s: float, undone_s: float) -> dict[str, float]:
    """What a timeline, as long as the load, says about a fault between these moments."""
    first, last = int(fault_s / _BIN_S), int(undone_s / _BIN_S)
    before = ok[first // 4 : first]
    longest = run = 0
    for count in ok[first:]:
        run = 0 if count else run + 1
        longest = max(longest, run)
    level = sum(before) / max(1, len(before)) / _BIN_S
    during = sum(ok[first:last]) / max(1, last - first) / _BIN_S
    return {
        "fault_s": fault_s,
        "undone_s": undone_s,
        "before_per_s": level,
        "nobody_ms": longest * _BIN_S * 1000,
        "kept": during / level if level else 0.0,
    }
