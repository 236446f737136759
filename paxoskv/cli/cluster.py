"""`paxoskv cluster`: a whole cluster on this machine."""

import json
import os
import signal
import time
from pathlib import Path
from types import FrameType

import click

from paxoskv.cli import how_to_call, json_option
from paxoskv.cli.serve import Size
from paxoskv.core.engine import MODE_NAMES
from paxoskv.core.errors import ConfigurationError
from paxoskv.server import launcher

_POLL_S = 0.1


@click.command(short_help="Start a cluster of node processes on this machine.")
@click.option(
    "--nodes",
    type=click.IntRange(1, 9),
    metavar="N",
    envvar="PAXOSKV_NODES",
    help="How many.  [default: 3, or as DIR has it]",
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    required=True,
    envvar="PAXOSKV_DIR",
    help="Folder for data, logs and cluster.toml; made if it does not exist.",
)
@click.option(
    "--base-port",
    type=click.IntRange(1, 65_000),
    metavar="PORT",
    envvar="PAXOSKV_BASE_PORT",
    help="Node i listens for clients on PORT+i and for peers on PORT+100+i.  [default: 7400, or as DIR has it]",
)
@click.option("--mode", type=click.Choice(MODE_NAMES), envvar="PAXOSKV_MODE", help="[default: paxos]")
@click.option("--cache-bytes", type=Size(), envvar="PAXOSKV_CACHE_BYTES", help="As for `paxoskv serve`.")
@click.option("--fault-injection", is_flag=True, envvar="PAXOSKV_FAULT_INJECTION", help="As for `paxoskv serve`.")
@click.option(
    "--trace",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    envvar="PAXOSKV_TRACE",
    help="Write what happens to DIR/node-N.jsonl, for `paxoskv film DIR/*.jsonl`.",
)
@json_option("Print one JSON object a line.")
def cluster(
    nodes: int | None,
    folder: Path,
    base_port: int | None,
    mode: str | None,
    cache_bytes: int | None,
    fault_injection: bool,
    trace: Path | None,
    as_json: bool,
) -> None:
    """Start a cluster of real node processes on loopback, in the foreground. Ctrl-C stops all of them.

    \b
    Examples:
        paxoskv cluster --nodes 3 --dir ./data
        paxoskv cluster --dir ./data     # the same cluster again, with its data

    The configuration is written to DIR/cluster.toml, each node's log to DIR/node-N.log. Every option can be given as an
    environment variable, --base-port 8400 as PAXOSKV_BASE_PORT=8400, and so can others of `paxoskv serve`.
    """
    options = ["--fault-injection"] if fault_injection else []
    if cache_bytes is not None:
        options += ["--cache-bytes", str(cache_bytes)]
    if trace is not None:
        _make(trace)
        options += ["--trace", str(trace)]
    is_new = not os.path.exists(folder / launcher.CONFIG_NAME)
    local = launcher.LocalCluster(launcher.prepare(folder, nodes, base_port, mode), options)
    stopping = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    try:
        local.check_ports()
    except ConfigurationError:
        if is_new:
            # Nothing was started on it, so another --base-port may be given for the same folder.
            local.config.path.unlink()
        raise
    try:
        for number in local.config.nodes:
            local.start(number)
        for number, node in local.nodes.items():
            # Stopping or not, until every node has its data; see there.
            seconds = local.wait_ready(number, given_up=lambda: stopping)
            if not stopping:
                _say_ready(as_json, node, seconds)
        if not stopping:
            _say_all_ready(as_json, local)
        gone: set[int] = set()
        while not stopping:
            time.sleep(_POLL_S)
            for number in [number for number in local.nodes if number not in gone]:
                if (code := local.nodes[number].process.poll()) is not None and not stopping:
                    gone.add(number)
                    _say_ended(as_json, local, number, code)
        _say(as_json, "stopping", event="stopping")
    finally:
        local.stop_all()
    _say(as_json, "stopped", event="stopped")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"the folder {folder} cannot be made: {error.strerror or error}") from None


def _say_ready(as_json: bool, node: launcher.NodeProcess, seconds: float) -> None:
    number, client, peer, pid = node.config.id, str(node.config.client), str(node.config.peer), node.process.pid
    _say(
        as_json,
        f"node {number} ready: clients {client}, peers {peer}, pid {pid}",
        event="ready",
        node=number,
        client=client,
        peer=peer,
        pid=pid,
        seconds=round(seconds, 3),
    )


def _say_all_ready(as_json: bool, local: launcher.LocalCluster) -> None:
    endpoints = ",".join(local.endpoints)
    put, get = how_to_call("put", "greeting", "hello"), how_to_call("get", "greeting")
    _say(
        as_json,
        f"all {len(local.nodes)} nodes ready. Next, in another shell:\n"
        f"  export PAXOSKV_ENDPOINTS={endpoints}; {put}; {get}",
        event="all-ready",
        endpoints=endpoints,
        config=str(local.config.path),
    )


def _say_ended(as_json: bool, local: launcher.LocalCluster, number: int, code: int) -> None:
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
    else:
        how = f"ended with exit code {code} ({local.nodes[number].last_words})"
    again = how_to_call("serve", "--config", str(local.config.path.resolve()), "--node", str(number))
    _say(
        as_json,
        f"node {number} {how}; the others go on. To start it again, in another shell:\n  {again}",
        event="ended",
        node=number,
        code=code,
    )


def _say(as_json: bool, text: str, **fields: object) -> None:
    click.echo(json.dumps(fields) if as_json else text)
