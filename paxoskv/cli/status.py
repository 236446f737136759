"""`paxoskv status`: how each node is doing."""

import json
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from paxoskv import sync
from paxoskv.cli import DEFINITE_ERROR
from paxoskv.cli.data import connection_options
from paxoskv.core.errors import NotReached


def _at(*path: str) -> Callable[[dict[str, Any]], object]:
    def look(status: dict[str, Any]) -> object:
        found: Any = status
        for name in path:
            found = found.get(name, "-") if isinstance(found, dict) else "-"
        return found

    return look


def _dropped(status: dict[str, Any]) -> object:
    return sum(peer.get("dropped_frames", 0) for peer in status.get("peers", {}).values())


def _peers(status: dict[str, Any]) -> object:
    return " ".join(f"{number}:{peer.get('state')}" for number, peer in status.get("peers", {}).items())


def _disk(status: dict[str, Any]) -> object:
    if status.get("storage", {}).get("disk_full"):
        return "FULL"
    return "HANGS" if status.get("engine", {}).get("disk_hangs") else "ok"


_ROWS: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("node", _at("node")),
    ("incarnation", _at("incarnation")),
    ("up for (s)", _at("uptime_s")),
    ("peers", _peers),
    ("keys", _at("keys")),
    ("cached keys", _at("cached_keys")),
    ("cached bytes", _at("cached_bytes")),
    ("operations", _at("engine", "operations")),
    ("operations in flight", _at("operations_in_flight")),
    ("operations per turn", _at("batches", "operations_per_turn")),
    ("disk", _disk),
    ("journal rows", _at("storage", "journal_rows")),
    ("commit p50 (ms)", _at("storage", "commit_p50_ms")),
    ("commit p99 (ms)", _at("storage", "commit_p99_ms")),
    ("turns per commit", _at("storage", "rows_per_commit")),
    ("bytes per commit", _at("storage", "bytes_per_commit")),
    ("preemptions", _at("engine", "preemptions")),
    ("relays sent", _at("engine", "relays_sent")),
    ("unknown outcomes", _at("engine", "unknown_outcomes")),
    ("dropped peer frames", _dropped),
]


@click.command(short_help="Show how each node is doing.")
@connection_options
def status(endpoints: str, prefer: str | None, timeout: float, as_json: bool) -> None:
    """Show, for each node, whether it is up, what it holds, how its disk does, and what it has been through.

    Exits with 3 if no node answers.
    """
    try:
        with sync.connect(endpoints, timeout=timeout) as kv:
            nodes = kv.status()
    except NotReached as error:
        if as_json:
            click.echo(json.dumps([]))
        click.echo(f"{error.code}: {error}", err=True)
        raise SystemExit(DEFINITE_ERROR) from None
    if as_json:
        click.echo(json.dumps(nodes))
    else:
        table = Table("")
        for node in nodes:
            table.add_column(str(node["address"]), justify="right")
        table.add_row("up", *["yes" if node["up"] else "[red]NO[/red]" for node in nodes])
        for name, look in _ROWS:
            table.add_row(name, *[_show(look(node)) if node["up"] else "" for node in nodes])
        Console().print(table)
        for node in nodes:
            if not node["up"]:
                click.echo(node["error"], err=True)
    if not any(node["up"] for node in nodes):
        raise SystemExit(DEFINITE_ERROR)


def _show(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
