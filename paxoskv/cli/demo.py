"""`paxoskv demo`: see it survive."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from paxoskv import demo as demonstration
from paxoskv.check import Result, Verdict, check, write_html, write_jsonl
from paxoskv.check.sentences import quote
from paxoskv.cli import DEFINITE_ERROR, Number, check_folder, json_option, make_console
from paxoskv.cli.ending import ended_by_sigterm, run_until_sigterm
from paxoskv.core.engine import MODE_NAMES
from paxoskv.core.errors import ConfigurationError
from paxoskv.server import launcher

_SENTENCES_MAX = 10
_OUT = "paxoskv-demo"
_HISTORY_NAME = "history.jsonl"
_REPORT_NAME = "report.html"
_VERDICTS = {
    Verdict.OK: "linearizable",
    Verdict.ILLEGAL: "NOT linearizable",
    Verdict.UNKNOWN: "undecided: the search ran out of its budget",
}


@click.command(short_help="Kill a node under load, and count what is lost.")
@click.option("--nodes", type=click.IntRange(1, 9), metavar="N", default=3, show_default=True, help="Of the cluster.")
@click.option(
    "--clients", type=click.IntRange(1, 1000), metavar="N", default=24, show_default=True, help="Spread over the nodes."
)
@click.option(
    "--seconds",
    type=Number(1, 3600),
    metavar="N",
    default=12.0,
    show_default=True,
    help="Length of the load.",
)
@click.option(
    "--mode", type=click.Choice(MODE_NAMES), default="paxos", show_default=True, help="Which engine the nodes run."
)
@click.option("--base-port", type=click.IntRange(1, 65_000), metavar="PORT", help="[default: a free one]")
@click.option(
    "--seed", type=int, metavar="N", default=1, show_default=True, help="Of the operations that clients choose."
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep data and logs in this new folder.  [default: a temporary one, removed if all is well]",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for the recorded history and its report.  [default: that of --dir, or paxoskv-demo]",
)
@json_option("Print the table as one JSON object.")
def demo(
    nodes: int,
    clients: int,
    seconds: float,
    mode: str,
    base_port: int | None,
    seed: int,
    folder: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Start a cluster of real processes on real disks, write and read through all coordinators at once, kill one node
    (in raft mode the leader) with SIGKILL in the middle, start it again, read back every key through every node, and
    print a table. Every call is recorded, the history is checked for linearizability, and report.html shows it.

    Exits with 0 if every acknowledged write is there once and the history is linearizable, with 3 if not.

    \b
    Examples:
        paxoskv demo
        paxoskv demo --nodes 5 --clients 100 --seconds 30
        paxoskv demo --mode raft     # the one that is killed is the leader
    """

    def say(text: str) -> None:
        click.echo(text, err=as_json)

    out = out or folder or Path(_OUT)
    check_folder(out, "--out")
    with ended_by_sigterm(), _folder(folder) as place:
        cluster = launcher.LocalCluster(
            launcher.prepare(place, nodes, base_port or launcher.free_base_port(nodes), mode)
        )
        say(f"starting {nodes} nodes in {place}")
        cluster.start_all()
        try:
            report = run_until_sigterm(demonstration.run(cluster, clients, seconds, seed, say))
        finally:
            cluster.stop_all()
        result, page = _check(report, out, say)
        rows = [*_rows(report), *_judged(result, page)]
        if as_json:
            click.echo(json.dumps({key: value for key, _, value in rows}))
        else:
            _print(rows)
            click.echo(f"report: {page}")
        if complaints := complaints_about(report.verdict, result):
            click.echo("\n".join(complaints), err=True)
            raise SystemExit(DEFINITE_ERROR)


