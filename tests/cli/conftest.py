"""One cluster of real processes, and the two ways to call the command line: in this process, and as a program."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Protocol

import pytest
from click.testing import CliRunner, Result
from harness.processes import running_cluster

from paxoskv.cli import main
from paxoskv.server.launcher import LocalCluster

PROGRAM = [sys.executable, "-m", "paxoskv"]


class Call(Protocol):
    """Calls `paxoskv` with arguments, in this process."""

    def __call__(self, *arguments: str, stdin: bytes | None = None, **environment: str) -> Result: ...


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Three nodes, for all tests of a file."""
    with running_cluster(tmp_path_factory.mktemp("cluster"), 3) as running:
        yield running


@pytest.fixture
def paxoskv(cluster: LocalCluster) -> Call:
    """The command line, with the cluster's endpoints in its environment."""

    def call(*arguments: str, stdin: bytes | None = None, **environment: str) -> Result:
        variables = {"PAXOSKV_ENDPOINTS": ",".join(cluster.endpoints), "COLUMNS": "80"} | environment
        return CliRunner().invoke(main, arguments, input=stdin, env=variables, prog_name="paxoskv")

    return call


@pytest.fixture
def environment(cluster: LocalCluster) -> dict[str, str]:
    """The environment of a program that is to find the cluster."""
    return os.environ | {"PAXOSKV_ENDPOINTS": ",".join(cluster.endpoints), "COLUMNS": "80"}


def program(
    *arguments: str | bytes, env: dict[str, str] | None = None, stdin: bytes = b""
) -> "subprocess.CompletedProcess[bytes]":
    """Run `paxoskv` as a program, to its end."""
    return subprocess.run([*PROGRAM, *arguments], env=env, input=stdin, capture_output=True, timeout=60, check=False)
