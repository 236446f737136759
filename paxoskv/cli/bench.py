"""`paxoskv bench`: a load generator."""

import contextlib
import dataclasses
import json
import secrets
import time
from collections.abc import Iterator
from typing import Any, Final

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from paxoskv import sync
from paxoskv.cli import DEFINITE_ERROR, Number, json_option, make_console
from paxoskv.cli.data import endpoints_option
from paxoskv.client.endpoints import parse_endpoints
from paxoskv.core.errors import PaxosKVError
from paxoskv.load.plan import Outcome, Plan
from paxoskv.load.processes import Show
from paxoskv.load.processes import run as run_load

# As in YCSB's workload E: the share of scans among the operations, and how many keys the longest wants.
_SCANS: Final = 0.95
_SCAN_LENGTH: Final = 100


@click.command(short_help="Put load on a cluster, and measure.")
@endpoints_option
@click.option(
    "--clients",
    type=click.IntRange(1, 100_000),
    metavar="N",
    default=256,
    show_default=True,
    help="Each has one operation in flight. Not with --rate.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    metavar="N",
    default=1,
    show_default=True,
    help="To divide the clients, or the rate, over.",
)
@click.option(
    "--duration",
    type=Number(0.1),
    metavar="SECONDS",
    default=10.0,
    show_default=True,
    help="How long to measure.",
)
@click.option(
    "--warmup",
    type=Number(0),
    metavar="SECONDS",
    default=0.0,
    show_default=True,
    help="Load before that, not measured.",
)
@click.option(
    "--timeout",
    type=Number(0.01, 3600),
    metavar="SECONDS",
    default=5.0,
    show_default=True,
    help="When to give an operation up.",
)
@click.option(
    "--keys", type=click.IntRange(1), metavar="N", default=10_000, show_default=True, help="How many different ones."
)
@click.option("--value-size", type=click.IntRange(0), metavar="BYTES", default=64, show_default=True, help="Of puts.")
@click.option(
    "--read-ratio",
    type=Number(0, 1),
    metavar="SHARE",
    help="Of gets among the operations, or of scans with --op scan, 0 to 1.  [default: 0; 0.95 with --op scan]",
)
@click.option(
    "--distribution",
    type=click.Choice(["uniform", "zipf", "latest", "one-key", "sequential"]),
    default="uniform",
    show_default=True,
    help="Of operations over keys. sequential: every key once before any twice. latest: writes insert new keys, reads "
    "prefer the newest, as zipf prefers some.",
)
@click.option(
    "--op",
    type=click.Choice(["put", "incr", "rmw", "scan"]),
    default="put",
    show_default=True,
    help="What is not a get. rmw: a get, and a put on the condition that nobody wrote meanwhile, again until it holds. "
    "scan: no gets, but scans, keys with their values in order from a drawn key on; what is no scan inserts a new key.",
)
@click.option(
    "--scan-length",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="With --op scan: each wants from 1 to N keys, uniformly, fewer where the --prefix ends.  [default: 100]",
)
@click.option(
    "--route",
    type=click.Choice(["key", "any"]),
    help="key: as the client library does, each key through the node that its hash chooses, and in raft mode writes "
    "through the leader. any: each client through one node, whatever the key, until that refuses.  "
    "[default: key; any with one-key]",
)
@click.option(
    "--rate",
    type=Number(0),
    metavar="N",
    default=0.0,
    help="Operations a second, sent when they are due whether earlier ones were answered or not; latency counts from "
    "then.  [default: each client sends when it was answered]",
)
@click.option("--seed", type=int, metavar="N", default=0, show_default=True, help="Of keys and operations.")
@click.option("--prefix", default="bench/", metavar="TEXT", show_default=True, help="Of the keys.")
@click.option(
    "--load/--no-load",
    default=True,
    help="Write every key once before measuring. Without, and with a fresh --prefix, writes are first touches: "
    "one round trip at a key's home, two elsewhere.  [default: load]",
)
@click.option(
    "--timeline",
    is_flag=True,
    help="With --json: also when the measurement began, what was answered in every 10 ms, and each client's longest "
    "gap. Standard error says 'measuring' when the load begins, for who wants to break something meanwhile.",
)
@json_option("Print one JSON object, errors too.")
def bench(
    endpoints: str,
    clients: int,
    processes: int,
    duration: float,
    warmup: float,
    timeout: float,
    keys: int,
    value_size: int,
    read_ratio: float | None,
    distribution: str,
    op: str,
    scan_length: int | None,
    route: str | None,
    rate: float,
    seed: int,
    prefix: str,
    load: bool,
    timeline: bool,
    as_json: bool,
) -> None:
    """Put load on a running cluster, and print throughput, latency and errors. Ctrl-C ends it early.

    \b
    Examples:
        paxoskv bench                            # 256 clients write for 10 s
        paxoskv bench --read-ratio 0.9           # mostly reads
        paxoskv bench --rate 20000               # latency at 20,000 a second
        paxoskv bench --clients 96 --op incr --distribution one-key
                                                 # a hot key through all nodes
        paxoskv bench --op scan --distribution zipf --value-size 1000
                                                 # YCSB's workload E

    Latency is that of operations that succeeded. Exits with 3 if none did. Increments of one key are counted: if its
    final value does not fit what was acknowledged, the exit code is 3 as well.

    The keys are overwritten: they all begin with --prefix.
    """
    if op != "scan" and scan_length is not None:
        raise click.UsageError("--scan-length says how long scans are; add --op scan")
    if op == "scan" and read_ratio == 0:
        raise click.UsageError("--op scan with --read-ratio 0 makes no scan at all: the ratio is that of scans")
    if op == "scan" and distribution == "one-key":
        raise click.UsageError("--op scan reads many keys, and --distribution one-key has one; take another one")
    plan = Plan(
        endpoints=list(map(str, parse_endpoints(endpoints))),
        clients=clients,
        duration_s=duration,
        warmup_s=warmup,
        keys=keys,
        value_size=value_size,
        read_ratio=(_SCANS if op == "scan" else 0.0) if read_ratio is None else read_ratio,
        distribution=distribution,
        op=op,
        scan_length=scan_length or _SCAN_LENGTH,
        route=route or ("any" if distribution == "one-key" else "key"),
        rate=rate,
        seed=seed,
        prefix=prefix,
        load=load,
        timeout_s=timeout,
        timeline=timeline,
    )
    counted = plan.op == "incr" and plan.distribution == "one-key"
    if counted:
        # A key of its own, so that nobody else's increments are in the count.
        plan = dataclasses.replace(plan, prefix=f"{plan.prefix}{secrets.token_hex(4)}/")
    if not plan.rate:
        processes = min(processes, plan.clients)  # None may have nobody to work for.
    outcome = _run(plan, processes)
    result = outcome.to_json() | {"clients": plan.clients, "processes": processes, "route": plan.route}
    if counted:
        result["counter"] = _count(plan, outcome)
    if as_json:
        click.echo(json.dumps(result))
    else:
        _print(plan, processes, result)
    if not outcome.histogram.total:
        click.echo("no operation succeeded", err=True)
    if not outcome.histogram.total or (counted and not result["counter"]["correct"]):
        raise SystemExit(DEFINITE_ERROR)


