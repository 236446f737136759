"""`paxoskv simulate`: hostile universes, many of them."""

import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from paxoskv import __version__
from paxoskv.cli import INTERRUPTED, check_asserts, json_option, make_console, to_write
from paxoskv.cli.ending import ended_by_sigterm
from paxoskv.core.engine import MODE_NAMES

if TYPE_CHECKING:
    from paxoskv.sim.run import Report, Totals, Universes

_FAILURES_MAX = 10
_SEEDS_MAX = 10**9
_OUTCOMES = ("ok", "failed", "unknown")
_SEEDS_HELP = "One seed, or FIRST:LAST with LAST not included."


def parse_seeds(context: click.Context, parameter: click.Parameter, text: str) -> range:
    """The seeds of an option's value."""
    first, colon, last = text.partition(":")
    try:
        begin = int(first)
        end = int(last) if colon else begin + 1
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a number nor FIRST:LAST") from None
    if end <= begin:
        raise click.BadParameter(f"{text!r} names no seed; LAST is not included")
    if end - begin > _SEEDS_MAX:
        raise click.BadParameter(f"{text!r} names more than {_SEEDS_MAX:,} seeds")
    return range(begin, end)


@click.command(short_help="Run the engine where everything fails, many times.")
@click.option("--mode", type=click.Choice(MODE_NAMES), default="paxos", show_default=True, help="Which engine to run.")
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
@json_option("One JSON object on standard output.")
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
        paxoskv simulate --seeds 17 --change operations=40 --change faults=0,1

    --change takes any field of a universe: operations, clients, keys, nodes, loss, duplicate, straggle, turn_s,
    cache_bytes, journal_bytes, ...; faults=0,1 keeps the first two of the faults drawn, faults= none.
    """
    from paxoskv.sim import run

    check_asserts()
    if trace is not None and len(seeds) > 1:
        raise click.UsageError("--trace writes one universe; give one seed")
    universes = run.Universes(mode, nodes, operations, changes)
    started = time.monotonic()
    totals = run.Totals()
    failed: list[run.Report] = []
    smaller: list[str] = []
    interrupted = False
    try:
        with ended_by_sigterm():
            with _Progress(len(seeds), not as_json) as progress:
                for report in _reports(universes, seeds, jobs, trace):
                    totals.add(report)
                    if report.failure is not None:
                        failed.append(report)
                    progress.advance(len(failed))
                    if len(failed) >= _FAILURES_MAX:
                        break
            if shrink and trace is None and failed and failed[0].failure is not None:
                configuration = universes.configuration(failed[0].seed)
                smaller = run.shrink(
                    configuration, failed[0].failure.kind, lambda count: _say_shrinking(count, as_json)
                )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except KeyboardInterrupt:
        interrupted = True
    seconds = time.monotonic() - started
    failures: list[dict[str, object]] = [
        {
            "seed": report.seed,
            "kind": report.failure.kind,
            "message": report.failure.message,
            "replay": _command(universes, report.seed),
            "smaller": _command(universes, report.seed, smaller) if smaller and report is failed[0] else None,
        }
        for report in failed
        if report.failure is not None
    ]
    _show(totals, failures, seconds, mode, interrupted, as_json)
    raise SystemExit(1 if failures else INTERRUPTED if interrupted else 0)


def _reports(universes: "Universes", seeds: range, jobs: int, trace: Path | None) -> "Iterator[Report]":
    from paxoskv.sim import run
    from paxoskv.sim.trace import Trace

    # Before anything runs or is written: what makes no universe of the first seed is the command line's fault.
    first = universes.configuration(seeds[0])
    if trace is None:
        yield from run.simulate_all(universes, seeds, min(jobs, len(seeds)))
        return
    with trace.open("w") as file:
        yield run.simulate(first, Trace(lambda line: file.write(line + "\n")))


class _Progress:
    """A bar on standard error, on terminals only."""

    def __init__(self, total: int, wanted: bool) -> None:
        from rich.progress import Progress

        console = make_console(stderr=True)
        self._bar = Progress(console=console, transient=True, disable=not (wanted and console.is_terminal))
        self._task = self._bar.add_task("universes", total=total)

    def __enter__(self) -> "_Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, failures: int) -> None:
        """One universe is done; so many failed by now."""
        description = f"universes, {failures} failed" if failures else "universes"
        self._bar.update(self._task, advance=1, description=description)


def _say_shrinking(count: int, as_json: bool) -> None:
    if sys.stderr.isatty() and not as_json:
        click.echo(f"\rlooking for a smaller universe that fails: {count} tried", err=True, nl=False)


def _command(universes: "Universes", seed: int, smaller: Sequence[str] = ()) -> str:
    words = ["paxoskv", "simulate", "--mode", universes.mode, "--seeds", str(seed)]
    if universes.nodes is not None:
        words += ["--nodes", str(universes.nodes)]
    if universes.operations != 300:
        words += ["--ops", str(universes.operations)]
    for change in (*universes.changes, *smaller):
        words += ["--change", change]
    return shlex.join(words)


def _show(
    totals: "Totals", failures: list[dict[str, object]], seconds: float, mode: str, interrupted: bool, as_json: bool
) -> None:
    if as_json:
        click.echo(
            json.dumps(
                {
                    "version": __version__,
                    "mode": mode,
                    "universes": totals.universes,
                    "seconds": round(seconds, 3),
                    "outcomes": dict(totals.outcomes),
                    "frames": totals.frames,
                    "crashes": totals.crashes,
                    "undecided": totals.undecided,
                    "steps": totals.steps,
                    "marks": dict(sorted(totals.marks.items())),
                    "unreached": totals.unreached,
                    "failures": failures,
                    "interrupted": interrupted,
                }
            )
        )
        return
    outcomes = totals.outcomes
    calls = sum(outcomes.values())
    click.echo(
        f"{totals.universes:,} universes in {seconds:.1f} s ({totals.universes / seconds:.1f}/s), "
        f"paxoskv {__version__}, {mode}"
    )
    if calls:
        click.echo(
            f"{calls:,} operations: "
            + ", ".join(f"{outcomes[name]:,} {name} ({outcomes[name] / calls:.1%})" for name in _OUTCOMES)
        )
    click.echo(f"{totals.frames:,} frames, {totals.crashes:,} crashes, {totals.undecided} keys undecided")
    if totals.universes:
        reached = ", ".join(f"{name} {count:,}" for name, count in sorted(totals.marks.items()) if count)
        click.echo(f"branches reached: {reached}")
        click.echo("not reached: " + (", ".join(totals.unreached) or "none"))
    for failure in failures:
        click.echo(f"\nseed {failure['seed']}: {failure['kind']}: {failure['message']}")
        click.echo(f"  replay:  {failure['replay']}")
        if failure["smaller"]:
            click.echo(f"  smaller: {failure['smaller']}")
    if interrupted:
        click.echo("interrupted; the figures are of what was done")
    elif not failures:
        click.echo("no violation, no stall")
