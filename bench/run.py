"""The micro-benchmarks in one table, and how they changed; see README.md beside this file.

\b
Examples:
    python -m bench.run                       # one table
    python -m bench.run --against main~3      # and the ratios to an earlier commit, from interleaved runs
    python -m bench.run --only engine --details
    python -m bench.run --save before.json    # to compare with later: --against before.json
"""

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
from rich import box
from rich.console import Console
from rich.table import Table

from bench import checker, engine, measuring, storage, wire

ALL: Final = {
    "engine": (engine.run, engine.show),
    "wire": (wire.run, wire.show),
    "storage": (storage.run, storage.show),
    "checker": (checker.run, checker.show),
}
REPOSITORY: Final = Path(__file__).parents[1]
Runs = list[dict[str, Any]]
"""Of the same benchmarks, as --save writes one."""


class Line(NamedTuple):
    """A figure that the table shows."""

    benchmark: str
    row: str
    size: str
    figure: str
    unit: str


# By benchmark: rows (None: all of them), sizes (None: the last), the figure and its unit.
_CHOSEN: Final[list[tuple[str, list[str] | None, list[str] | None, str, str]]] = [
    ("engine", None, ["1", "64", "1000"], "all_us", "us of CPU an operation"),
    (
        "wire",
        [
            f"{way} {what}"
            for what in ("puts, 64 bytes", "Proposals, 64 bytes", "Accepted")
            for way in ("pack", "parse")
        ],
        ["64"],
        "us",
        "us of CPU an operation",
    ),
    ("storage", ["bare file", "SQLite"], ["1", "64", "1000"], "p50_ms", "ms a commit"),
    ("storage", ["each row"], ["16"], "row_ms", "ms a row of 16"),
    ("storage", ["journal alone", "folds and trims"], ["p50", "p99"], "tail_ms", "ms a commit of 64"),
    ("checker", None, None, "check_us", "us of CPU an operation"),
]


def lines(document: dict[str, Any]) -> Iterator[Line]:
    """What of a document goes into the table."""
    for benchmark, rows, sizes, figure, unit in _CHOSEN:
        found = document.get(benchmark, {})
        for row in found if rows is None else rows:
            cells = found.get(row, {})
            for size in list(cells)[-1:] if sizes is None else sizes:
                if figure in cells.get(size, {}):
                    yield Line(benchmark, row, size, figure, unit)


def value(document: dict[str, Any], line: Line) -> float | None:
    """One figure; None where it was not measured."""
    found = document.get(line.benchmark, {}).get(line.row, {}).get(line.size, {}).get(line.figure)
    return None if found is None else float(found)


def table(now: Runs, before: Runs, name: str) -> Table:
    """Medians of the runs; with earlier ones, the median of each round's ratio."""
    shown = Table(box=box.SIMPLE_HEAD)
    for title in ("benchmark", "what", "at a time", "figure"):
        shown.add_column(title, justify="left" if title in ("benchmark", "what") else "right")
    if before:
        for title in (name, "ratio", "rounds' ratios"):
            shown.add_column(title, justify="right")
    shown.add_column("unit")
    last = ""
    for line in lines(now[0]):
        ours = [found for document in now if (found := value(document, line)) is not None]
        cells = [line.benchmark if line.benchmark != last else "", line.row, line.size, _show(statistics.median(ours))]
        last = line.benchmark
        if before:
            theirs = [found for document in before if (found := value(document, line)) is not None]
            # A file has one run, which stands against each of ours.
            theirs = theirs * len(ours) if len(theirs) == 1 else theirs
            ratios = [a / b for a, b in zip(ours, theirs, strict=False) if b]
            cells += [_show(statistics.median(theirs)) if theirs else "-"]
            cells += [f"{statistics.median(ratios):.2f}" if ratios else "-"]
            cells += [" ".join(f"{ratio:.2f}" for ratio in sorted(ratios))]
        shown.add_row(*cells, line.unit)
    return shown


def _show(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:,.1f}" if figure >= 10 else f"{figure:,.2f}"


def measure(names: tuple[str, ...], quick: bool, details: bool) -> dict[str, Any]:
    """All of them once, here."""
    machine = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "quick": quick,
    }
    print(", ".join(f"{name}: {value}" for name, value in machine.items()), flush=True)
    measuring.tune_collector()
    found: dict[str, Any] = {"machine": machine}
    for name in names:
        run, show = ALL[name]
        found[name] = run(quick)
        if details:
            show(found[name])
    return found


def measure_in(folder: Path, names: tuple[str, ...], quick: bool) -> dict[str, Any]:
    """The same by the code in a folder, in processes of its own; without those that it does not have."""
    found: dict[str, Any] = {}
    for name in names:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "figures.json"
            command = [sys.executable, "-m", "bench.run", "--only", name, "--json", str(path)]
            done = subprocess.run(
                command + ["--quick"] * quick, cwd=folder, capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                found |= json.loads(path.read_text())
            elif done.returncode != 2:
                raise click.ClickException(f"bench.{name} fails in {folder}: {done.stderr.strip()[-500:]}")
    return found


@contextlib.contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A worktree of that commit, gone afterwards."""
    known = _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    if known.returncode:
        raise click.UsageError(f"--against {commit} is neither a file of --save nor a commit of this repository")
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        folder = Path(place) / "tree"
        added = _git("worktree", "add", "--detach", "--quiet", str(folder), known.stdout.strip())
        if added.returncode:
            raise click.ClickException(f"git cannot check {commit} out: {added.stderr.strip()}")
        try:
            yield folder
        finally:
            _git("worktree", "remove", "--force", str(folder))


def _git(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=False)


def interleaved(names: tuple[str, ...], quick: bool, commit: str, rounds: int) -> tuple[Runs, Runs]:
    """Here, there, there, here, and so on: what the machine does meanwhile befalls both."""
    now: Runs = []
    before: Runs = []
    with checked_out(commit) as folder:
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            pair = [(REPOSITORY, now), (folder, before)]
            for place, into in pair if number % 2 == 0 else pair[::-1]:
                into.append(measure_in(place, names, quick))
    return now, before


@click.command(help=__doc__)
@click.option("--only", type=click.Choice(list(ALL)), multiple=True, help="This one; more than once for several.")
@click.option("--quick", is_flag=True, help="Few operations, once: to see that they work.")
@click.option("--details", is_flag=True, help="Everything that was measured, in tables of its own.")
@click.option("--save", "--json", "path", type=click.Path(path_type=Path), help="Write all figures to this file, too.")
@click.option("--against", metavar="COMMIT|FILE", help="An earlier commit, or a file of --save, to show the ratios to.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="With --against COMMIT.")
def main(
    only: tuple[str, ...], quick: bool, details: bool, path: Path | None, against: str | None, rounds: int
) -> None:
    names = only or tuple(ALL)
    before: Runs = []
    if against is not None and not Path(against).is_file():
        now, before = interleaved(names, quick, against, rounds)
    else:
        now = [measure(names, quick, details)]
        if against is not None:
            try:
                before = [json.loads(Path(against).read_text())]
            except ValueError as error:
                raise click.UsageError(f"{against} was not written by --save: {error}") from None
    console = Console(width=max(120, Console().width), highlight=False)
    console.print(table(now, before, against or ""))
    if against is not None and len(before) == 1:
        console.print("Of one run each: these ratios hold what the machine did meanwhile, too.")
    if path is not None:
        path.write_text(json.dumps(now[-1], indent=1))


if __name__ == "__main__":
    main()
