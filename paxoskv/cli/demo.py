"""`paxoskv demo`: see it survive."""

import asyncio
import json
import shutil
import signal
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from paxoskv import demo as demonstration
from paxoskv.server import launcher


@click.command(short_help="Three nodes, a mixed load, one node killed: count what is lost.")
@click.option("--nodes", type=click.IntRange(1, 9), default=3, show_default=True)
@click.option("--clients", type=click.IntRange(1, 1000), default=24, show_default=True)
@click.option("--seconds", type=click.FloatRange(1, 3600), default=12.0, show_default=True, help="Length of the load.")
@click.option("--base-port", type=click.IntRange(1, 65000), default=17400, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the operations that clients choose.")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), help="Keep the data here.  [default: a temporary one]"
)
@click.option("--json", "as_json", is_flag=True, help="Print the table as one JSON object.")
def demo(
    nodes: int, clients: int, seconds: float, base_port: int, seed: int, folder: Path | None, as_json: bool
) -> None:
    """Start a cluster of real processes, write and read through all coordinators at once, kill one node with SIGKILL in
    the middle, start it again, read back every key, and print a table.

    Exits with 0 if every acknowledged write is there, with 3 if not.
    """
    console = Console(stderr=as_json)
    temporary = None if folder else Path(tempfile.mkdtemp(prefix="paxoskv-demo-"))
    place = folder or temporary
    assert place is not None
    cluster = launcher.LocalCluster(launcher.prepare(place, nodes, base_port, "paxos"))

    def interrupted(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)
    kept = folder is not None
    try:
        console.print(f"starting {nodes} nodes in {place}")
        cluster.start_all()
        report = asyncio.run(demonstration.run(cluster, clients, seconds, seed, console.print))
        kept = kept or bool(report.verdict.lost or report.verdict.applied_twice)
    except BaseException:
        kept = True
        console.print(f"the data and the nodes' logs are in {place}")
        raise
    finally:
        cluster.stop_all()
        if not kept and temporary is not None:
            shutil.rmtree(temporary)
    rows = _rows(report)
    if as_json:
        click.echo(json.dumps(dict(rows)))
    else:
        table = Table(show_header=False)
        for name, value in rows:
            table.add_row(name.replace("_", " "), _text(value))
        console.print(table)
    for sentence in report.verdict.sentences[:10]:
        click.echo(sentence, err=True)
    if report.verdict.lost or report.verdict.applied_twice:
        click.echo(f"acknowledged writes are missing or doubled; the data is kept in {place}", err=True)
        raise SystemExit(3)


def _rows(report: demonstration.Report) -> list[tuple[str, object]]:
    ledger, verdict = report.ledger, report.verdict
    operations = sum(ledger.operations.values())
    return [
        ("nodes", report.nodes),
        ("clients", report.clients),
        ("seconds", round(report.seconds, 1)),
        ("node_killed_and_restarted", report.killed),
        ("operations", operations),
        ("operations_by_kind", dict(sorted(ledger.operations.items()))),
        ("operations_per_second", round(operations / report.seconds)),
        ("p50_ms", round(report.percentile_ms(0.5), 2)),
        ("p99_ms", round(report.percentile_ms(0.99), 2)),
        ("restart_seconds", round(report.restart_s, 2)),
        ("longest_gap_of_a_surviving_node's_client_ms", round(report.longest_gap_s * 1000, 1)),
        ("errors", dict(sorted(ledger.errors.items()))),
        ("keys_read_back_through_every_node", verdict.keys),
        ("writes_acknowledged", ledger.acknowledged_writes),
        ("writes_of_unknown_outcome", sum(map(len, ledger.unknown.values()))),
        ("lost", verdict.lost),
        ("applied_twice", verdict.applied_twice),
    ]


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count:,}" for name, count in value.items()) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
