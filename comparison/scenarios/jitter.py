"""The tail of latencies over a long steady load, with checkpoints, snapshots and compactions happening."""

from typing import Any, Final

from comparison import plots
from comparison.load import Load
from comparison.plots import Plot
from comparison.results import Results
from comparison.scenarios.contract import DUE_TOO_EARLY, Scenario, Section, Turn, number, significant, table
from comparison.systems.contract import System

_RATE: Final = 1000
_PERCENTILES: Final = {"p50_ms": "p50", "p99_ms": "p99", "p999_ms": "p99.9", "max_ms": "max"}


class Jitter(Scenario):
    name = "jitter"
    measurements, other_s = (0, 0), (610.0, 20.0)
    title = "Jitter"
    question = f"At {_RATE:,} writes a second, for minutes: what is the worst that an operation meets?"
    repeats_max = 1
    flaw = DUE_TOO_EARLY

    def unfit(self, system: type[System]) -> str | None:
        return None if system.open_loop else "its load generator has no open loop"

    def run(self, turn: Turn) -> None:
        turn.start()
        turn.system.drive(Load(seconds=1.0, fill=True))
        seconds = turn.pace.pick(600.0, 10 * turn.pace.seconds)
        turn.say(f"{seconds:,.0f} s")
        turn.keep({"rate": _RATE}, turn.system.drive(Load(64, seconds, rate=_RATE)) | {"seconds": seconds})

    def tell(self, results: Results) -> Section | None:
        systems = results.systems(self.name)
        if not systems:
            return None
        rows = [
            [
                results.title(system),
                *(significant(results.median(self.name, system, name)) for name in _PERCENTILES),
                number(results.median(self.name, system, "operations")),
            ]
            for system in systems
        ]
        seconds = max(results.values(self.name, systems[0], "seconds"))
        answer = ", ".join(
            f"{results.title(s)} {significant(results.median(self.name, s, 'p999_ms'))} / "
            f"{significant(results.median(self.name, s, 'max_ms'))} ms"
            for s in systems
        )

        def draw(figure: Any) -> None:
            axes = figure.subplots()
            series = {s: [results.median(self.name, s, name) for name in _PERCENTILES] for s in systems}
            plots.bars(axes, list(_PERCENTILES.values()), series, {s: results.title(s) for s in systems})
            plots.logarithmic_heights(axes)
            axes.set_ylabel("milliseconds since due")
            figure.legend(loc="outside lower center", ncols=4)

        return Section(
            f"p99.9 / maximum of {_RATE:,} writes a second for {seconds:,.0f} s: {answer}.",
            [table(["milliseconds", *_PERCENTILES.values(), "writes"], rows)],
            [Plot("jitter", f"{_RATE:,} writes a second for {seconds:,.0f} s", draw, (10, 4.4))],
        )
