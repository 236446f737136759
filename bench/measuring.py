"""How all of these measure and print: in turns, several times, medians."""

import gc
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import click
from rich import box
from rich.console import Console
from rich.table import Table

BATCHES: Final = (1, 16, 64, 256, 1000)
"""Operations that arrive together, in one turn or one frame."""

Figures = dict[str, dict[str, dict[str, float]]]
"""By what was done, then by how much at a time, then by what was measured, its unit at the end of its name."""

T = TypeVar("T")


def in_turns(measurements: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """What each answered, once a round. In turns, so that a slow spell of the machine meets all of them."""
    found: dict[str, list[T]] = {name: [] for name in measurements}
    for _ in range(rounds):
        for name, measure in measurements.items():
            found[name].append(measure())
    return found


def median_ratio(first: Sequence[float], second: Sequence[float]) -> float:
    """Of what was measured in the same round, since rounds differ more than what is compared."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


def cpu_us(action: Callable[[], object], calls: int) -> float:
    """Microseconds of this process's CPU for one call. Other processes on the machine hardly show in it."""
    began = time.process_time()
    for _ in range(calls):
        action()
    return (time.process_time() - began) * 1e6 / calls


def calls_for(action: Callable[[], object], seconds: float) -> int:
    """How many calls take about so long."""
    calls = 1
    while (taken := cpu_us(action, calls) * calls / 1e6) < seconds / 4:
        calls *= 4
    return max(1, int(calls * seconds / taken))


def tune_collector() -> None:
    """As a node has it: what lives now lives on, and the collector seldom comes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def show(figures: Figures, title: str, name: str, digits: int = 1) -> None:
    """Print one measured thing as a table; nothing where it was not measured."""
    rows = {done: {size: cell[name] for size, cell in row.items() if name in cell} for done, row in figures.items()}
    rows = {done: row for done, row in rows.items() if row}
    columns = dict.fromkeys(size for row in rows.values() for size in row)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for done, row in rows.items():
        table.add_row(done, *[f"{row[column]:,.{digits}f}" if column in row else "" for column in columns])
    # As wide as it needs to be: into a file, rich would otherwise fold it at 80 characters.
    console = Console(width=120, highlight=False)
    console.print(f"\n[bold]{title}")
    console.print(table)


def command(doc: str, measure: Callable[[bool], Figures], present: Callable[[Figures], None]) -> click.Command:
    """The command line that every benchmark has. `measure` is told whether to be quick."""

    @click.command(help=doc)
    @click.option("--quick", is_flag=True, help="Few operations, once: to see that it works.")
    @click.option("--json", "path", type=click.Path(path_type=Path), help="Write the figures to this file, too.")
    def main(quick: bool, path: Path | None) -> None:
        tune_collector()
        figures = measure(quick)
        present(figures)
        if path is not None:
            path.write_text(json.dumps(figures, indent=1))

    return main
