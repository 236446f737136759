"""The Redis door under redis-benchmark: one node of three, all three at once, and a Redis of one node beside them.

python -m bench.redis_door [--quick] [--mode paxos|raft] [--etcd PUTS GETS] [--json out.json]

Requests a second, and microseconds of CPU of all servers for one command, which a busy machine bends less. Redis
answers a SET when it is on one disk (appendfsync always), a node of ours when it is on two of three. redis-benchmark
gives up at the first error that it is answered; such a run is made again, and the errors are shown. `--etcd` takes what
etcd did on this machine with as many clients, puts and linearizable gets a second, and adds how many times that
each row is; python -m comparison --only etcd measures it.
"""

import contextlib
import csv
import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from rich import box
from rich.console import Console
from rich.table import Table

from paxoskv.server.launcher import LocalCluster, free_base_port, prepare

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_READY_S_MAX: Final = 10.0
_ATTEMPTS_MAX: Final = 5
_APPEND_ALWAYS: Final = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")


@dataclass(frozen=True, slots=True)
class Target:
    """Servers under load: where their clients connect, and their processes, of which some may have no clients."""

    name: str
    ports: Sequence[int]
    pids: Sequence[int]


@contextlib.contextmanager
def _our_cluster(folder: Path, mode: str) -> Iterator[LocalCluster]:
    cluster = LocalCluster(prepare(folder, 3, free_base_port(3), mode))
    cluster.start_all()
    try:
        yield cluster
    finally:
        cluster.stop_all()


@contextlib.contextmanager
def _real_redis(folder: Path) -> Iterator[Target]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    folder.mkdir()
    process = subprocess.Popen(
        [_needed("redis-server"), "--port", str(port), "--dir", str(folder), *_APPEND_ALWAYS], stdout=subprocess.DEVNULL
    )
    try:
        ends = time.monotonic() + _READY_S_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                if time.monotonic() > ends:
                    raise click.ClickException("redis-server does not listen; start it by hand to see why") from None
                time.sleep(0.05)
        yield Target("redis, one node, one disk", [port], [process.pid])
    finally:
        process.terminate()
        process.wait()


def _needed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise click.ClickException(f"{program} is not installed; on Debian: apt-get install redis-server redis-tools")
    return found


def _cpu_s(pids: Sequence[int]) -> float:
    """Seconds of CPU that these processes have had."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def _errors(ports: Sequence[int]) -> int:
    """How many errors the servers have answered so far."""
    errors = 0
    for port in ports:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"INFO stats\r\nQUIT\r\n")
            said = b"".join(iter(lambda: client.recv(65536), b""))
        errors += int(said.partition(b"total_error_replies:")[2].split(maxsplit=1)[0])
    return errors


def measure(target: Target, test: str, clients: int, pipeline: int, requests: int) -> dict[str, float]:
    """One run; the clients and requests are divided over the ports. All figures, or `errors` alone if each attempt
    ended in one."""
    share = len(target.ports)
    errors = _errors(target.ports)
    for _ in range(_ATTEMPTS_MAX):
        before = _cpu_s(target.pids)
        rows, outputs = _attempt(target.ports, test, -(-clients // share), pipeline, requests // share)
        cpu_s = _cpu_s(target.pids) - before
        if len(rows) == share:
            return {
                "requests_per_s": sum(float(row[1]) for row in rows),
                "p50_ms": max(float(row[4]) for row in rows),
                "p99_ms": max(float(row[6]) for row in rows),
                "cpu_us": cpu_s * 1e6 / (requests // share * share),
                "errors": _errors(target.ports) - errors,
            }
        click.echo(f"redis-benchmark -t {test} against {target.name} says: {' '.join(outputs)}", err=True)
        if _errors(target.ports) == errors:
            raise click.ClickException("redis-benchmark fails, though no server has answered an error")
    return {"errors": _errors(target.ports) - errors}


def _attempt(
    ports: Sequence[int], test: str, clients: int, pipeline: int, requests: int
) -> tuple[list[list[str]], list[str]]:
    """The rows of the redis-benchmarks at all ports, fewer if one of them gave up, and all that they printed."""
    runs = [
        subprocess.Popen(
            [
                *(_needed("redis-benchmark"), "-p", str(port), "-t", test, "-r", "10000", "-d", "64", "--csv"),
                *("-c", str(clients), "-n", str(requests), "-P", str(pipeline)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for port in ports
    ]
    outputs = [run.communicate()[0] for run in runs]
    rows = [row for output in outputs for row in csv.reader(output.splitlines()) if row and row[0].lower() == test]
    return rows, outputs


def run(targets: Sequence[Target], clients: int, requests: int, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Medians, and all errors, by target, then by test and depth of the pipeline. In turns, so that a slow spell meets
    all."""
    tests = [(test, pipeline) for pipeline in (1, 16) for test in ("set", "get")]
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for each in range(rounds):
        for target in targets:
            # So that keys exist, and are in the hands of the nodes that are asked from here on: those of one node alone
            # have nobody to take them, those of three are fought over in each run.
            measure(target, "set", clients, 16, requests)
            for test, pipeline in tests:
                click.echo(f"round {each + 1} of {rounds}: {test} -P {pipeline}, {target.name}", err=True)
                figures = measure(target, test, clients, pipeline, requests * (4 if pipeline > 1 else 1))
                found.setdefault((target.name, f"{test} -P {pipeline}"), []).append(figures)
    medians: dict[str, dict[str, dict[str, float]]] = {}
    for (name, what), runs in found.items():
        complete = [each for each in runs if len(each) > 1]
        row = medians.setdefault(name, {})[what] = {}
        for figure in complete[0] if complete else ():
            row[figure] = statistics.median([each[figure] for each in complete])
        row["errors"] = sum([each["errors"] for each in runs])
    return medians


