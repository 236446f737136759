"""`paxoskv cluster`: a whole cluster on this machine."""

import json
import signal
import time
from pathlib import Path
from types import FrameType

import click

from paxoskv.server import config, launcher


@click.command(short_help="Start a cluster of node processes on this machine.")
@click.option("--nodes", type=click.IntRange(1, 9), help="How many nodes.  [default: 3, or as many as DIR has]")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    envvar="PAXOSKV_DIR",
    help="Folder for data, logs and cluster.toml; made if it does not exist.",
)
@click.option(
    "--base-port",
    type=click.IntRange(1, 65000),
    envvar="PAXOSKV_BASE_PORT",
    help="Node i listens for clients on base+i and for peers on base+100+i.  [default: 7400]",
)
@click.option("--mode", type=click.Choice(config.MODES), envvar="PAXOSKV_MODE", help="[default: paxos]")
@click.option("--cache-bytes", metavar="SIZE", envvar="PAXOSKV_CACHE_BYTES", help="As for `paxoskv serve`.")
@click.option("--fault-injection", is_flag=True, envvar="PAXOSKV_FAULT_INJECTION", help="As for `paxoskv serve`.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def cluster(
    nodes: int | None,
    folder: Path,
    base_port: int | None,
    mode: str | None,
    cache_bytes: str | None,
    fault_injection: bool,
    as_json: bool,
) -> None:
    """Start a cluster of real node processes on loopback, in the foreground. Ctrl-C stops all of them.

    \b
        paxoskv cluster --nodes 3 --dir ./data
        paxoskv cluster --dir ./data          # the same cluster again, with all its data

    The configuration is written to DIR/cluster.toml, each node's log to DIR/node-N.log.
    """
    options = ["--fault-injection"] if fault_injection else []
    if cache_bytes is not None:
        options += ["--cache-bytes", cache_bytes]
    local = launcher.LocalCluster(launcher.prepare(folder, nodes, base_port, mode), options)
    stopping = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    local.check_ports()
    try:
        for number in local.config.nodes:
            local.start(number)
        for number, node in local.nodes.items():
            seconds = local.wait_ready(number)
            _say(
                as_json,
                f"node {number} ready: clients {node.config.client}, peers {node.config.peer}, pid {node.process.pid}",
                event="ready",
                node=number,
                client=str(node.config.client),
                peer=str(node.config.peer),
                pid=node.process.pid,
                seconds=round(seconds, 3),
            )
            if stopping:
                return
        endpoints = ",".join(local.endpoints)
        _say(
            as_json,
            f"all {len(local.nodes)} nodes ready. Next, in another shell:\n"
            f"  export PAXOSKV_ENDPOINTS={endpoints}; paxoskv put greeting hello; paxoskv get greeting",
            event="all-ready",
            endpoints=endpoints,
            config=str(local.config.path),
        )
        gone: set[int] = set()
        while not stopping:
            time.sleep(0.1)
            for number, node in local.nodes.items():
                code = node.process.poll()
                if code is None or number in gone or stopping:
                    continue
                gone.add(number)
                how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                why = "" if code < 0 else f" ({launcher.last_line(node.log_path)})"
                _say(
                    as_json,
                    f"node {number} {how}{why}; the others go on. To start it again:\n"
                    f"  paxoskv serve --config {local.config.path} --node {number}",
                    event="ended",
                    node=number,
                    code=code,
                )
    finally:
        local.stop_all()
    _say(as_json, "stopped", event="stopped")


def _say(as_json: bool, text: str, **fields: object) -> None:
    click.echo(json.dumps(fields) if as_json else text)