def _run(plan: Plan, processes: int) -> Outcome:
    with _progress(plan) as show:
        return run_load(plan, processes, show)


@contextlib.contextmanager
def _progress(plan: Plan) -> Iterator[Show]:
    """A bar on standard error, on terminals only; with a timeline, a word there when the load has begun."""
    console = make_console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("starting", total=plan.warmup_s + plan.duration_s)
        before = (time.monotonic(), 0)
        begun = False

        def show(operations: int) -> None:
            nonlocal before, begun
            now = time.monotonic()
            if begun:
                speed = (operations - before[1]) / (now - before[0])
                text = f"{speed:,.0f} operations/s" if operations else "warming up"
                progress.update(bar, advance=now - before[0], description=text)
            elif plan.timeline:
                click.echo("measuring", err=True)
            begun = True
            before = (now, operations)

        yield show


def _count(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    least, most = outcome.acknowledged_increments, outcome.acknowledged_increments + outcome.unknown_increments
    counter: dict[str, Any] = {"acknowledged": least, "unknown": outcome.unknown_increments}
    try:
        with sync.connect(plan.endpoints, timeout=10) as kv:
            final = int(kv.get(f"{plan.prefix}0").value or 0)
    except PaxosKVError as error:  # What was measured is worth more than this.
        return counter | {"final": None, "correct": False, "error": str(error)}
    return counter | {"final": final, "correct": least <= final <= most}


def _print(plan: Plan, processes: int, result: dict[str, Any]) -> None:
    operations = result["operations"]
    who = f"{plan.rate:,.0f} a second" if plan.rate else f"{plan.clients:,} clients"
    written, read = ("inserts", "scans") if plan.op == "scan" else (f"{plan.op}s", "gets")
    what = read if plan.read_ratio == 1 else written
    if 0 < plan.read_ratio < 1:
        what += f" and {plan.read_ratio:.0%} {read}"
    keys = "one key" if plan.distribution == "one-key" else f"{plan.keys:,} keys, {plan.distribution}"
    table = Table(show_header=False)
    table.add_row("load", f"{who}, {processes} process{'es' * (processes > 1)}: {what}, {keys}")
    table.add_row("operations", f"{operations:,} in {result['duration_s']:,.1f} s")
    table.add_row("operations/s", f"{result['ops_per_s']:,.0f}")
    if "keys_per_scan" in result:
        table.add_row("keys per scan", f"{result['keys_per_scan']:,.1f}")
    for name, key in (("p50", "p50_ms"), ("p90", "p90_ms"), ("p99", "p99_ms"), ("p99.9", "p999_ms"), ("max", "max_ms")):
        table.add_row(f"latency {name} (ms)", f"{result[key]:,.2f}")
    table.add_row("longest gap (ms)", f"{result['longest_gap_ms']:,.2f}")
    errors = ", ".join(f"{name} {count:,}" for name, count in result["errors"].items())
    table.add_row("errors", Text(errors, "red") if errors else Text("none"))
    for address, count in result["coordinators"].items():
        table.add_row(f"through {address}", f"{count:,} ({count / operations:.0%})")
    if counter := result.get("counter"):
        final = counter.get("error") or f"{counter['final']:,}"
        text = Text(f"{final}; {counter['acknowledged']:,} acknowledged, {counter['unknown']:,} unknown: ")
        table.add_row("final value", text + (Text("correct") if counter["correct"] else Text("WRONG", "red")))
    make_console().print(table)
