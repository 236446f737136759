"""`paxoskv verify`: a live cluster under faults, and the verdict on what its clients saw."""

import itertools
import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from paxoskv.cli import Number, check_folder, is_given, json_option, make_console
from paxoskv.cli.ending import run_until_sigterm
from paxoskv.core.engine import MODE_NAMES

if TYPE_CHECKING:
    from paxoskv.verify.run import Report

_FAULTS = ("kill", "pause", "partition", "slow-link", "disk-stall", "clock")
_KEYS_SHOWN_MAX = 3
_EXIT_CODES = {"ok": 0, "illegal": 1, "unknown": 3}


def _faults(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, ...]:
    if text == "none":
        return ()
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in _FAULTS:
            raise click.BadParameter(f"there is no fault {name!r}; there are {', '.join(_FAULTS)}, and none")
    return names


@click.command(short_help="Break a live cluster, and check what its clients saw.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="New folder for the history, the report and the summary.  [default: verify, verify-2, ...]",
)
@click.option("--nodes", type=click.IntRange(1, 9), default=3, show_default=True, help="Of the cluster.")
@click.option("--mode", type=click.Choice(MODE_NAMES), default="paxos", show_default=True, help="Which engine it runs.")
@click.option("--duration", type=Number(0.5), default=30.0, show_default=True, help="Seconds of load and faults.")
@click.option("--clients", type=click.IntRange(1, 10_000), default=24, show_default=True, help="Spread over the nodes.")
@click.option("--keys", type=click.IntRange(1, 1000), default=8, show_default=True, help="Few, so that clients meet.")
@click.option(
    "--workload",
    type=click.Choice(["mixed", "register", "counter", "append", "contended", "churn"]),
    default="mixed",
    show_default=True,
    help="What the clients do.",
)
@click.option("--faults", default=",".join(_FAULTS), show_default=True, callback=_faults, help="Or none.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of workload and faults.")
@click.option(
    "--endpoints",
    help="Verify a cluster that runs already, on keys that begin with paxoskv-verify/, without faults in its processes "
    "and links; --faults disk-stall,clock are possible where its nodes run with --fault-injection, and none are made "
    "unless they are named.",
)
@click.option("--base-port", type=click.IntRange(1, 65_000), help="Ports of the cluster.  [default: free ones]")
@click.option("--trace", is_flag=True, help="Write trace.jsonl, too: what all nodes did, for `paxoskv film`.")
@json_option("Print summary.json.")
def verify(
    out: Path | None,
    nodes: int,
    mode: str,
    duration: float,
    clients: int,
    keys: int,
    workload: str,
    faults: tuple[str, ...],
    seed: int,
    endpoints: str | None,
    base_port: int | None,
    trace: bool,
    as_json: bool,
) -> None:
    """Break a live cluster in every way, and check that what its clients saw is linearizable.

    Starts a cluster of real processes, drives all operations through all coordinators, meanwhile kills, pauses and
    cuts off nodes, slows links, stalls disks and sets clocks; heals, reads every key through every node, and checks.
    Writes history.jsonl, report.html and summary.json to --out. Exit code 0: linearizable; 1: not; 3: undecided, also
    where a node did not come back.

    \b
    Examples:
        paxoskv verify
        paxoskv verify --seed 7 --faults kill,partition --out verify-7
        paxoskv verify --endpoints 127.0.0.1:7401,127.0.0.1:7402 --faults none

    Kill is SIGKILL and a restart, pause SIGSTOP. Links between nodes go through proxies, which cut one way or both,
    with or without breaking connections, delay, and break connections now and then. The same seed draws the same
    faults and operations; real time still differs from run to run.
    """
    from paxoskv.verify.nemesis import WITHOUT_PROCESSES
    from paxoskv.verify.run import Plan
    from paxoskv.verify.run import verify as run

    if endpoints:
        for name in ("nodes", "mode", "base_port"):
            if is_given(name):
                option = f"--{name.replace('_', '-')}"
                raise click.UsageError(f"{option} is about a cluster that is started; --endpoints names one that runs")
        if not is_given("faults"):
            faults = ()
        elif impossible := [name for name in faults if name not in WITHOUT_PROCESSES]:
            raise click.UsageError(
                f"a cluster that runs already cannot be given {', '.join(impossible)}; "
                f"{', '.join(WITHOUT_PROCESSES)} can, if its nodes run with --fault-injection"
            )
        if trace:
            raise click.UsageError("a cluster that runs already writes its traces by itself: `paxoskv serve --trace`")
    out = out or _free_folder()
    check_folder(out, "another --out")
    plan = Plan(
        out,
        nodes,
        mode,
        duration,
        clients,
        keys,
        workload,
        faults,
        seed,
        endpoints.split(",") if endpoints else (),
        base_port,
        trace,
    )
    began = time.monotonic()

    def say(text: str) -> None:
        if not as_json:
            click.echo(f"{time.monotonic() - began:6.1f} s  {text}", err=True)

    report = run_until_sigterm(run(plan, say))
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        _show(report)
    raise SystemExit(_EXIT_CODES[report.verdict.value])


def _free_folder() -> Path:
    """The first of verify, verify-2, ... that there is not."""
    names = itertools.chain(["verify"], (f"verify-{number}" for number in itertools.count(2)))
    return next(path for path in map(Path, names) if not path.exists())


def _show(report: "Report") -> None:
    from rich.table import Table

    from paxoskv.check.sentences import describe, quote
    from paxoskv.verify.run import REPORT_NAME

    console = make_console()
    outcomes = sorted({outcome for counts in report.outcomes.values() for outcome in counts})
    table = Table(title="operations")
    table.add_column("kind")
    for outcome in outcomes:
        table.add_column(outcome, justify="right")
    total: Counter[str] = Counter()
    for kind, counts in sorted(report.outcomes.items()):
        total.update(counts)
        table.add_row(kind, *[f"{counts[outcome]:,}" for outcome in outcomes])
    table.add_row("all", *[f"{total[outcome]:,}" for outcome in outcomes])
    console.print(table)
    if report.availability:
        table = Table(title="longest time without a success")
        for name in ("fault", "times", "clients of other nodes", "clients of that node"):
            table.add_column(name, justify="left" if name == "fault" else "right")
        for kind, seen in sorted(report.availability.items()):
            table.add_row(kind, str(seen.incidents), f"{seen.others_gap_s * 1000:,.0f} ms", f"{seen.own_gap_s:.2f} s")
        console.print(table)
    result = report.result
    why = "the search ran out of budget" if result.answered else "no call was answered"
    words = {"ok": "linearizable", "illegal": "NOT linearizable", "unknown": f"undecided: {why}"}
    console.print(
        f"{result.operations:,} operations on {len(result.keys)} keys: [bold]{words[result.verdict.value]}[/bold] "
        f"(checked in {result.seconds:.2f} s)"
    )
    wrong = [key for key in result.keys if key.sentence]
    for key in wrong[:_KEYS_SHOWN_MAX]:
        click.echo(f"{quote(key.key)}: {key.sentence}")
        for operation in key.witness:
            click.echo(f"    {describe(operation)}")
    if len(wrong) > _KEYS_SHOWN_MAX:
        click.echo(f"and {len(wrong) - _KEYS_SHOWN_MAX} more keys, which the report shows")
    for sentence in report.unmended:
        click.echo(f"not mended, so there is no verdict: {sentence}")
    if report.unread:
        console.print(f"{report.unread} reads after the faults got no answer; see the logs of the nodes")
    click.echo(f"seed {report.plan.seed}; history and summary are in {report.plan.out}")
    click.echo(f"report: {report.plan.out / REPORT_NAME}")