def complaints_about(found: demonstration.Verdict, judged: Result) -> list[str]:
    """Everything that is wrong, in sentences; none if all is well."""
    complaints = found.sentences[:_SENTENCES_MAX]
    wrong = [f"{quote(key.key)}: {key.sentence}" for key in judged.keys if key.sentence]
    complaints += wrong[:_SENTENCES_MAX]
    if not found.intact:
        complaints.append("acknowledged writes are missing or doubled")
    if judged.verdict is not Verdict.OK:
        complaints.append(f"the history is {_VERDICTS[judged.verdict]}")
    return complaints


def _check(report: demonstration.Report, out: Path, say: Callable[[str], None]) -> tuple[Result, Path]:
    """The verdict on the history, and the page that shows it."""
    history = report.ledger.history.history()
    say(f"checking {len(history):,} recorded operations")
    result = check(history)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_jsonl(out / _HISTORY_NAME, history)
        write_html(out / _REPORT_NAME, history, result, source="paxoskv demo")
    except OSError as error:
        raise ConfigurationError(f"the report cannot be written to {out}: {error.strerror}") from None
    return result, out / _REPORT_NAME


@contextlib.contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """A folder for the data; a temporary one goes unless what happens in it fails."""
    if given is not None and (given / launcher.CONFIG_NAME).exists():
        raise ConfigurationError(f"{given} holds a cluster already; give the demo a folder of its own")
    place = given or Path(tempfile.mkdtemp(prefix="paxoskv-demo-"))
    try:
        yield place
    except BaseException:
        if any(place.glob("node-*")):
            click.echo(f"the nodes' data and logs are in {place}", err=True)
        elif given is None:
            shutil.rmtree(place)
        raise
    if given is None:
        shutil.rmtree(place)


def _rows(report: demonstration.Report) -> list[tuple[str, str, object]]:
    """By JSON key, the words for people and the value."""
    ledger, verdict = report.ledger, report.verdict
    operations = sum(ledger.operations.values())
    return [
        ("nodes", "nodes", report.nodes),
        ("clients", "clients", report.clients),
        ("seconds", "seconds of load", round(report.seconds, 1)),
        ("node_killed", "node killed and started again", report.killed),
        ("restart_seconds", "seconds until it was back", round(report.restart_s, 2)),
        ("operations", "operations", operations),
        ("operations_by_kind", "", dict(sorted(ledger.operations.items()))),
        ("operations_per_second", "operations/s", round(operations / report.seconds)),
        ("p50_ms", "latency p50 (ms)", round(report.percentile_ms(0.5), 2)),
        ("p99_ms", "latency p99 (ms)", round(report.percentile_ms(0.99), 2)),
        ("longest_gap_ms", "longest gap, survivors' clients (ms)", round(report.longest_gap_s * 1000, 1)),
        ("errors", "errors", dict(sorted(ledger.errors.items()))),
        ("writes_unknown", "writes of unknown outcome", sum(map(len, ledger.unknown.values()))),
        ("writes_acknowledged", "writes acknowledged", ledger.acknowledged_writes),
        ("keys_read_back", "keys read back through every node", verdict.keys),
        ("lost", "lost", verdict.lost),
        ("applied_twice", "applied twice", verdict.applied_twice),
    ]


def _judged(result: Result, page: Path) -> list[tuple[str, str, object]]:
    return [
        ("history_operations", "operations in the history", result.operations),
        ("verdict", "its verdict", result.verdict.value),
        ("check_seconds", "seconds to check it", round(result.seconds, 2)),
        ("report", "", str(page)),
    ]


def _print(rows: list[tuple[str, str, object]]) -> None:
    table = Table(show_header=False)
    for key, name, value in rows:
        if key == "report":
            continue  # A path in a table breaks, and can be neither clicked nor copied.
        bad = (key in ("lost", "applied_twice") and value) or (key == "verdict" and value != "ok")
        shown = _VERDICTS[Verdict(value)] if key == "verdict" else _text(value)
        table.add_row(name, Text(shown, "red" if bad else ""))
    make_console().print(table)


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count:,}" for name, count in value.items()) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
