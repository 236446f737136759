"""`paxoskv status`: how each node is doing."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from paxoskv.cli import DEFINITE_ERROR, json_option, make_console
from paxoskv.cli.data import endpoints_option, timeout_option
from paxoskv.client.client import connect

Status = dict[str, Any]


def _at(*path: str) -> Callable[[Status], object]:
    def look(status: Status) -> object:
        found: Any = status
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        return found

    return look


def _dropped(status: Status) -> object:
    return sum(peer.get("dropped_frames", 0) for peer in status.get("peers", {}).values())


def _peers(status: Status) -> object:
    return " ".join(f"{number}:{peer.get('state')}" for number, peer in status.get("peers", {}).items())


_ROWS: list[tuple[str, Callable[[Status], object]]] = [
    ("node", _at("node")),
    ("incarnation", _at("incarnation")),
    ("build", _at("build")),
    ("up for (s)", _at("uptime_s")),
    ("peers", _peers),
    ("keys", _at("keys")),
    ("cached keys", _at("cached_keys")),
    ("cached bytes", _at("cached_bytes")),
    ("operations", _at("engine", "operations")),
    ("operations in flight", _at("operations_in_flight")),
    ("operations per turn", _at("batches", "operations_per_turn")),
    ("disk", _at("disk")),
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


def _match(status: Status) -> object:
    """How far each follower's log is the leader's, durably. Only the leader knows."""
    followers = status.get("raft", {}).get("followers", {})
    return " ".join(f"{number}:{follower.get('match')}" for number, follower in followers.items()) or None


# After the node's name, in raft mode.
_RAFT_ROWS: list[tuple[str, Callable[[Status], object]]] = [
    ("role", _at("raft", "role")),
    ("term", _at("raft", "term")),
    ("leader", lambda status: status.get("raft", {}).get("leader") or "none known"),
    ("commit index", _at("raft", "commit_index")),
    ("applied index", _at("raft", "applied_index")),
    ("match index", _match),
]
_NAME_WIDTH = max(len(name) for name, _ in [*_ROWS, *_RAFT_ROWS])


@click.command(short_help="Show how each node is doing.")
@endpoints_option
@timeout_option
@json_option("Print a JSON array of one object for each node.")
def status(endpoints: str, timeout: float, as_json: bool) -> None:
    """Show, for each node, whether it is up, what it holds, how its disk does, and what it has been through.

    In raft mode also its role, its term and whom it takes for the leader, how far its log is committed and applied, and
    for the leader how far each follower's log is the same.

    Exits with 3 if no node answers.

    \b
    Examples:
        paxoskv status
        paxoskv status --timeout 1        # if a node hangs
        paxoskv status --json | jq '.[].keys'
    """
    nodes = asyncio.run(_ask(endpoints, timeout))
    if as_json:
        click.echo(json.dumps(nodes))
    else:
        console = make_console()
        for part in _parts(nodes, console.width):
            console.print(_table(part))
        for node in nodes:
            if not node["up"]:
                click.echo(f"down: {node['error']}", err=True)
    if not any(node["up"] for node in nodes):
        raise SystemExit(DEFINITE_ERROR)


async def _ask(endpoints: str, timeout: float) -> list[Status]:
    client = connect(endpoints, timeout=timeout)
    try:
        return await client.status()
    finally:
        await client.close()


def _parts(nodes: Sequence[Status], width: int) -> list[Sequence[Status]]:
    """As many nodes as fit side by side, for as many tables as that takes."""
    cells = [[str(node["address"]), str(_peers(node)), str(_match(node) or "")] for node in nodes]
    column = max(max(map(len, texts)) for texts in cells) + len("│  ")
    count = max(1, (width - _NAME_WIDTH - len("│  │")) // column)
    return [nodes[start : start + count] for start in range(0, len(nodes), count)]


def _table(nodes: Sequence[Status]) -> Table:
    table = Table("")
    for node in nodes:
        table.add_column(Text(str(node["address"])), justify="right")
    table.add_row("up", *[Text("yes") if node["up"] else Text("NO", "red") for node in nodes])
    raft = any("raft" in node for node in nodes)
    for name, look in [_ROWS[0], *(_RAFT_ROWS if raft else ()), *_ROWS[1:]]:
        table.add_row(name, *[Text(_show(look(node)) if node["up"] else "") for node in nodes])
    return table


def _show(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int | float) else str(value)
