"""One node is slower than the others: its disk, or the link between two nodes."""

from typing import Any, Final

from comparison import disks, plots
from comparison.load import Load
from comparison.plots import Plot
from comparison.results import Results
from comparison.scenarios.contract import Scenario, Section, Turn, number, table
from comparison.systems.contract import Layout, System

_LINK_S: Final = 0.05
_FACTOR: Final = 10
_SLOW_MS_MIN: Final = 1.0
_CLIENTS: Final = 64
_CASES: Final = {
    "nothing": "nothing is slow",
    "disk of the leader": f"the leader's (or any node's) disk {_FACTOR} times slower",
    "disk of a follower": f"a follower's (or any node's) disk {_FACTOR} times slower",
    "links, all quick": "peers through relays, nothing is slow",
    "link of the leader": "the leader's (or any node's) link to one other 50 ms slower",
}


class SlowReplica(Scenario):
    name = "slow-replica"
    measurements, other_s = (5, 5), (35.0, 30.0)
    title = "A slow replica"
    question = "One disk is ten times slower, or one link 50 ms slower. What do 64 clients notice?"

    def unfit(self, system: type[System]) -> str | None:
        return "it has one node" if system.nodes_max < 3 else None

    def run(self, turn: Turn) -> None:
        slow_ms = max(_SLOW_MS_MIN, (_FACTOR - 1) * disks.sync_ms(turn.folder))
        wrapper = disks.slowed(slow_ms)
        self._measure(turn, "nothing", Layout(turn.folders()))
        for case, wants_leader in (("disk of the leader", True), ("disk of a follower", False)):
            # Who leads is known once it runs, and not every system lets it be chosen.
            for slow in (1, 3, 2):
                turn.say(f"{case}: trying node {slow}")
                turn.start(Layout(turn.folders(), wrappers={slow: wrapper}))
                turn.system.make_leader(slow if wants_leader else 1 + slow % 3)
                leader = turn.system.leader()
                if leader is None or (leader == slow) == wants_leader:
                    self._measure(turn, case, None)
                    break
        turn.start_linked({}, 0.0)
        self._measure(turn, "links, all quick", None)
        leader = turn.system.leader() or 1
        assert turn.system.layout.links is not None
        turn.system.layout.links.set_delays({frozenset((leader, 1 + leader % 3)): _LINK_S})
        self._measure(turn, "link of the leader", None)

    def _measure(self, turn: Turn, case: str, layout: Layout | None) -> None:
        turn.say(case)
        if layout is not None:
            turn.start(layout)
        turn.system.drive(Load(seconds=turn.pace.pick(1.0, 0.5), fill=True))
        turn.keep({"case": case}, turn.system.drive(Load(_CLIENTS, turn.pace.seconds)))

    def tell(self, results: Results) -> Section | None:
        systems = results.systems(self.name)
        cases = [case for case in _CASES if case in results.points(self.name, "case")]
        if not systems or len(cases) < 2:
            return None
        rows = []
        for system in systems:
            cells = []
            for case in cases:
                speed, high = (results.median(self.name, system, n, case=case) for n in ("ops_per_s", "p99_ms"))
                cells.append("" if speed is None else f"{number(speed)} ({number(high, 1)})")
            rows.append([results.title(system), *cells])
        body = table(["", *(_CASES[case] for case in cases)], rows)
        tables = ["Writes a second (p99 in milliseconds), 64 clients:\n\n" + body]

        def kept(system: str, case: str) -> float | None:
            base = "links, all quick" if case.startswith("link of") else "nothing"
            speed, usual = (results.median(self.name, system, "ops_per_s", case=c) for c in (case, base))
            return None if not speed or not usual else 100 * speed / usual

        slow = [case for case in cases if "of" in case]
        parts = []
        for case in slow:
            shares = {system: kept(system, case) for system in systems}
            ranked = sorted((s for s in systems if shares[s] is not None), key=lambda s: -(shares[s] or 0))
            if ranked:
                shown = ", ".join(f"{results.title(s)} {number(shares[s])} %" for s in ranked)
                parts.append(f"{_CASES[case]}: {shown}")

        def draw(figure: Any) -> None:
            axes = figure.subplots()
            series = {system: [kept(system, case) for case in slow] for system in systems}
            labels = {system: results.title(system) for system in systems}
            plots.bars(axes, [_CASES[case].replace(" (or any node's)", "") for case in slow], series, labels)
            axes.axhline(100, color="#888888", linewidth=1, linestyle="--")
            axes.set_ylabel("percent of the throughput when nothing is slow")
            axes.margins(y=0.2)
            figure.legend(loc="outside lower center", ncols=3)

        plot = Plot("slow-replica", "What is left of 64 clients' writes when one part is slow", draw, (12, 4.8))
        notes = [
            "The disk is slowed by strace, which delays each fsync and fdatasync of that node by nine times what one "
            "takes here, at least 1 ms. PySyncObj syncs nothing, so what it loses under strace is not its disk's; why "
            "it loses so much was not looked into. Where a system has no figure it never let the slow node lead. "
            "paxoskv's clients send each key to the node that its hash chooses, so a third of the keys is coordinated "
            "by the slow one."
        ]
        answer = "Of the throughput there is left with " + "; with ".join(parts) + "."
        return Section(answer, tables, [plot], notes)
