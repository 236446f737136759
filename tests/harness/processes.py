"""Clusters of real processes for tests, and what is done to them in every mode."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import paxoskv
from paxoskv.server.launcher import LocalCluster, free_base_port, prepare


@contextmanager
def running_cluster(folder: Path, nodes: int = 3, *options: str, mode: str | None = None) -> Iterator[LocalCluster]:
    """A cluster that is ready, and stopped in the end; if something fails, the logs are in `folder`."""
    cluster = LocalCluster(prepare(folder, nodes, free_base_port(nodes), mode), options)
    cluster.start_all()
    try:
        yield cluster
    finally:
        cluster.stop_all()


@contextmanager
def started(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process with what `Popen` takes, killed if the test fails: `Popen` by itself would wait for it for ever."""
    with subprocess.Popen(command, **{"text": True, **options}) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 48 MiB. Skips the test where none can be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def move_data(cluster: LocalCluster, number: int, disk: Path) -> None:
    """Have a node's folder on another disk; the cluster does not run meanwhile."""
    data = cluster.config.node(number).data
    shutil.move(data, disk / "data")
    data.symlink_to(disk / "data")


def fill(path: Path) -> None:
    """Write a file until there is no room left."""
    # Closing it writes what is left, and has no room either.
    with contextlib.suppress(OSError), path.open("wb") as file:
        while True:
            file.write(b"\0" * 65536)
            file.flush()


async def ask_everything(one: paxoskv.Client, two: paxoskv.Client, three: paxoskv.Client) -> None:
    """Every kind of operation on one key, each through another node than the one before it."""
    version = await one.put("k", "v")
    assert await two.get("k") == (b"v", version)
    assert await three.cas("k", "v", "w") > version
    assert (await one.swap("k", "5")).old == b"w"
    assert (await two.incr("k", -7)).value == -2
    assert (await three.append("k", "0")).length == 3
    assert (await one.get("k")).value == b"-20"
    assert await two.delete("k")
    assert not await three.delete("k")
    assert await one.get("k") == (None, 0)
