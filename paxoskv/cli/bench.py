"""`paxoskv bench`: a load generator."""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import json
import multiprocessing
import secrets
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from paxoskv import sync
from paxoskv.cli import DEFINITE_ERROR
from paxoskv.cli.data import DEFAULT_ENDPOINTS
from paxoskv.load.generator import Generator, Outcome, Plan
from paxoskv.server.run import run_with_best_loop

_PROGRESS_S = 0.25


@click.command(short_help="Put load on a cluster, and measure.")
@click.option(
    "--endpoints", default=DEFAULT_ENDPOINTS, envvar="PAXOSKV_ENDPOINTS", show_default=True, help="Client addresses."
)
@click.option(
    "--clients",
    type=click.IntRange(1, 100_000),
    default=256,
    show_default=True,
    help="Each has one operation in flight.",
)
@click.option(
    "--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="To divide the clients over."
)
@click.option("--duration", type=click.FloatRange(0.1), default=10.0, show_default=True, help="Seconds.")
@click.option("--warmup", type=click.FloatRange(0), default=0.0, show_default=True, help="Seconds that do not count.")
@click.option("--keys", type=click.IntRange(1), default=10_000, show_default=True)
@click.option("--value-size", type=click.IntRange(0), default=64, show_default=True, help="Bytes.")
@click.option("--read-ratio", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Share of gets.")
@click.option("--distribution", type=click.Choice(["uniform", "zipf", "one-key"]), default="uniform", show_default=True)
@click.option("--op", type=click.Choice(["put", "incr"]), default="put", show_default=True)
@click.option(
    "--route",
    type=click.Choice(["key", "any"]),
    help="key: each key through the node that its hash chooses, as the client library does. any: each client through "
    "one node, whatever the key.  [default: key; any with one-key]",
)
@click.option(
    "--rate",
    type=click.FloatRange(0),
    default=0.0,
    help="Operations per second, sent when they are due whether earlier ones were answered or not; latency counts from "
    "then.  [default: closed loop]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of keys and operations.")
@click.option("--prefix", default="bench/", show_default=True, help="Of the keys.")
@click.option(
    "--load/--no-load",
    default=True,
    help="Write every key once before measuring. Without, and with a fresh --prefix, writes are first touches, which "
    "take one round trip more.  [default: load]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench(processes: int, route: str | None, as_json: bool, endpoints: str, warmup: float, **given: Any) -> None:
    """Put load on a running cluster, and print throughput, latency and errors.

    \b
        paxoskv bench                                        256 clients write for 10 s
        paxoskv bench --read-ratio 1                         they read
        paxoskv bench --clients 96 --op incr --distribution one-key
                                                             one hot key through all nodes, and its final value checked
        paxoskv bench --rate 20000                           latency at 20,000 operations a second

    Latency is that of successful operations. With --op incr and one key the final value is compared with what was
    acknowledged, and the exit code is 3 if they do not fit.
    """
    plan = Plan(
        endpoints.split(","),
        given["clients"],
        given["duration"],
        warmup,
        given["keys"],
        given["value_size"],
        given["read_ratio"],
        given["distribution"],
        given["op"],
        route or ("any" if given["distribution"] == "one-key" else "key"),
        given["rate"],
        given["seed"],
        given["prefix"],
        given["load"],
    )
    counted = plan.op == "incr" and plan.distribution == "one-key"
    if counted:
        # A key of its own, so that nobody else's increments are in the count.
        plan = dataclasses.replace(plan, prefix=f"{plan.prefix}{secrets.token_hex(4)}/")
    console = Console(stderr=True)
    outcome = _one(plan, console) if processes == 1 else _several(plan, processes)
    result = outcome.to_json()
    result |= {"clients": plan.clients, "processes": processes, "route": plan.route}
    if counted:
        result["counter"] = _count(plan, outcome)
    if as_json:
        click.echo(json.dumps(result))
    else:
        _table(result)
    if counted and not result["counter"]["correct"]:
        raise SystemExit(DEFINITE_ERROR)


def _one(plan: Plan, console: Console) -> Outcome:
    outcome = Outcome()

    async def main() -> int:
        nonlocal outcome
        generator = Generator(plan)
        outcome = generator.outcome
        showing = asyncio.create_task(_show(generator, console)) if console.is_terminal else None
        try:
            await generator.run()
        finally:
            if showing is not None:
                showing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await showing
        return 0

    with contextlib.suppress(KeyboardInterrupt):  # What was measured so far is worth printing.
        run_with_best_loop(main)
    return outcome


async def _show(generator: Generator, console: Console) -> None:
    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        total = generator.plan.warmup_s + generator.plan.duration_s
        bar = progress.add_task("", total=total)
        before = 0
        while True:
            await asyncio.sleep(_PROGRESS_S)
            done = generator.outcome.histogram.total
            speed = (done - before) / _PROGRESS_S
            before = done
            progress.update(bar, advance=_PROGRESS_S, description=f"{speed:,.0f} operations/s")


def _part(plan: Plan) -> Outcome:
    """One process's part; the whole thing runs in a process of its own."""
    return _one(plan, Console(stderr=True, force_terminal=False))


def _several(plan: Plan, processes: int) -> Outcome:
    if plan.load:
        run_with_best_loop(lambda: _load(plan))
    parts = []
    for index in range(processes):
        clients = plan.clients // processes + (index < plan.clients % processes)
        if clients:
            parts.append(
                dataclasses.replace(
                    plan, clients=clients, rate=plan.rate / processes, seed=plan.seed * 1000 + index, load=False
                )
            )
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(len(parts), mp_context=context) as pool:
        outcomes = list(pool.map(_part, parts))
    merged = outcomes[0]
    for other in outcomes[1:]:
        merged.merge(other)
    return merged


async def _load(plan: Plan) -> int:
    await Generator(plan).load()
    return 0


def _count(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    with sync.connect(plan.endpoints, timeout=10) as kv:
        final = int(kv.get(f"{plan.prefix}0").value or 0)
    most = outcome.acknowledged_increments + outcome.unknown_increments
    return {
        "final": final,
        "acknowledged": outcome.acknowledged_increments,
        "unknown": outcome.unknown_increments,
        "correct": outcome.acknowledged_increments <= final <= most,
    }


def _table(result: dict[str, Any]) -> None:
    table = Table(show_header=False)
    for name, value in result.items():
        if isinstance(value, dict):
            text = ", ".join(f"{key}: {count:,}" for key, count in value.items()) or "none"
        else:
            text = f"{value:,}" if isinstance(value, int | float) else str(value)
        table.add_row(name, text)
    Console().print(table)
