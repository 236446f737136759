"""`paxoskv serve`: run one node."""

import os
import signal
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from paxoskv.cli import check_asserts, json_option
from paxoskv.net import loops
from paxoskv.paxos.ballot import STEP_MAX
from paxoskv.server import config
from paxoskv.server.logs import LEVELS
from paxoskv.server.signals import ending_signals

# Of a size or a number, past which it is none that anybody means.
_DIGITS_MAX = 15
_SIZES = {"k": 1024, "m": 1024**2, "g": 1024**3}


class Size(click.ParamType[int]):
    """Bytes, with an optional suffix k, m or g (KiB, MiB, GiB)."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).lower().removesuffix("b").removesuffix("i")
        factor = _SIZES.get(text[-1:], 1)
        digits = text[:-1] if factor > 1 else text
        if not digits.isdecimal() or len(digits) > _DIGITS_MAX or int(digits) == 0:
            self.fail(f"{value!r} is no size; give bytes, or 64k, 256m, 2g", param, ctx)
        return int(digits) * factor


@click.command(short_help="Run one node of a cluster.")
@click.option(
    "--config",
    "config_path",
    required=True,
    envvar="PAXOSKV_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The cluster.toml that all nodes share.",
)
@click.option(
    "--node", type=int, metavar="ID", required=True, envvar="PAXOSKV_NODE", help="Which of its nodes this process is."
)
@click.option(
    "--data", envvar="PAXOSKV_DATA", metavar="DIR", help="Folder of this node's data.  [default: as in cluster.toml]"
)
@click.option(
    "--listen-client", envvar="PAXOSKV_LISTEN_CLIENT", metavar="HOST:PORT", help="Where to listen for clients."
)
@click.option("--listen-peer", envvar="PAXOSKV_LISTEN_PEER", metavar="HOST:PORT", help="Where to listen for peers.")
@click.option(
    "--advertise-client",
    envvar="PAXOSKV_ADVERTISE_CLIENT",
    metavar="HOST:PORT",
    help="Where clients reach this node, as it says of itself; put it into the other nodes' cluster.toml, too.",
)
@click.option(
    "--advertise-peer",
    envvar="PAXOSKV_ADVERTISE_PEER",
    metavar="HOST:PORT",
    help="The same for peers. They dial what their own cluster.toml says; this is for log and status.",
)
@click.option(
    "--cache-bytes",
    type=Size(),
    default="256m",
    show_default=True,
    envvar="PAXOSKV_CACHE_BYTES",
    help="Memory for records; the rest is read back from disk.",
)
@click.option(
    "--journal-bytes",
    type=Size(),
    default="32m",
    show_default=True,
    envvar="PAXOSKV_JOURNAL_BYTES",
    help="Journal size that starts a checkpoint; also bounds the time to start.",
)
@click.option(
    "--operations-max",
    # Each may need two of the steps that a ballot has, and operations of one key come from all nodes.
    type=click.IntRange(1, STEP_MAX // 8),
    metavar="N",
    default=65_536,
    show_default=True,
    envvar="PAXOSKV_OPERATIONS_MAX",
    help="Operations in flight past which new ones are refused as overloaded.",
)
@click.option(
    "--log-level",
    type=click.Choice(LEVELS),
    default="info",
    show_default=True,
    envvar="PAXOSKV_LOG_LEVEL",
    help="What is logged, and everything that weighs more.",
)
@click.option(
    "--fault-injection",
    is_flag=True,
    envvar="PAXOSKV_FAULT_INJECTION",
    help="Let any client make this node's disk hang and its clock jump, for tests. Never in production.",
)
@click.option(
    "--lease-reads",
    is_flag=True,
    envvar="PAXOSKV_LEASE_READS",
    help="Raft mode: a leader that a majority has just answered reads without asking again. Give it to all nodes; it "
    "needs clocks whose speeds differ by less than 10 %, others may read what is old.",
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    envvar="PAXOSKV_TRACE",
    help="Write what happens, for `paxoskv film`: to a file, or to node-ID.jsonl in a folder.",
)
@click.option(
    "--trace-bytes",
    type=Size(),
    default="16m",
    show_default=True,
    envvar="PAXOSKV_TRACE_BYTES",
    help="Size of the trace; past half of it the older half moves to a file beside it, over the one before.",
)
@click.option("--stop-with-stdin", is_flag=True, hidden=True, help="Stop when standard input ends.")
@json_option("Report an error as one JSON object.")
def serve(
    config_path: Path,
    node: int,
    data: str | None,
    listen_client: str | None,
    listen_peer: str | None,
    advertise_client: str | None,
    advertise_peer: str | None,
    cache_bytes: int,
    journal_bytes: int,
    operations_max: int,
    log_level: str,
    fault_injection: bool,
    lease_reads: bool,
    trace: Path | None,
    trace_bytes: int,
    stop_with_stdin: bool,
    as_json: bool,
) -> None:
    """Run one node of a cluster in the foreground, until SIGTERM or Ctrl-C.

    All nodes read the same cluster.toml; `paxoskv cluster` writes one to begin with.

    \b
    Examples:
        paxoskv serve --config cluster.toml --node 2
        PAXOSKV_CONFIG=cluster.toml PAXOSKV_NODE=2 paxoskv serve

    Every option can be given as an environment variable: --cache-bytes 1g as PAXOSKV_CACHE_BYTES=1g.

    SIGTERM finishes what is in flight and exits with 0; a node that is still starting just ends, with 0 as well. A
    failed commit ends the process with 70, and it is safe to start it again.
    """
    # Until the node looks after signals itself: nothing has begun that would have to be ended.
    for number in ending_signals():
        signal.signal(number, _leave)
    check_asserts()
    # It takes a while to load.
    from paxoskv.server import run

    given = {
        "data": data,
        "listen_client": listen_client,
        "listen_peer": listen_peer,
        "client": advertise_client,
        "peer": advertise_peer,
    }
    options = config.Options(
        cache_bytes,
        journal_bytes,
        operations_max,
        log_level,
        fault_injection,
        {name: value for name, value in given.items() if value is not None},
        stop_with_stdin,
        lease_reads,
        trace,
        trace_bytes,
    )
    code = loops.run(lambda: run.serve(config.load(config_path), node, options))
    raise SystemExit(code)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    # Not SystemExit: whatever is being loaded would be told, and not everything hands on what it is told. Raised in a
    # callback of a weak reference, of which the import system has many, it is gone, and the node would start and stay.
    os._exit(0)
