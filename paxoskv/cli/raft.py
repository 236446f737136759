"""`paxoskv raft`: what only a cluster in raft mode can be asked."""

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from typing import Any, Final

import click

from paxoskv.cli import json_option
from paxoskv.cli.data import endpoints_option, timeout_option
from paxoskv.client.client import Client, connect
from paxoskv.client.connection import Connection
from paxoskv.core.address import Address
from paxoskv.core.errors import BadRequest, NotReached, Unavailable

_POLL_S: Final = 0.05
# A node that hangs is not waited for longer than this: the others know who leads.
_STATUS_S_MAX: Final = 1.0
# A leader gives a handover up after its election time-out; it is asked again then.
_AGAIN_S: Final = 1.0


@click.group(short_help="What only raft mode has: hand leadership over.")
def raft() -> None:
    """What only a cluster in raft mode can be asked.

    \b
    Examples:
        paxoskv raft transfer --to 2
        paxoskv status               # who leads, and how far the others are
    """


@raft.command(short_help="Have another node lead.")
@click.option("--to", "target", type=int, metavar="ID", required=True, help="The node that shall lead.")
@endpoints_option
@timeout_option
@json_option("Print one JSON object, errors too.")
def transfer(target: int, endpoints: str, timeout: float, as_json: bool) -> None:
    """Have the leader hand over to another node: it takes nothing new, lets that node catch up, and has it elected.

    Nothing is lost, and what clients ask meanwhile waits. A node that is stopped with SIGTERM hands over by itself.

    Exits with 0 when that node leads, also if it did before, and with 3 when it does not in time: the leader goes on.

    \b
    Examples:
        paxoskv raft transfer --to 2
        paxoskv raft transfer --to 2 --timeout 20 --json
    """
    began = time.monotonic()
    term = asyncio.run(_transfer(endpoints, target, timeout))
    seconds = time.monotonic() - began
    if as_json:
        click.echo(json.dumps({"leader": target, "term": term, "seconds": round(seconds, 3)}))
    else:
        click.echo(f"node {target} leads, in term {term}")


async def _transfer(endpoints: str, target: int, timeout: float) -> int:
    """Ask until it is so; the term in which it is."""
    client = connect(endpoints, timeout=timeout)
    end = time.monotonic() + timeout
    asked_at = float("-inf")
    why = "no node said that it leads"
    try:
        while (left := end - time.monotonic()) > 0:
            nodes = await _raft_nodes(client, min(left, _STATUS_S_MAX))
            leader = _leader(nodes)
            if leader is not None and leader["node"] == target:
                return int(leader["raft"]["term"])
            if leader is not None and str(target) not in leader["peers"]:
                others = ", ".join(leader["peers"])
                rest = f"the others are {others}" if others else "and there is no other"
                raise BadRequest(f"there is no node {target}; node {leader['node']} leads, {rest}")
            if leader is not None and asked_at + _AGAIN_S <= time.monotonic():
                asked_at = time.monotonic()
                why = f"node {leader['node']} leads and was asked to hand over; node {target} may be too far behind"
                try:
                    await _ask(leader["address"], target, left)
                except BadRequest as error:
                    # Another may lead by now. Whoever it is says the same of what cannot be.
                    why = str(error)
            await asyncio.sleep(_POLL_S)
    finally:
        await client.close()
    raise Unavailable(f"node {target} does not lead after {timeout:g} s: {why}")


async def _raft_nodes(client: Client, seconds: float) -> Sequence[dict[str, Any]]:
    """The status of those that answer."""
    nodes = [node for node in await client.status(timeout=seconds) if node["up"]]
    for node in nodes:
        if "raft" not in node:
            raise BadRequest(f"{node['address']} runs in {node['mode']} mode, in which nobody leads")
    return nodes


def _leader(nodes: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Whoever leads in the latest term, None if nobody does."""
    leading = [node for node in nodes if node["raft"]["role"] == "leader"]
    return max(leading, key=lambda node: node["raft"]["term"], default=None)


async def _ask(address: str, target: int, seconds: float) -> None:
    """Raises BadRequest when it refuses. That it is gone is no news: somebody else will lead."""
    host, port = Address.parse(address)
    with contextlib.suppress(TimeoutError, NotReached):
        async with asyncio.timeout(seconds):
            connection = await Connection.open(host, port, seconds, lambda connection, reason: None)
            try:
                await connection.command("raft-transfer", target)
            finally:
                connection.close()
