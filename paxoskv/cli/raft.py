"""`paxoskv raft`: what only a cluster in raft mode can be asked."""

import asyncio
import json
import time

import click

from paxoskv.cli import json_option
from paxoskv.cli.data import endpoints_option, timeout_option
from paxoskv.client.leadership import transfer_to


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
    term = asyncio.run(transfer_to(target, endpoints, timeout))
    seconds = time.monotonic() - began
    if as_json:
        click.echo(json.dumps({"leader": target, "term": term, "seconds": round(seconds, 3)}))
    else:
        click.echo(f"node {target} leads, in term {term}")
