"""`paxoskv simulate`: hostile universes, many of them."""

import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from paxoskv import __version__
from paxoskv.cli import INTERRUPTED, check_asserts, to_write

if TYPE_CHECKING:
    from paxoskv.sim.run import Report

_FAILURES_MAX = 10
_OUTCOMES = ("ok", "failed", "unknown")
_SEEDS_HELP = "One seed, or FIRST:LAST with LAST not included."


def parse_seeds(context: click.Context, parameter: click.Parameter, text: str) -> range:
    """The seeds of an option's value."""
    first, colon, last = text.partition(":")
    try:
        seeds = range(int(first), int(last)) if colon else range(int(first), int(first) + 1)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a number nor FIRST:LAST") from None
    if not seeds:
        raise click.BadParameter(f"{text!r} names no seed; LAST is not included")
    return seeds


@click.command(short_help="Run the engine where everything fails, many times.")
@click.option(
    "--mode", type=click.Choice(["paxos", "raft"]), default="paxos", show_default=True, help="Which engine to run."
)
@click.option("--seeds", default="0:1000", show_default=True, callback=parse_seeds, help=_SEEDS_HELP)
@click.option("--nodes", type=click.IntRange(1, 9), help="Nodes in every universe. [default: drawn, mostly 3]")
@click.option(
    "--ops", "operations", type=click.IntRange(1), default=300, show_default=True, help="Operations in every universe."
)
@click.option(
    "--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, show_default="all cores", help="Processes to use."
)
@click.option("--change", "changes", multiple=True, metavar="NAME=VALUE", help="Overrule what is drawn; see below.")
@click.option(
    "--trace",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=to_write,
    help="Write what happened; one seed only.",
)
@click.option("--shrink/--no-shrink", default=True, help="Look for a smaller universe that fails. [default: shrink]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def simulate(
    mode: str,
    seeds: range,
    nodes: int | None,
    operations: int,
    jobs: int,
    changes: tuple[str, ...],
    trace: Path | None,
    shrink: bool,
    as_json: bool,
) -> None:
    """Run the engine through universes in which everything fails: network, disks, processes, clocks.

    Every seed draws a cluster, a workload and faults. Checked in each: the engine's invariants, that what clients saw
    is linearizable, and that everything comes to its end once the faults do. The same seed is the same universe, byte
    for byte. Exit code 0: all is well; 1: some universe failed, and the command that replays it was printed. The run
    ends at the tenth that fails; of the first, a smaller universe that still fails is looked for.

    \b
    Examples:
        paxoskv simulate --seeds 0:1000
        paxoskv simulate --seeds 17 --trace 17.jsonl
        paxoskv simulate --seeds 17 --change operations=40 --change faults=0,3

    --change takes any field of a universe: operations, clients, keys, nodes, loss, duplicate, straggle, turn_s,
    cache_bytes, journal_bytes, ...; faults=0,3 keeps those two of the faults drawn, faults= none.
    """
    from paxoskv.sim import run
    from paxoskv.sim.trace import Trace

    check_asserts()
    if trace is not None and len(seeds) > 1:
        raise click.UsageError("--trace writes one universe; give one seed")
    try:
        configurations = list(run.configurations(seeds, mode, nodes, operations, changes))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    started = time.monotonic()
    reports: list[run.Report] = []
    interrupted = False
    if trace is not None:
        with trace.open("w") as file:
            reports.append(run.simulate(configurations[0], Trace(lambda line: file.write(line + "\n"))))
    else:
        try:
            with _Progress(len(seeds), not as_json) as progress:
                for report in run.simulate_all(configurations, min(jobs, len(seeds))):
                    reports.append(report)
                    progress.advance(report)
                    if progress.failures >= _FAILURES_MAX:
                        break
        except KeyboardInterrupt:
            interrupted = True
    seconds = time.monotonic() - started
    failures: list[dict[str, object]] = []
    for report in reports:
        if report.failure is None:
            continue
        smaller: list[str] = []
        if shrink and trace is None and not interrupted and not failures:
            configuration = configurations[report.seed - seeds.start]
            try:
                smaller = run.shrink(configuration, report.failure.kind, lambda count: _say_shrinking(count, as_json))
            except KeyboardInterrupt:
                interrupted = True
        failures.append(
            {
                "seed": report.seed,
                "kind": report.failure.kind,
                "message": report.failure.message,
                "replay": _command(mode, report.seed, nodes, operations, [*changes]),
                "smaller": _command(mode, report.seed, nodes, operations, [*changes, *smaller]) if smaller else None,
            }
        )
    _show(reports, failures, seconds, mode, interrupted, as_json)
    raise SystemExit(1 if failures else INTERRUPTED if interrupted else 0)


