"""A cluster of ours and, where it is installed, a real Redis beside it."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
import redis
from harness.processes import running_cluster


@pytest.fixture(scope="session", params=["paxos", "raft"])
def ports(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """The client ports of three nodes."""
    with running_cluster(tmp_path_factory.mktemp("cluster"), mode=request.param) as cluster:
        yield [node.client.port for node in cluster.config.nodes.values()]


@pytest.fixture
def door(ports: list[int]) -> Iterator[redis.Redis]:
    """A client of the first node, all keys gone."""
    with redis.Redis(port=ports[0]) as client:
        client.flushall()
        yield client


@pytest.fixture(scope="session")
def real_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real Redis."""
    server = shutil.which("redis-server")
    if server is None:
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse("redis-server is not installed, so nothing is compared with it; on Debian: apt-get install redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen(
        [server, "--port", str(port), "--save", "", "--dir", str(tmp_path_factory.mktemp("redis"))],
        stdout=subprocess.DEVNULL,
    )
    try:
        with redis.Redis(port=port) as client:
            deadline = time.monotonic() + 10
            while True:
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    if time.monotonic() > deadline:
                        raise
        yield port
    finally:
        process.terminate()
        process.wait()