def show(figures: Mapping[str, Mapping[str, Mapping[str, float]]], etcd: tuple[float, float] | None) -> None:
    """Print all that was measured."""
    columns = list(next(iter(figures.values())))
    console = Console(width=120, highlight=False)
    for title, name, digits in (
        ("Requests a second", "requests_per_s", 0),
        ("CPU of all servers, us a command", "cpu_us", 1),
        ("p50, ms", "p50_ms", 2),
        ("p99, ms", "p99_ms", 2),
        ("Errors answered, in all rounds", "errors", 0),
    ):
        table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
        table.add_column("")
        for column in columns:
            table.add_column(column, justify="right")
        for target, row in figures.items():
            cells = [f"{row[column][name]:,.{digits}f}" if name in row[column] else "-" for column in columns]
            if etcd is not None and name == "requests_per_s":
                rivals = [etcd[column.startswith("get")] for column in columns]
                cells = [
                    f"{cell} ({row[column][name] / rival:.1f}x)" if name in row[column] else cell
                    for cell, column, rival in zip(cells, columns, rivals, strict=True)
                ]
            table.add_row(target, *cells)
        console.print(table)


@click.command(help=__doc__.splitlines()[0])
@click.option("--quick", is_flag=True, help="Few requests, once: to see that it works.")
@click.option("--mode", type=click.Choice(["paxos", "raft"]), default="paxos", show_default=True)
@click.option("--clients", default=256, show_default=True, help="Connections, of all redis-benchmarks together.")
@click.option("--rounds", default=3, show_default=True, help="How often everything is measured.")
@click.option("--etcd", type=(float, float), metavar="PUTS GETS", help="etcd's a second, to compare with.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the figures to this file, too.")
def main(
    quick: bool, mode: str, clients: int, rounds: int, etcd: tuple[float, float] | None, path: Path | None
) -> None:
    requests, rounds = (3_000, 1) if quick else (100_000, rounds)
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        cluster = stack.enter_context(_our_cluster(Path(scratch, "ours"), mode))
        ports = [node.client.port for node in cluster.config.nodes.values()]
        pids = [node.process.pid for node in cluster.nodes.values()]
        targets = [
            Target("paxoskv, one node of three", ports[:1], pids),
            Target("paxoskv, three at once", ports, pids),
            stack.enter_context(_real_redis(Path(scratch, "redis"))),
        ]
        figures: dict[str, Any] = run(targets, clients, requests, rounds)
    show(figures, etcd)
    if path is not None:
        path.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