class _Progress:
    """A bar on standard error, on terminals only."""

    def __init__(self, total: int, wanted: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self.failures = 0
        console = Console(stderr=True)
        self._bar = Progress(console=console, transient=True, disable=not (wanted and console.is_terminal))
        self._task = self._bar.add_task("universes", total=total)

    def __enter__(self) -> "_Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, report: object) -> None:
        """One universe is done."""
        if getattr(report, "failure", None) is not None:
            self.failures += 1
        description = f"universes, {self.failures} failed" if self.failures else "universes"
        self._bar.update(self._task, advance=1, description=description)


def _say_shrinking(count: int, as_json: bool) -> None:
    if sys.stderr.isatty() and not as_json:
        click.echo(f"\rlooking for a smaller universe that fails: {count} tried", err=True, nl=False)


def _command(mode: str, seed: int, nodes: int | None, operations: int, changes: list[str]) -> str:
    words = ["paxoskv", "simulate", "--mode", mode, "--seeds", str(seed)]
    if nodes is not None:
        words += ["--nodes", str(nodes)]
    if operations != 300:
        words += ["--ops", str(operations)]
    for change in changes:
        words += ["--change", change]
    return " ".join(words)


def _show(
    reports: "list[Report]",
    failures: list[dict[str, object]],
    seconds: float,
    mode: str,
    interrupted: bool,
    as_json: bool,
) -> None:
    outcomes: Counter[str] = Counter()
    marks: Counter[str] = Counter()
    names: set[str] = set()
    totals: Counter[str] = Counter()
    for report in reports:
        outcomes.update(report.outcomes)
        marks.update(report.marks)
        names.update(report.marks)
        totals.update(frames=report.frames, crashes=report.crashes, undecided=report.undecided, steps=report.steps)
    unreached = sorted(name for name in names if not marks[name])
    if as_json:
        click.echo(
            json.dumps(
                {
                    "version": __version__,
                    "mode": mode,
                    "universes": len(reports),
                    "seconds": round(seconds, 3),
                    "outcomes": dict(outcomes),
                    **totals,
                    "marks": dict(sorted(marks.items())),
                    "unreached": unreached,
                    "failures": failures,
                    "interrupted": interrupted,
                }
            )
        )
        return
    calls = sum(outcomes.values())
    click.echo(
        f"{len(reports):,} universes in {seconds:.1f} s ({len(reports) / seconds:.1f}/s), paxoskv {__version__}, {mode}"
    )
    if calls:
        click.echo(
            f"{calls:,} operations: "
            + ", ".join(
                f"{outcomes[name]:,} {name} ({outcomes[name] / calls:.1%})" for name in ("ok", "failed", "unknown")
            )
        )
    click.echo(f"{totals['frames']:,} frames, {totals['crashes']:,} crashes, {totals['undecided']} keys undecided")
    if reports:
        click.echo(
            "branches reached: " + ", ".join(f"{name} {count:,}" for name, count in sorted(marks.items()) if count)
        )
        click.echo("not reached: " + (", ".join(unreached) or "none"))
    for failure in failures:
        click.echo(f"\nseed {failure['seed']}: {failure['kind']}: {failure['message']}")
        click.echo(f"  replay:  {failure['replay']}")
        if failure["smaller"]:
            click.echo(f"  smaller: {failure['smaller']}")
    if interrupted:
        click.echo("interrupted; the figures are of what was done")
    elif not failures:
        click.echo("no violation, no stall")
