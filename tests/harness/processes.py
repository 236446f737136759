"""Clusters of real processes for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
