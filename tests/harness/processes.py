"""Clusters of real processes for tests."""

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paxoskv.server.launcher import PEER_PORT_OFFSET, LocalCluster, prepare


def free_base_port(nodes: int = 3) -> int:
    """A base port none of whose client and peer ports is in use."""
    rng = random.Random()
    while True:
        base = rng.randrange(20_000, 31_000)
        ports = [base + i for i in range(1, nodes + 1)] + [base + PEER_PORT_OFFSET + i for i in range(1, nodes + 1)]
        try:
            for port in ports:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base


@contextmanager
def running_cluster(folder: Path, nodes: int = 3, *options: str) -> Iterator[LocalCluster]:
    """A cluster that is ready, and stopped in the end; if something fails, the logs are in `folder`."""
    cluster = LocalCluster(prepare(folder, nodes, free_base_port(nodes), None), options)
    cluster.start_all()
    try:
        yield cluster
    finally:
        cluster.stop_all()
