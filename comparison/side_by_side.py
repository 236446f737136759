"""paxoskv and etcd in one run: the same machine, disk, keys, values and numbers of clients, in turn, several times.

python -m comparison.side_by_side [--rounds 3] [--seconds 5] [--quick] [--only etcd] [--json out.json]
"""

import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from comparison.systems import ALL, Load, Measurement, Missing, System

_FIRST_TOUCH_KEYS: Final = 600_000


@dataclass(frozen=True, slots=True)
class Scenario:
    """A load, and on which systems it makes sense."""

    name: str
    load: Load
    only: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What paxoskv has set itself, beside etcd in the same run."""

    text: str
    scenario: str
    value: Callable[[Measurement], float]
    """Of the medians."""
    at_least: float | None = None
    at_most: float | None = None
    against: str | None = None
    """The scenario of etcd that it is divided by; None: the figure itself."""


def scenarios(seconds: float) -> list[Scenario]:
    """All of them, in the order in which they run."""
    found = [Scenario("writes, 1 client", Load(1, seconds))]
    found += [Scenario(f"writes, {clients} clients", Load(clients, seconds)) for clients in (64, 256, 1000)]
    found += [
        Scenario(f"writes, {clients} clients, any route", Load(clients, seconds, route="any"), only="paxoskv")
        for clients in (64, 256, 1000)
    ]
    found += [
        Scenario("reads, 256 clients", Load(256, seconds, read_ratio=1.0)),
        Scenario("first touch, 256 clients", Load(256, seconds, distribution="sequential", keys=_FIRST_TOUCH_KEYS)),
        Scenario("one key, 96 clients increment", Load(96, seconds, op="incr", distribution="one-key", route="any")),
    ]
    return found


TARGETS: Final = (
    *[
        Target(
            f"writes at {clients} clients: at least 5 times etcd's",
            f"writes, {clients} clients",
            lambda m: m.ops_per_s,
            at_least=5,
            against=f"writes, {clients} clients",
        )
        for clients in (64, 256, 1000)
    ],
    Target(
        "p99 of writes at 256 clients: below a third of etcd's",
        "writes, 256 clients",
        lambda m: m.p99_ms,
        at_most=1 / 3,
        against="writes, 256 clients",
    ),
    Target(
        "p50 of writes at 1 client: at most half of etcd's",
        "writes, 1 client",
        lambda m: m.p50_ms,
        at_most=0.5,
        against="writes, 1 client",
    ),
    Target(
        "linearizable reads at 256 clients: at least 6 times etcd's",
        "reads, 256 clients",
        lambda m: m.ops_per_s,
        at_least=6,
        against="reads, 256 clients",
    ),
    Target(
        "first touch of fresh keys: at least 3 times etcd's writes",
        "first touch, 256 clients",
        lambda m: m.ops_per_s,
        at_least=3,
        against="writes, 256 clients",
    ),
    Target(
        "one key through three coordinators: at least 20,000 increments/s",
        "one key, 96 clients increment",
        lambda m: m.ops_per_s,
        at_least=20_000,
    ),
)

Results = dict[str, dict[str, list[Measurement]]]
"""By system, by scenario, one for each round."""


def median(measurements: list[Measurement]) -> Measurement:
    """The middle of each figure."""
    return Measurement(
        statistics.median(m.ops_per_s for m in measurements),
        statistics.median(m.p50_ms for m in measurements),
        statistics.median(m.p99_ms for m in measurements),
        max(m.max_ms for m in measurements),
        {text: count for m in measurements for text, count in m.errors.items()},
        statistics.median(m.server_cpu_us for m in measurements),
        measurements[-1].counter,
    )


def judge(target: Target, results: Results) -> tuple[float, bool] | None:
    """The figure of a target and whether it is met; None when something was not measured."""
    ours = results.get("paxoskv", {}).get(target.scenario)
    theirs = results.get("etcd", {}).get(target.against) if target.against else None
    if not ours or (target.against and not theirs):
        return None
    figure = target.value(median(ours))
    if theirs:
        figure /= target.value(median(theirs))
    met = (target.at_least is None or figure >= target.at_least) and (
        target.at_most is None or figure <= target.at_most
    )
    return figure, met


def tables(results: Results, order: list[str]) -> list[Table]:
    """The figures, and the targets beside them."""
    figures = Table(title="median of the rounds (lowest to highest)")
    for name in ("scenario", "system", "operations/s", "p50 ms", "p99 ms", "max ms", "CPU us/op", "errors"):
        figures.add_column(name, justify="left" if name in ("scenario", "system") else "right")
    for scenario in order:
        for system, measured in results.items():
            rounds = measured.get(scenario)
            if not rounds:
                continue
            middle = median(rounds)
            speeds = [m.ops_per_s for m in rounds]
            figures.add_row(
                scenario,
                system,
                f"{middle.ops_per_s:,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f})",
                f"{middle.p50_ms:.2f}",
                f"{middle.p99_ms:.2f}",
                f"{middle.max_ms:.1f}",
                f"{middle.server_cpu_us:.0f}",
                str(sum(middle.errors.values())),
            )
    aims = Table(title="targets")
    for name in ("target", "measured", ""):
        aims.add_column(name)
    for target in TARGETS:
        judged = judge(target, results)
        if judged is not None:
            figure, met = judged
            unit = "x" if target.against else "/s"
            aims.add_row(
                target.text,
                f"{figure:,.2f}{unit}" if target.against else f"{figure:,.0f}/s",
                "met" if met else "NOT met",
            )
    return [figures, aims]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {"cores": os.cpu_count(), "cpu": model, "kernel": platform.release(), "python": platform.python_version()}


def measure(
    systems: list[System],
    rounds: int,
    chosen: list[Scenario],
    folder: Path,
    say: Callable[[str], None],
    results: Results,
) -> None:
    """Fill `results`, so that what was measured before an interruption is kept."""
    for number in range(rounds):
        # Each system leads every other time, in case that matters.
        for system in systems if number % 2 == 0 else systems[::-1]:
            place = folder / f"{system.name}-{number}"
            place.mkdir()
            try:
                system.start(place)
                for scenario in chosen:
                    if scenario.only in (None, system.name):
                        say(f"round {number + 1} of {rounds}: {system.name}: {scenario.name}")
                        measured = system.drive(scenario.load)
                        results.setdefault(system.name, {}).setdefault(scenario.name, []).append(measured)
            finally:
                system.stop()
                shutil.rmtree(place, ignore_errors=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.5), default=5.0, show_default=True, help="For each measurement.")
@click.option("--quick", is_flag=True, help="One round of two seconds each.")
@click.option("--only", "names", multiple=True, type=click.Choice([system.name for system in ALL]))
@click.option(
    "--dir", "folder", type=click.Path(file_okay=False, path_type=Path), help="Where data goes for the while."
)
@click.option("--json", "output", type=click.Path(dir_okay=False, path_type=Path), help="Write raw results there.")
def main(
    rounds: int, seconds: float, quick: bool, names: tuple[str, ...], folder: Path | None, output: Path | None
) -> None:
    """paxoskv beside etcd, in one run on this machine."""
    if quick:
        rounds, seconds = 1, 2.0
    console = Console()
    systems: list[System] = []
    versions: dict[str, str] = {}
    for kind in ALL:
        if names and kind.name not in names:
            continue
        system = kind()
        try:
            versions[system.name] = system.install()
            systems.append(system)
        except Missing as missing:
            console.print(f"left out: {missing}", markup=False)
    if not systems:
        raise SystemExit("nothing to measure")
    chosen = scenarios(seconds)
    results: Results = {}
    began = time.time()
    place = Path(tempfile.mkdtemp(prefix="side-by-side-", dir=folder))
    try:
        with console.status("") as status:
            measure(systems, rounds, chosen, place, lambda text: _say(status, text), results)
    except KeyboardInterrupt:
        console.print("interrupted; the figures are of what was measured")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    for table in tables(results, [scenario.name for scenario in chosen]):
        console.print(table)
    console.print(f"{versions}, {machine()}", markup=False)
    if output is not None:
        document = {
            "began": began,
            "machine": machine(),
            "versions": versions,
            "configuration": {system.name: system.configuration() for system in systems},
            "scenarios": {scenario.name: asdict(scenario.load) for scenario in chosen},
            "results": {
                name: {scenario: [asdict(m) for m in rounds_] for scenario, rounds_ in measured.items()}
                for name, measured in results.items()
            },
        }
        output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _say(status: Any, text: str) -> None:
    if sys.stdout.isatty():
        status.update(text)
    else:
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
